"""Videos that only a camera writes, made byte by byte."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import cv2


def exif_segment(orientation):
    """Return the APP1 segment of a JPEG that states an orientation. Source: EXIF 2.32, 4.5."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def write_jpegs(path, pictures, *, orientation=None):
    """Write (H, W) uint8 pictures as Motion-JPEG, with EXIF in each if an orientation is given."""
    segment = b"" if orientation is None else exif_segment(orientation)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = "yuvj420p"
        for i, picture in enumerate(pictures):
            colored = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
            jpeg = cv2.imencode(".jpg", colored)[1].tobytes()
            packet = av.Packet(jpeg[:2] + segment + jpeg[2:])
            packet.stream, packet.time_base = stream, Fraction(1, 30)
            packet.pts = packet.dts = i
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return path

"""Check that a video file is complete, from the length that its container states.

Some containers state no frame count, so an incomplete copy looks complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 1 << 14
_TAIL_BYTES = 1 << 17  # an Ogg page has 65,307 bytes at most
_TS_PACKETS = (188, 192, 204)  # plain, with time codes (m2ts), with error correction
_TS_SYNC = b"\x47"
_EBML_SEGMENT = b"\x18\x53\x80\x67"
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def is_cut_short(path: Path, container: str) -> bool:
    """Return True if a file is shorter than its container, by FFmpeg's name, states."""
    check = {
        "asf": _is_asf_cut,
        "avi": _is_avi_cut,
        "flv": _is_flash_cut,
        "matroska,webm": _is_matroska_cut,
        "mov,mp4,m4a,3gp,3g2,mj2": _is_mp4_cut,
        "mpegts": _is_ts_cut,
        "ogg": _is_ogg_cut,
    }.get(container)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, path.stat().st_size)


def _read(file: BinaryIO, start: int, num_bytes: int) -> bytes:
    file.seek(start)
    return file.read(num_bytes)


def _is_mp4_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Walk over the boxes. Source: ISO/IEC 14496-12, 4.2."""
    start = 0
    while start + 8 <= num_bytes:
        head = _read(file, start, 16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # 0: the last box, up to the end of the file
            return False
        start += size
        if start > num_bytes:
            return kind in (b"mdat", b"moov", b"moof")  # else data after the last box
    return any(_read(file, start, 8))  # the start of another box, unless it is padding


def _is_avi_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Compare with the size of the first list, which is 0 until the recorder closes it."""
    size = int.from_bytes(_read(file, 4, 4), "little")
    return size == 0 or num_bytes < size  # some writers include the 8 bytes before


def _is_asf_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Compare with the size of the file. Source: ASF specification 01.20.03, 3.2."""
    head = _read(file, 0, _HEAD_BYTES)
    start = head.find(_ASF_PROPERTIES)
    return start >= 0 and num_bytes < int.from_bytes(head[start + 40 : start + 48], "little")


def _is_matroska_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Compare with the size of the segment, which contains everything after the first header."""
    head = _read(file, 0, _HEAD_BYTES)
    start = head.find(_EBML_SEGMENT) + len(_EBML_SEGMENT)
    if start < len(_EBML_SEGMENT) or start >= len(head) or not head[start]:
        return False
    # the position of the first set bit gives the number of bytes of the size. Source: RFC 8794, 4
    length = 9 - head[start].bit_length()
    mask = (1 << 7 * length) - 1
    size = int.from_bytes(head[start : start + length], "big") & mask
    is_known = size != mask  # unknown sizes come from live recording
    return is_known and num_bytes < start + length + size


def _is_ogg_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Check that the last page is complete and marked as the end. Source: RFC 3533, 6."""
    tail = _read(file, max(0, num_bytes - _TAIL_BYTES), _TAIL_BYTES)
    page = tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    is_whole = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return not (is_whole and page[5] & 4)


def _is_ts_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Look for an incomplete packet at the end; one cut in 188 falls between two packets."""
    head = _read(file, 0, _HEAD_BYTES)
    start = max(0, head.find(_TS_SYNC))
    for size in _TS_PACKETS:
        if head[start : start + 4 * size : size] == 4 * _TS_SYNC:
            return num_bytes % size != 0
    return False


def _is_flash_cut(file: BinaryIO, num_bytes: int) -> bool:
    """Compare the last tag with its size, which follows it. Source: FLV specification 10.1."""
    size = int.from_bytes(_read(file, num_bytes - 4, 4), "big")
    if not 11 <= size <= num_bytes - 4:
        return True
    return int.from_bytes(_read(file, num_bytes - 4 - size + 1, 3), "big") != size - 11

"""Whether a video file is all there, by what its container says of its own length.

The header of some containers counts no frames, so that a copy that broke off looks whole.
"""

from __future__ import annotations

from pathlib import Path

_TAIL_BYTES = 1 << 17  # an Ogg page has 65,307 bytes at most
_TS_PACKETS = (188, 192, 204)  # plain, with time codes (m2ts), with error correction
_EBML_SEGMENT = b"\x18\x53\x80\x67"


def is_cut_short(path: Path, container: str) -> bool:
    """Tell whether a file ends before its container says.

    Parameters
    ----------
    path : Path
        The video.
    container : str
        Name of its container as FFmpeg gives it.

    Returns
    -------
    bool
        False where the container says nothing.
    """
    check = {
        "matroska,webm": _is_matroska_cut,
        "ogg": _is_ogg_cut,
        "mpegts": _is_ts_cut,
        "flv": _is_flash_cut,
    }.get(container)
    if check is None:
        return False
    num_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, num_bytes - _TAIL_BYTES))
        return check(head, file.read(), num_bytes)


def _is_matroska_cut(head: bytes, tail: bytes, num_bytes: int) -> bool:
    """Compare with the size of the segment, which holds all but the first header."""
    start = head.find(_EBML_SEGMENT) + len(_EBML_SEGMENT)
    if start < len(_EBML_SEGMENT) or start >= len(head) or not head[start]:
        return False
    # the first set bit tells how many bytes the size has. Source: RFC 8794, 4
    length = 9 - head[start].bit_length()
    size = int.from_bytes(head[start : start + length], "big") & ((1 << 7 * length) - 1)
    is_unknown = size == (1 << 7 * length) - 1  # written live
    return not is_unknown and num_bytes < start + length + size


def _is_ogg_cut(head: bytes, tail: bytes, num_bytes: int) -> bool:
    """Look for the last page, whole and marked as the end. Source: RFC 3533, 6."""
    start = tail.rfind(b"OggS")
    page = tail[start:]
    if start < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return True
    is_whole = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return not (is_whole and page[5] & 4)


def _is_ts_cut(head: bytes, tail: bytes, num_bytes: int) -> bool:
    """Look for a packet in pieces at the end; one cut in 188 falls between two packets."""
    for size in _TS_PACKETS:
        first = head.find(b"\x47")
        if head[first + size : first + size + 1] == head[first + 2 * size : first + 2 * size + 1]:
            if head[first + size : first + size + 1] == b"\x47":
                return num_bytes % size != 0
    return False


def _is_flash_cut(head: bytes, tail: bytes, num_bytes: int) -> bool:
    """Compare the last tag with its size, which follows it."""
    size = int.from_bytes(tail[-4:], "big")
    tag = tail[-4 - size : -4] if 11 <= size <= len(tail) - 4 else tail[:0]
    if size > _TAIL_BYTES - 4:
        return False  # a picture larger than what was read
    return len(tag) != size or int.from_bytes(tag[1:4], "big") != size - 11

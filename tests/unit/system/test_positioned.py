"""Reads at given places neither use nor move the position that forked processes share."""

from __future__ import annotations

import os
import threading

import pytest

from mpar.system import positioned
from mpar.system.positioned import PositionedFile

DATA = bytes(range(256)) * 40
KINDS = {"preadv": (True, True), "pread": (False, True), "own handles": (False, False)}


@pytest.fixture(params=KINDS)
def file(tmp_path, monkeypatch, request):
    """Open a file, read in each of the three ways that systems offer."""
    for name, is_there in zip(("PREADV", "PREAD"), KINDS[request.param], strict=True):
        if is_there and not hasattr(os, name.lower()):
            pytest.skip(f"no {name.lower()} on this system")
        monkeypatch.setattr(positioned, f"_HAS_{name}", is_there)
    path = tmp_path / "data"
    path.write_bytes(DATA)
    file = PositionedFile(path)
    yield file
    file.close()


def read(file, offset, num_bytes):
    view = memoryview(bytearray(num_bytes))
    return bytes(view[: file.read_into(offset, view)])


def test_reads_what_lies_there(file):
    """Bytes come from the place asked for, fewer at the end and none behind it."""
    assert read(file, 300, 5) == DATA[300:305]
    assert read(file, 0, 3) == DATA[:3]
    assert read(file, len(DATA) - 2, 10) == DATA[-2:]
    assert read(file, len(DATA), 10) == b""


def test_the_shared_position_stays(file):
    """The descriptor that a forked process inherits is where it was."""
    os.lseek(file.fileno(), 77, os.SEEK_SET)
    assert read(file, 300, 5) == DATA[300:305]
    assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 77


def test_threads_do_not_disturb_each_other(file):
    """Eight threads that read at once get their own bytes."""
    wrong = []

    def read_often(first):
        for offset in range(first, 5000, 8):
            if read(file, offset, 50) != DATA[offset : offset + 50]:
                wrong.append(offset)

    threads = [threading.Thread(target=read_often, args=[first]) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_file_is_not_read(file):
    """Closing closes every handle."""
    read(file, 0, 1)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        read(file, 0, 1)


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no open file")
def test_a_replaced_file_is_never_mixed_with_the_old_one(file):
    """The old bytes are read, or none: never those of the file that took the name."""
    other = file.path.with_name("other")
    other.write_bytes(DATA[::-1])
    other.replace(file.path)
    if positioned._HAS_PREADV or positioned._HAS_PREAD:
        assert read(file, 300, 5) == DATA[300:305]
    else:
        with pytest.raises(OSError, match="another file replaced it"):
            read(file, 300, 5)

"""A reader sees the old file or the new one, and one writer at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpar
from mpar.cache.store import Store
from mpar.errors import ConfigError
from mpar.review import ReviewConfig, opened_review
from mpar.system import files
from mpar.system.files import (
    atomic_path,
    locked,
    remove_temporaries,
    spreadsheet_plain,
    spreadsheet_safe,
    write_json,
    write_rows,
    write_table,
    write_text,
)
from tests.fixtures.helpers import run
from tests.fixtures.synthetic import write_sample


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_replaces_the_file_only_at_the_end(tmp_path):
    """The old content stays readable until the block has ended, then the new one is there."""
    path = tmp_path / "cache.h5"
    path.write_bytes(b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".h5"
        assert temporary.name.startswith(".")
    assert path.read_bytes() == b"new"
    assert names_in(tmp_path) == ["cache.h5"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_path_keeps_the_old_file_on_an_error(tmp_path, error):
    """A failed or interrupted block leaves the old file and no temporary one."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_atomic_path_refuses_a_block_that_wrote_nothing(tmp_path):
    """A block that forgot to write does not count as a success."""
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"


def test_atomic_path_cleans_up_when_the_rename_fails(tmp_path):
    """A folder in the way stays, and the temporary file goes."""
    (tmp_path / "a.txt" / "inside").mkdir(parents=True)
    with pytest.raises(OSError), atomic_path(tmp_path / "a.txt") as temporary:  # noqa: PT011
        temporary.write_text("new")
    assert names_in(tmp_path) == ["a.txt"]


def test_atomic_path_flushes_the_data_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    """A power cut cannot leave an empty file in place of the old one."""
    events = []
    fsync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda a, b: (events.append("rename"), replace(a, b))
    )
    write_text(tmp_path / "a.txt", "new")
    assert events[:2] == ["fsync", "rename"]
    assert events[2:] == ([] if os.name == "nt" else ["fsync"])


def test_a_file_that_is_held_for_a_moment_is_replaced(tmp_path, monkeypatch):
    """A virus scanner on Windows; one that is held for good is an error, and the old file stays."""
    refused = []
    replace = type(tmp_path).replace

    def held(source, target):
        refused.append(target)
        if len(refused) <= num_refused:
            raise PermissionError(13, "is in use")
        return replace(source, target)

    monkeypatch.setattr(type(tmp_path), "replace", held)
    monkeypatch.setattr(files, "_WAITS_S", (0, 0))
    for num_refused in (2, 3):
        refused.clear()
        with contextlib.suppress(PermissionError) if num_refused > 2 else contextlib.nullcontext():
            write_text(tmp_path / "a.txt", str(num_refused))
        assert len(refused) == 3
        assert (tmp_path / "a.txt").read_text() == "2"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_disk_that_cannot_flush_folders(tmp_path, monkeypatch, code):
    """Some network disks; a real error is still one."""
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "no")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with contextlib.nullcontext() if code == errno.EINVAL else pytest.raises(OSError, match="no"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_an_error_of_the_disk_names_the_file(tmp_path):
    """A full disk does not say which file, and nobody knows the temporary one; others are kept."""
    path = tmp_path / "a.csv"
    with pytest.raises(OSError, match="No space left") as caught, atomic_path(path):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, atomic_path(path) as temporary:
        temporary.open("rb")
    assert caught.value.filename == str(path)
    with pytest.raises(FileNotFoundError) as caught, atomic_path(path):
        (tmp_path / "other").open("rb")
    assert caught.value.filename == str(tmp_path / "other")


def test_atomic_path_makes_the_folder(tmp_path):
    """Missing parents are made, and a relative name works."""
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_atomic_path_takes_the_longest_names(tmp_path):
    """The temporary name stays within the 255 bytes of a file system, accents included."""
    name = "é" * 125 + ".txt"
    write_text(tmp_path / name, "x")
    assert names_in(tmp_path) == [name]


def test_write_text_is_utf8_with_plain_newlines(tmp_path):
    """What is written does not depend on the machine."""
    write_text(tmp_path / "a.txt", "é\n🐭\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n🐭\n".encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), {1, 2}])
def test_write_json_refuses_what_json_cannot_hold(tmp_path, value):
    """No file is left that another program's JSON reader would choke on."""
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"score": [value]})
    assert names_in(tmp_path) == []


def test_write_json_reads_back(tmp_path):
    """JSON is text that people can read, accents included."""
    data = {"name": "mäuse", "scores": [1, 2.5, None]}
    write_json(tmp_path / "a.json", data)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == data
    assert "mäuse" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1+1", "'-1+1"),
        ("-1", "-1"),  # a number, as the code of no label
        ("+2.5e-3", "+2.5e-3"),
        ("-", "'-"),
        ("'=1", "''=1"),
        ("'tis", "'tis"),
        ("\uff1d1", "'\uff1d1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("mouse=1", "mouse=1"),
        ("1-2", "1-2"),
        ("", ""),
    ],
)
def test_spreadsheet_safe_neutralises_formulas_only(cell, shown):
    """A cell that a spreadsheet would execute becomes text; others are left alone."""
    assert spreadsheet_safe(cell) == shown


@given(st.text("'=+-@\t\n1.e\uff1dx ", max_size=8))
def test_what_was_neutralised_reads_back(cell):
    """Every text comes back as it was, so that no two of them become one."""
    shown = spreadsheet_safe(cell)
    assert spreadsheet_plain(shown) == cell
    is_number = re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", shown)
    assert shown[:1] not in {*"=+-@\t\n\uff1d"} or is_number


def test_tables_hold_no_formula(tmp_path):
    """In no cell, header or index; numbers and empty cells stay what they are."""
    table = pd.DataFrame(
        {"=a": ["=1", "b", None], "n": [-1.5, 2, np.nan], "code": ["-1", "@x", "3"]},
        index=["=r", "s", "-t"],
    )
    write_table(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == (
        "'=a,n,code\n'=1,-1.500000,-1\nb,2.000000,'@x\n,,3\n"
    )
    write_table(tmp_path / "i.csv", table[["n"]], index=True)
    assert (tmp_path / "i.csv").read_text() == ",n\n'=r,-1.500000\ns,2.000000\n'-t,\n"
    assert table.columns[0] == "=a"
    assert table.iloc[0, 0] == "=1"
    write_rows(tmp_path / "r.csv", [["=a", "b"], ["+x", -1], ["", "-1"]])
    assert (tmp_path / "r.csv").read_text() == "'=a,b\n'+x,-1\n,-1\n"


def test_one_module_writes_csv():
    """Every CSV of mpar goes through the writers that neutralise."""
    folder = Path(mpar.__file__).parent
    writers = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if re.search(r"csv\.writer|DictWriter|\.to_csv", path.read_text(encoding="utf-8"))
    }
    assert writers == {"system/files.py"}


HOLD = """
import sys, time
from mpar.system.files import locked

with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_elsewhere(path):
    """Let another process hold the lock of a file, and kill it in the end."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("holder", [held_elsewhere, locked], ids=["elsewhere", "here"])
def test_locked_refuses_a_second_writer(tmp_path, holder):
    """At once, with the path and what to do; the first one's lock stays."""
    path = tmp_path / "cache.h5"
    with holder(path):
        for _ in range(2):
            with pytest.raises(ConfigError) as caught, locked(path):
                pytest.fail("two writers")
            assert str(caught.value).startswith(f"{path}: another process is writing it; ")
    with locked(path):
        pass


def test_a_killed_writer_locks_nobody_out(tmp_path):
    """The system frees its lock, though the file of it stays."""
    path = tmp_path / "a"
    with held_elsewhere(path):
        pass
    assert names_in(tmp_path) == [".a.lock"]
    with locked(path):
        pass


def test_locked_waits_its_turn(tmp_path):
    """With patience a second writer waits until the first is done, and no longer than told."""
    order = []

    def write(number):
        with locked(tmp_path / "a", patience_seconds=60):
            order.append((number, "in"))
            time.sleep(0.02)
            order.append((number, "out"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(order) == 8
    assert all(a[0] == b[0] and b[1] == "out" for a, b in zip(order[::2], order[1::2], strict=True))
    with (
        locked(tmp_path / "a"),
        pytest.raises(ConfigError, match="wait until it ends"),
        locked(tmp_path / "a", patience_seconds=0.1),
    ):
        pass


def test_locked_keeps_files_apart(tmp_path):
    """Two caches in one folder can be written side by side, and the folder is made."""
    with locked(tmp_path / "new" / "a.h5"), locked(tmp_path / "new" / "b.h5"):
        assert names_in(tmp_path / "new") == [".a.h5.lock", ".b.h5.lock"]


def test_lock_is_released_after_an_error(tmp_path):
    """A failed writer does not keep the next one out."""
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "a"):
        raise KeyboardInterrupt
    with locked(tmp_path / "a"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(getattr(errno, name), name) for name in ("ENOLCK", "EOPNOTSUPP", "ENOSYS")),
        NotImplementedError("no flock"),  # as older versions of filelock put it
    ],
    ids=repr,
)
def test_a_disk_without_locks_is_written_with_one_warning(tmp_path, monkeypatch, caplog, error):
    """Nothing can keep a second writer out there, so what it may be writing stays."""

    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr("mpar.system.files.FileLock.acquire", refuse)
    monkeypatch.setattr("mpar.system.files._disks_without_locks", set())
    (tmp_path / ".a.0123abcd.tmp.h5").touch()
    for name in ("a.h5", "b.h5", "a.h5"):
        with locked(tmp_path / name):
            (tmp_path / name).write_text("written")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert names_in(tmp_path) == [".a.0123abcd.tmp.h5", "a.h5", "b.h5"]


def test_other_errors_of_a_lock_name_the_file(tmp_path, monkeypatch):
    """Nobody is let in unlocked."""

    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("mpar.system.files.FileLock.acquire", refuse)
    with pytest.raises(PermissionError) as caught, locked(tmp_path / "a"):
        pytest.fail("not locked")
    assert caught.value.filename == str(tmp_path / "a")


@pytest.mark.skipif(os.name == "nt", reason="Windows locks with msvcrt")
def test_commands_work_where_flock_fails(tmp_path, monkeypatch):
    """As on NFS without a lock service: the cache is written, the page opens."""
    import fcntl

    def refuse(*_args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr("mpar.system.files._disks_without_locks", set())
    write_sample(tmp_path, num_animals=2, seed=0, num_frames=24, height=32, width=32)
    cache = tmp_path / "c.h5"
    result = run("preprocess", tmp_path / "Videos", tmp_path / "Annotations", "-o", cache)
    assert result.exit_code == 0
    assert result.output.count("cannot lock files") == 1
    with Store(cache) as store:
        assert [info.num_frames for info in store.recordings] == [24, 24]
    with opened_review(tmp_path / "Videos", tmp_path / "o", config=ReviewConfig(annotator="me")):
        pass


def test_a_writer_removes_what_killed_ones_left_of_its_file_only(tmp_path):
    """Nothing is touched that another writer may be at, or that is no file of ours."""
    left = [".a.0123abcd.tmp.h5"]
    others = [
        ".a.0123abcd.tmp.hdf5",
        ".ab.0123abcd.tmp.h5",
        ".a.0123abc.tmp.h5",
        "a.0123abcd.tmp.h5",
        ".a.h5.problems.0123abcd.tmp.csv",
    ]
    for name in left + others:
        (tmp_path / name).touch()
    with locked(tmp_path / "a.h5"):
        assert names_in(tmp_path) == sorted([*others, ".a.h5.lock"])
    remove_temporaries(tmp_path)
    kept = [".a.0123abc.tmp.h5", "a.0123abcd.tmp.h5", ".a.h5.lock"]
    assert names_in(tmp_path) == sorted(kept)


def test_names_too_long_to_tell_apart_keep_their_temporaries(tmp_path):
    """Files whose first 40 characters agree have temporary files of one name."""
    (tmp_path / f".{'a' * 40}.0123abcd.tmp.h5").touch()
    with locked(tmp_path / f"{'a' * 40}.h5"), locked(tmp_path / f"{'a' * 41}.h5"):
        pass
    assert f".{'a' * 40}.0123abcd.tmp.h5" in names_in(tmp_path)

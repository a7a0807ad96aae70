"""A reader sees the old file or the new one, and one writer at a time."""

from __future__ import annotations

import json
import os
import re
import socket
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

import mpar.system.files
from mpar.errors import ConfigError
from mpar.system.files import (
    _remove_stale,
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
    modules = Path(mpar.system.files.__file__).parent.glob("*.py")
    writers = {
        path.stem
        for path in modules
        if re.search(r"csv\.writer|DictWriter|\.to_csv", path.read_text(encoding="utf-8"))
    }
    assert writers == {"files"}


def lock_of(path, **holder):
    lock = path.with_name(f".{path.name}.lock")
    lock.write_text(json.dumps(holder))
    return lock


def pid_of_a_dead_process():
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    return process.pid


def test_locked_refuses_a_second_writer_and_names_the_first(tmp_path):
    """The message says which file, who holds it, where, and what to do; the lock stays."""
    path = tmp_path / "cache.h5"
    lock = tmp_path / ".cache.h5.lock"
    with locked(path):
        with pytest.raises(ConfigError) as caught, locked(path):
            pytest.fail("two writers")
        assert json.loads(lock.read_text()) == {"pid": os.getpid(), "host": socket.gethostname()}
    message = str(caught.value)
    assert message.startswith(f"cache.h5: is being written by process {os.getpid()} on ")
    assert f"delete {lock}" in message
    assert names_in(tmp_path) == []


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
        pytest.raises(ConfigError, match="wait for it"),
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
    assert names_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot ask for a process without killing it")
@pytest.mark.parametrize("pid", ["dead", 2**80])
def test_stale_lock_is_taken_over(tmp_path, pid):
    """The lock of a process that is no more, or can never have been, is no hindrance."""
    path = tmp_path / "a"
    lock = lock_of(
        path, pid=pid_of_a_dead_process() if pid == "dead" else pid, host=socket.gethostname()
    )
    with locked(path):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert names_in(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot ask for a process without killing it")
def test_a_stale_lock_is_taken_over_by_one_process_only(tmp_path):
    """Whoever finds the lock of a dead process late does not remove that of its new holder."""
    path = tmp_path / "a"
    lock = lock_of(path, pid=pid_of_a_dead_process(), host=socket.gethostname())
    with locked(path):
        _remove_stale(lock)  # what a second process does that read the lock before
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_locks_work_without_hard_links(tmp_path, monkeypatch):
    """Some file systems of memory cards and network disks have none."""

    def refuse(*arguments):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with locked(tmp_path / "a"):
        with pytest.raises(ConfigError, match=f"by process {os.getpid()}"), locked(tmp_path / "a"):
            pytest.fail("two writers")
        assert names_in(tmp_path) == [".a.lock"]
    assert names_in(tmp_path) == []


def test_a_writer_removes_what_killed_ones_left_of_its_file_only(tmp_path):
    """Nothing is touched that another writer may be at, or that is no file of ours."""
    left = [".a.0123abcd.tmp.h5", ".a.0123abcd.tmp.lock"]
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
    assert names_in(tmp_path) == sorted([".a.0123abc.tmp.h5", "a.0123abcd.tmp.h5"])


def test_names_too_long_to_tell_apart_keep_their_temporaries(tmp_path):
    """Files whose first 40 characters agree have temporary files of one name."""
    (tmp_path / f".{'a' * 40}.0123abcd.tmp.h5").touch()
    with locked(tmp_path / f"{'a' * 40}.h5"), locked(tmp_path / f"{'a' * 41}.h5"):
        pass
    assert len(names_in(tmp_path)) == 1


def test_lock_of_another_host_is_respected(tmp_path):
    """Whether a process of another machine lives cannot be known here: the person decides."""
    path = tmp_path / "a"
    lock = lock_of(path, pid=pid_of_a_dead_process(), host="elsewhere")
    with pytest.raises(ConfigError, match="on elsewhere; wait for it, or delete"), locked(path):
        pytest.fail("two writers")
    assert lock.exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"pid": "x"}', "\xff"])
def test_unreadable_lock_is_respected(tmp_path, content):
    """A lock that says nothing may be one that is being written at this moment."""
    path = tmp_path / "a"
    (tmp_path / ".a.lock").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match="a: is being written by process"), locked(path):
        pytest.fail("two writers")
    assert names_in(tmp_path) == [".a.lock"]

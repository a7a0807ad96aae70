"""The modules stay in layers: each imports only those above it, and importing has no effect."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mpar

FOLDER = Path(mpar.__file__).parent
# dotted, below mpar: "cache.store"
MODULES = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if path.name != "__init__.py"
)
ROOMS = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
# Nothing that merely looks into inputs or at scores waits for torch to load.
WITHOUT_TORCH = (
    *("labels", "formats", "matching", "aligning", "video", "predictions", "scores", "report"),
    *("assay", "reviewer", "studio", "system"),
    *("cache.store", "cache.writer", "cache.clip_lengths", "network.config", "learning.recipe"),
)
DOORS_WITHOUT_TORCH = (*("errors", "preprocess", "summarize", "evaluation", "export", "review"),)


def parse(module):
    path = FOLDER.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def find_imports(tree):
    """Return the dotted names of all that is imported, inside functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            names |= {f"{start}.{alias.name}" for alias in node.names}
    return names


def find_calls(tree):
    """Return the dotted names of all that is called: ``print``, ``sys.exit``."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def find_top_statements(body):
    """Yield the statements that run on import, below ``if`` and ``try`` too."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody", "handlers"):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield from find_top_statements(getattr(node, field, []))


def test_every_file_is_installed():
    """Setuptools installs only the packages and data files that setup.cfg lists."""
    config = configparser.ConfigParser()
    config.read(FOLDER.parent / "setup.cfg", encoding="utf-8")
    packages = {*config["options"]["packages"].split()}
    assert packages == {"mpar", "mpar_cli", "mpar_sample", *(f"mpar.{room}" for room in ROOMS)}
    data = config["options.package_data"]
    others = [
        path
        for path in FOLDER.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.suffix != ".md"
    ]
    assert {"page.css", "page.js", "page.html"} <= {path.name for path in others}
    for path in others:
        room = FOLDER if path.parent == FOLDER else FOLDER / path.relative_to(FOLDER).parts[0]
        package = ".".join(room.relative_to(FOLDER.parent).parts)
        patterns = data.get(package, "").replace(",", " ").split()
        place = path.relative_to(room).as_posix()
        assert any(fnmatch.fnmatch(place, pattern) for pattern in patterns), path


def importers_of(package):
    return {
        module
        for module in MODULES
        if any(name.split(".")[0] == package for name in find_imports(parse(module)))
    }


def test_helpers_see_what_they_look_for():
    """The rules below would notice a broken one."""
    tree = ast.parse(
        "import a.b as c\nfrom mpar.x import y\nfrom . import z\n"
        "def f():\n    import d\n    print(1)\n    sys.exit(2)\n"
        "try:\n    g()\nexcept E:\n    os.environ['A'] = 1\n"
    )
    assert find_imports(tree) == {"a.b", "mpar.x.y", "..z", "d"}
    assert {"print", "sys.exit"} <= find_calls(tree)
    top = [ast.unparse(node) for node in find_top_statements(tree.body)]
    assert {"g()", "os.environ['A'] = 1"} <= {*top}
    assert "print(1)" not in top


def test_contracts_of_the_rooms_are_kept():
    """setup.cfg says which room may import which; data flow one way."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run(
        [sys.executable, "-c", command, "setup.cfg", "--no-cache"],
        cwd=FOLDER.parent,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


def test_every_room_says_what_lives_there():
    """A newcomer reads one docstring a folder, and every room is in the contract."""
    config = configparser.ConfigParser()
    config.read(FOLDER.parent / "setup.cfg", encoding="utf-8")
    layers = re.split(r"[\s|:]+", config["importlinter:contract:rooms"]["layers"].strip())
    doors = {name for name in MODULES if "." not in name}
    assert {*layers} == {"mpar_cli", *(f"mpar.{name}" for name in (*ROOMS, *doors))}
    for room in ROOMS:
        doc = ast.get_docstring(ast.parse((FOLDER / room / "__init__.py").read_text("utf-8")))
        assert "Imports" in (doc or ""), room


@pytest.mark.parametrize("module", MODULES)
def test_imports_are_absolute(module):
    """A name says where it lives."""
    assert not [name for name in find_imports(parse(module)) if name.startswith(".")]


def test_package_itself_imports_nothing():
    """The version can be asked for without loading anything."""
    assert find_imports(parse("__init__")) == set()


@pytest.mark.parametrize("module", MODULES)
def test_module_leaves_the_terminal_to_the_commands(module):
    """A library does not print, exit, parse options or set up logging."""
    tree = parse(module)
    packages = {name.split(".")[0] for name in find_imports(tree)}
    assert not packages & {"click", "argparse", "mpar_cli", "cli"}
    forbidden = {"print", "input", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}
    assert not find_calls(tree) & (forbidden | {"logging.basicConfig"})
    assert not {"sys.exit", "os._exit"} & find_imports(tree)
    assert "SystemExit" not in {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def test_one_room_knows_hdf5():
    """The cache format is the business of one room; DeepLabCut, too, writes HDF5."""
    others = [name for name in importers_of("h5py") if name != "matching.tracks"]
    assert {name.partition(".")[0] for name in others} == {"cache"}


def test_one_module_decodes():
    """Frames come from one place, in three modules; the fourth writes samples."""
    assert {name.partition(".")[0] for name in importers_of("av")} == {"video"}


def test_label_files_and_class_maps_are_parsed_in_one_place_each():
    """No second parser of labels: `system.files` reads back only what mpar wrote."""
    readers = {"reader", "DictReader", "Sniffer", "read_csv", "read_table", "genfromtxt", "loadtxt"}
    parsers = {
        module
        for module in MODULES
        if {name.rpartition(".")[2] for name in find_calls(parse(module))} & readers
    }
    assert parsers == {"system.csv_text", "system.files"}


@pytest.mark.parametrize("module", MODULES)
def test_importing_changes_nothing(module):
    """No call for its effect and no change to another module's state when a module loads."""
    for node in find_top_statements(parse(module).body):
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        is_change = any(isinstance(t, ast.Attribute | ast.Subscript) for t in targets)
        assert not is_call, f"line {node.lineno}: {ast.unparse(node)}"
        assert not is_change, f"line {node.lineno}: {ast.unparse(node)}"


SEE_WHAT_LOADING_CHANGES = """
import importlib, json, logging, os, signal, sys, threading
before = signal.getsignal(signal.SIGINT), threading.active_count(), os.getcwd()
for module in sys.argv[1:]:
    importlib.import_module(module)
after = signal.getsignal(signal.SIGINT), threading.active_count(), os.getcwd()
sys.stdout.write(json.dumps({
    "torch": "torch" in sys.modules,
    "click": "click" in sys.modules,
    "pyplot": "matplotlib.pyplot" in sys.modules,
    "handlers": len(logging.getLogger().handlers),
    "changed": [str(b) for b, a in zip(before, after) if b != a],
    "files": os.listdir(),
}))
"""


def test_modules_without_torch_load_without_torch(tmp_path):
    """Checking inputs and reading scores stay quick to start, and starting leaves no trace."""
    modules = [
        f"mpar.{module}"
        for module in MODULES
        if module in DOORS_WITHOUT_TORCH or module.startswith(WITHOUT_TORCH)
    ]
    assert len(modules) > 40
    result = subprocess.run(
        [sys.executable, "-c", SEE_WHAT_LOADING_CHANGES, "mpar", *modules],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found == {
        "torch": False,
        "click": False,
        "pyplot": False,
        "handlers": 0,
        "changed": [],
        "files": [],
    }

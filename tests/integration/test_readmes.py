"""The README files name what there is, and their links lead somewhere."""

import importlib
import re
from pathlib import Path

from tests.fixtures.cli import COMMANDS

PROJECT = Path(__file__).parents[2]


def test_readme_names_every_module_and_command():
    """The README's tables and commands are those of the code."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    for path in (PROJECT / "mpar").glob("[a-z]*"):
        if path.name != "py.typed":
            assert f"`mpar/{path.name}{'/' * path.is_dir()}`" in text, path.name
    for command in COMMANDS:
        assert f"mpar-{command}" in text
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    for line in ("python3 data/quickstart.py", ".venv/bin/python -m pytest"):
        assert f"    {line}\n" in text
        assert f"\n{line}\n" in script


READMES = sorted(
    path
    for folder in ("", "mpar/*/", "cli/", "data/", "data/*/", "tests/*/")
    for path in PROJECT.glob(f"{folder}README.md")
)


def test_options_of_the_readmes_exist():
    """Every --option that a README names belongs to a command, or to a tool that it calls."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in READMES)
    lines = [
        line for line in text.splitlines() if not re.search("torchrun --|SBATCH --|srun ", line)
    ]
    known = {
        name
        for command in COMMANDS
        for option in importlib.import_module(f"mpar_cli.{command}").main.params
        for name in (*option.opts, *option.secondary_opts)
    } | {
        "--help",
        "--logdir",
        "--data",
        "--only",
        "--on",
        "--figure",
    }  # of TensorBoard and benchmarks, too
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(lines)))
    assert len(named) > 30
    assert named <= known


def test_links_of_the_readmes_lead_somewhere():
    """Each relative link is a file that exists, and its anchor a heading of that file."""
    links = [
        (path, target)
        for path in READMES
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
        if not target.startswith("http")
    ]
    assert len(links) > 15
    for path, target in links:
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve()
        assert file.exists(), f"{path}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in anchors, f"{path}: {target}"


def test_readme_is_short():
    """Ten minutes of reading: everything else stands beside what it documents."""
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150

"""Install mpar into .venv and run its main commands on the sample beside this file.

    python3 data/quickstart.py

Needs only Python 3.10 or newer. Writes to the folders .venv and demo of the project. Prints every
command that it runs, so that you can run it on your own data.
"""

import subprocess
import sys
import time
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ENVIRONMENT = PROJECT / ".venv"
PROGRAMS = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
SAMPLE, DEMO = Path("data"), Path("demo")


def run(program, *arguments):
    """Print a command, run it in the project's folder, and exit if it fails."""
    print(f"\n$ {program} {' '.join(map(str, arguments))}", flush=True)
    started = time.monotonic()
    code = subprocess.run([PROGRAMS / program, *map(str, arguments)], cwd=PROJECT).returncode
    print(f"[{time.monotonic() - started:.0f} s]", flush=True)
    if code:
        sys.exit(code)


def main():
    """Install, preprocess, train, predict, evaluate."""
    if sys.version_info < (3, 10):
        sys.exit(f"Python: found {sys.version.split()[0]}, expected 3.10 or newer; install it")
    started = time.monotonic()
    if not ENVIRONMENT.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    run("python", *"-m pip install --quiet -c constraints.txt -e .[test]".split())

    cache, predictions = DEMO / "cache.h5", DEMO / "predictions"
    run("mpar-preprocess", SAMPLE / "Videos", SAMPLE / "Annotations", "-o", cache, "--size", 48)
    # small and quick: the defaults are for real studies and take longer
    options = "--model fast --clip-length 8 --epochs 12"
    run("mpar-train", cache, "-o", DEMO / "checkpoints", *options.split())
    runs = sorted((PROJECT / DEMO / "checkpoints").iterdir(), key=lambda p: p.stat().st_mtime)
    (checkpoint,) = runs[-1].glob("best_model_epoch*.pt")
    checkpoint = checkpoint.relative_to(PROJECT)
    run("mpar-predict", checkpoint, SAMPLE / "Videos", "-o", predictions, "--overwrite")
    run("mpar-evaluate", checkpoint, cache, "-o", DEMO / "evaluation", "--overwrite")

    print(f"\nDone in {time.monotonic() - started:.0f} s. Look at:")
    print(f"  {DEMO / 'evaluation' / 'confusion_matrix.png'}")
    print(f"  {DEMO / 'evaluation' / 'ethograms'}")
    print(f"  {predictions}")


if __name__ == "__main__":
    main()

"""Look for inputs that are read wrongly, guided by coverage: needs ``pip install atheris`` (Linux).

``python -m tests.campaigns.fuzz labels CORPUS -max_total_time=600``: CORPUS is a folder that
grows; what follows goes to libFuzzer. What was found is to be put into ``findings/`` once mended:
the test suite judges those again.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path


def main() -> None:
    """Fuzz a target until the time is over or something is found."""
    target, corpus, *options = sys.argv[1:]
    try:
        import atheris
    except ImportError:
        raise SystemExit(
            "needs atheris, which is to be had for Linux: pip install atheris"
        ) from None
    with atheris.instrument_imports(include=["mpar"]):
        from tests.campaigns.findings import TARGETS
    judge, seeds = TARGETS[target]
    Path(corpus).mkdir(parents=True, exist_ok=True)
    for data in seeds():
        Path(corpus, hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)

    def test_one_input(data: bytes) -> None:
        if bad := judge(data):
            raise AssertionError(bad)

    atheris.Setup([sys.argv[0], *options, corpus], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

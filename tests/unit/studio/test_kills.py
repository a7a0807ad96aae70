"""A study whose window and jobs are killed at any moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from mpar.cache.store import Store
from mpar.studio.jobs import Jobs
from mpar.studio.study import Study
from tests.unit.studio.test_jobs import wait_for


class Window:
    """A window of its own process."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mpar_cli.studio", str(folder), "--no-browser", "-q"],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = self.process.stdout.readline().strip()

    def ask(self, path, body=None):
        """Ask the server."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=30) as answer:
            return json.load(answer)

    def kill(self):
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_twenty_kills_lose_nothing(small, study):
    """The next window finds each job over or going on; the last one makes the same cache."""
    chance = random.Random(0)
    jobs = Jobs(small / "jobs")
    for k in range(20):
        window = Window(small)
        window.ask("option", {"command": "train", "name": "minutes", "value": k + 1})
        window.ask("job", {"command": "preprocess", "options": ["--overwrite"]})
        time.sleep(chance.uniform(0, 2.5))
        window.kill()
        for job in jobs.all() if k % 2 else ():
            if job.state == "running":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(job.pid, signal.SIGKILL)
        assert Study.open(small).options["train"] == {"minutes": k + 1}
        states = [job.state for job in jobs.all()]
        assert len(states) == k + 1
        assert states.count("running") <= 1
        assert {*states} <= {"waiting", "running", "done", "problems", "broken"}
    window = Window(small)
    wait_for(jobs, 20, {"done", "broken"}, seconds=180)
    number = window.ask("job", {"command": "preprocess", "options": ["--overwrite"]})["number"]
    assert wait_for(jobs, number, {"done", "failed", "broken"}).state == "done"
    window.kill()
    with Store(small / "cache.h5") as made, Store(study.cache) as expected:
        assert made.fingerprint == expected.fingerprint
        assert made.verify() == []

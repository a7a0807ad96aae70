"""Jobs of a study: in order, found again, stopped, and never lost."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mpar.studio.jobs import Jobs, Runner


def wait_for(jobs, number, states, seconds=60):
    """Return a job as soon as it is in one of these states."""
    end = time.monotonic() + seconds
    while (job := jobs.read(number)).state not in states:
        assert time.monotonic() < end, (job, jobs.output(number))
        time.sleep(0.05)
    return job


def test_jobs_run_in_order_and_say_how_they_end(small):
    """The second waits for the first; each has its exit code and what it said."""
    jobs = Jobs(small / "jobs")
    first = jobs.add("preprocess", [])
    second = jobs.add("preprocess", ["--size", "nothing"])
    assert [job.state for job in jobs.all()] == ["waiting", "waiting"]
    assert jobs.start_next() is not None
    assert jobs.start_next() is None  # one runs
    assert jobs.read(second.number).state == "waiting"
    assert wait_for(jobs, first.number, {"done", "failed"}).code == 0
    assert (small / "cache.h5").is_file()
    progress, texts = jobs.output(first.number)
    assert (progress["stage"], progress["done"], progress["total"]) == ("decoding", 288, 288)
    assert any("recordings of 6 animals" in text for text in texts)
    jobs.start_next()
    assert wait_for(jobs, second.number, {"done", "failed"}).code == 2
    assert any("nothing" in text for text in jobs.output(second.number)[1])


@pytest.mark.slow
def test_a_job_outlives_who_started_it_and_is_stopped_by_another(small):
    """The window is killed; the next one finds the job running, and Stop saves the run."""
    code = (
        "import sys, time; from pathlib import Path; from mpar.studio.jobs import Jobs\n"
        "jobs = Jobs(Path(sys.argv[1]) / 'jobs')\n"
        "jobs.add('preprocess', []); jobs.start_next()\n"
        "while not jobs.read(1).is_over: time.sleep(0.05)\n"
        "jobs.add('train', ['--epochs', '500', '--model', 'light'])\n"
        "jobs.start_next(); print('started', flush=True); time.sleep(100)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(small)], stdout=subprocess.PIPE, text=True
    )
    with starter:
        assert starter.stdout.readline() == "started\n"
        starter.kill()
    jobs = Jobs(small / "jobs")
    end = time.monotonic() + 100
    while "macro-F1" not in ((jobs.output(2)[0] or {}).get("note") or ""):
        assert jobs.read(2).state == "running", jobs.output(2)
        assert time.monotonic() < end
        time.sleep(0.1)
    jobs.stop(2)
    job = wait_for(jobs, 2, {"stopped", "failed", "broken", "done"})
    assert (job.state, job.code) == ("stopped", 130)
    (run,) = (small / "runs").iterdir()
    assert (run / "last.pt").is_file()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_job_is_broken_and_the_next_one_runs(small):
    """Nothing hangs on the record of a process that is gone."""
    jobs = Jobs(small / "jobs")
    jobs.add("preprocess", [])
    jobs.start_next()
    os.kill(wait_for(jobs, 1, {"running"}).pid, signal.SIGKILL)
    assert wait_for(jobs, 1, {"broken", "done"}).state == "broken"
    jobs.add("preprocess", [])
    runner = Runner(jobs)
    assert wait_for(jobs, 2, {"done", "failed"}).state == "done"
    runner.close()


def test_a_waiting_job_is_dropped_and_odd_files_are_passed_over(tmp_path):
    """Stop takes a waiting job out; a damaged file is no job."""
    jobs = Jobs(tmp_path / "jobs")
    jobs.add("preprocess", ["x"])
    jobs.stop(1)
    assert jobs.read(1).state == "stopped"
    assert jobs.start_next() is None
    (tmp_path / "jobs" / "0002.json").write_text("{")
    (tmp_path / "jobs" / "0003.json").write_text(json.dumps({"number": 3}))
    assert [job.number for job in jobs.all()] == [1]
    assert jobs.add("train", []).number == 4
    assert jobs.output(7) == (None, [])


def test_a_job_that_needs_another_waits_or_is_dropped(tmp_path):
    """Training does not start on what preprocessing could not make."""
    jobs = Jobs(tmp_path / "jobs")
    first = jobs.add("preprocess", [])
    jobs.add("train", [], after=first.number)
    jobs.save(dataclasses.replace(first, state="failed", code=2))
    assert jobs.start_next() is None
    assert jobs.read(2).state == "dropped"
    assert jobs.read(2).is_over


def test_all_warnings_of_a_job_are_counted(opened, small):
    """However much progress it reported after the first."""
    client = opened(small)
    job = client.studio.jobs.add("train", [])
    progress = '{"event": "progress", "stage": "learn", "done": 1, "total": 2}'
    warning = '{"event": "message", "level": "warning", "text": "few bouts"}'
    log = "\n".join([warning, *[progress] * 2000, warning])
    client.studio.jobs.log_path(job.number).write_text(log)
    client.studio.jobs.save(dataclasses.replace(job, state="done"))
    assert client("state").json["jobs"][0]["num_warnings"] == 2
    assert client("log?number=1").json["lines"] == ["warning: few bouts"] * 2

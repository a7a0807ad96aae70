"""Work side by side: everything ends, whatever its threads do."""

import queue
import threading
import time

import pytest

from mpar.errors import InputError
from mpar.system import workers
from mpar.system.workers import HangError, run_parallel


def outcomes(function, items, num_workers=2):
    """Return what became of each item by its index."""
    found = {}
    for index, result in run_parallel(function, items, workers=num_workers):
        assert index not in found
        try:
            found[index] = result()
        except Exception as error:
            found[index] = error
    return found


@pytest.mark.parametrize("num_items", [0, 1, 2, 7])
@pytest.mark.parametrize("num_workers", [1, 2, 9])
def test_every_item_comes_back_once(num_items, num_workers):
    """However many there are, and never more at a time than asked for."""
    now, most = set(), []

    def square(item, on_step):
        now.add(item)
        most.append(len(now))
        on_step()
        time.sleep(0.002)
        now.discard(item)
        return item * item

    found = outcomes(square, range(num_items), num_workers)
    assert found == {i: i * i for i in range(num_items)}
    assert max(most, default=0) <= num_workers


def test_errors_come_back_as_they_are():
    """One that fails says so, and the others are done."""
    error = InputError.of("a.mp4", "video-damaged", "is bad; export it again")

    def fail(item, on_step):
        if item == "a":
            raise error
        return item

    assert outcomes(fail, "ab") == {0: error, 1: "b"}


def test_silence_is_counted_in_ticks():
    """A task is given up after ten minutes without a step; any step begins them anew."""
    task = workers._Task(lambda item, on_step: None, 0, None, queue.SimpleQueue())
    num_ticks = int(workers.PATIENCE_SECONDS / workers._TICK_SECONDS)
    for _ in range(3):
        task._step()
        assert not any(task.hangs() for _ in range(num_ticks))
    assert task.hangs()
    with pytest.raises(HangError, match=r"for 10 minutes, .*; check that its disk responds"):
        task.result()


def test_one_that_hangs_is_given_up_and_its_place_is_taken(monkeypatch):
    """The others are done, and the hung one stops if it wakes."""
    monkeypatch.setattr(workers, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(workers, "PATIENCE_SECONDS", 1.0)
    wake, woken = threading.Event(), []

    def work(item, on_step):
        if item == "hung":
            wake.wait(60)
            try:
                on_step()
            except KeyboardInterrupt:
                woken.append(threading.current_thread())
                raise
        return item

    found = outcomes(work, ["hung", "next", "last"])
    assert isinstance(found[0], HangError)
    assert (found[1], found[2]) == ("next", "last")
    wake.set()
    deadline = time.monotonic() + 10
    while not woken and time.monotonic() < deadline:
        time.sleep(0.01)
    woken[0].join(10)


def test_all_stop_when_their_user_does(monkeypatch):
    """Ctrl-C or an error outside waits for none that goes on, and begins no other."""
    begun = []

    def work(item, on_step):
        begun.append(item)
        while True:
            time.sleep(0.005)
            on_step()

    def interrupt(_task):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(workers._Task, "hangs", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(run_parallel(work, range(5), workers=2))
    assert begun == [0, 1]
    assert not [t for t in threading.enumerate() if isinstance(t, workers._Task)]

"""Teams: processes that torchrun starts to work together; without it, a process is alone.

The processes share out videos, and in training every batch (`mpar.learning.sums`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mpar.errors import ConfigError, MparError, TeamError

if TYPE_CHECKING:  # a process alone need not load torch
    import torch

T = TypeVar("T")

PATIENCE_SECONDS = 600.0  # how long to wait for a process without a sign of life
_BEAT_SECONDS = 1.0
_joined = itertools.count()  # cross-validation joins a team for every fold


@dataclass(frozen=True, slots=True)
class Team:
    """One process of a team.

    Parameters
    ----------
    rank : int
        Its number, 0 to `size` - 1; process 0 leads and is the only one that writes files.
    size : int
        Number of processes.
    pulse : Pulse, optional
        Waits for the others.
    """

    rank: int = 0
    size: int = 1
    pulse: Pulse | None = field(default=None, compare=False)

    @property
    def is_leader(self) -> bool:
        """Whether this process leads the team and writes its files."""
        return self.rank == 0

    def share_of(self, items: Any) -> Any:
        """Return every `size`-th item of a sequence or array, from the `rank`-th on."""
        return items[self.rank :: self.size]

    def gather(self, item: T, *, at_once: bool = False) -> list[T]:
        """Return the item of each member, by rank; anything that can be pickled.

        If all members reach this call `at_once`, there is no long wait.
        """
        if self.size == 1:
            return [item]
        import torch.distributed as dist

        if not at_once:
            self._wait()
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def gather_shares(self, items: Sequence[T]) -> list[T]:
        """Join the results of all shares (`share_of`) in the order of the whole sequence."""
        shares = self.gather(list(items))
        whole: list[Any] = [None] * sum(map(len, shares))
        for rank, share in enumerate(shares):
            whole[rank :: self.size] = share
        return whole

    def on_leader(self, function: Callable[[], T]) -> T:
        """Let the leader call a function; all members return its result or raise its error.

        On other members the error has an attribute `is_reported`, so that it is shown only once.
        """
        if self.size == 1:
            return function()
        import torch.distributed as dist

        outcome: list[Any] = [None, None]
        if self.is_leader:
            try:
                outcome[0] = function()
            except MparError as error:
                self._wait()
                dist.broadcast_object_list([None, error])
                raise
        self._wait()
        dist.broadcast_object_list(outcome)
        result, raised = outcome
        if raised is not None:
            raised.is_reported = True
            raise raised
        return result

    def _wait(self) -> None:
        assert self.pulse is not None
        self.pulse.wait_for_all()


ALONE = Team()


class Pulse:
    """Signs of life of all members, to wait for a busy member but not for one that hangs.

    Parameters
    ----------
    rank, size : int
        As for `Team`.

    Notes
    -----
    Once a second, a thread of each member increases a number in the store of the team. While it
    waits, a member reads the numbers of the others. Silence is counted in such rounds, not by a
    clock, which continues while all members are suspended. torchrun detects only processes that
    end, and the timeout of a process group cannot tell a busy member from one that hangs.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._number = next(_joined)
        self._num_waits = 0
        self.store = self._open_store()
        self._stop = threading.Event()
        # threads block each other in a store, so this thread gets its own
        self._thread = threading.Thread(target=self._beat, args=[self._open_store()], daemon=True)
        self._thread.start()

    def _open_store(self) -> Any:
        import torch.distributed as dist

        timeout = timedelta(seconds=PATIENCE_SECONDS)
        store, _, _ = next(dist.rendezvous("env://", timeout=timeout))
        return dist.PrefixStore(f"mpar{self._number}", store)

    def _beat(self, store: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the store is gone, which waiting members see, too
            while not self._stop.wait(_BEAT_SECONDS):
                store.add(f"beats of {self._rank}", 1)

    def wait_for_all(self) -> None:
        """Wait until every member has called this as often as this one.

        TeamError if a member gave no sign of life for `PATIENCE_SECONDS`.
        """
        self._num_waits += 1
        keys = [f"{rank} waits {self._num_waits}" for rank in range(self._size)]
        self.store.set(keys[self._rank], "")
        beats, silence = [-1] * self._size, [0.0] * self._size
        while not self._are_set(keys):
            for rank in range(self._size):
                found = self.store.add(f"beats of {rank}", 0)
                is_silent = found == beats[rank]
                silence[rank] = silence[rank] + 2 * _BEAT_SECONDS if is_silent else 0
                beats[rank] = found
            lost = [rank for rank in range(self._size) if silence[rank] >= PATIENCE_SECONDS]
            if lost:
                raise TeamError(
                    f"process {', '.join(map(str, lost))} of {self._size} gave no sign of life for "
                    f"{PATIENCE_SECONDS / 60:.3g} minutes: it hangs, or its machine does not "
                    f"respond; {_GO_ON}"
                )
        # no member still waits for the previous time
        self.store.delete_key(f"{self._rank} waits {self._num_waits - 1}")

    def _are_set(self, keys: list[str]) -> bool:
        """Wait for two beats at most; return True if all members have arrived."""
        import torch.distributed as dist

        try:
            self.store.wait(keys, timedelta(seconds=2 * _BEAT_SECONDS))
        except dist.DistStoreError:
            return False
        return True

    def stop(self) -> None:
        """Stop the signs of life."""
        self._stop.set()
        self._thread.join(PATIENCE_SECONDS)


_GO_ON = (
    "finished files are kept: fix the cause and run the same command again (continue training with "
    "--resume)"
)


@contextlib.contextmanager
def joined_team(device: torch.device | None = None) -> Iterator[Team]:
    """Join the processes that torchrun started; without torchrun, yield a team of one.

    TeamError if another process died, hangs or was stopped.
    """
    if num_processes() == 1:
        yield ALONE
        return
    import torch.distributed as dist

    # NCCL transfers tensors between CUDA devices, gloo everything else
    backend = "cpu:gloo,cuda:nccl" if device is not None and device.type == "cuda" else "gloo"
    rank, size = int(os.environ["RANK"]), num_processes()
    pulse = None
    try:
        pulse = Pulse(rank, size)
        timeout = timedelta(seconds=PATIENCE_SECONDS)
        dist.init_process_group(
            backend, store=pulse.store, rank=rank, world_size=size, timeout=timeout
        )
        yield Team(rank, size, pulse)
    except RuntimeError as error:
        if not _is_of_team(error):
            raise
        raise TeamError(
            f"another process of the {size} died, was stopped or does not respond; {_GO_ON}"
        ) from None
    finally:
        if pulse is not None:
            pulse.stop()
        if dist.is_initialized():
            dist.destroy_process_group()


def _is_of_team(error: RuntimeError) -> bool:
    """Return True if communication with the other processes failed."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error)


def num_processes() -> int:
    """Return how many processes torchrun started; works before joining the team."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_leading() -> bool:
    """Return True if this process leads its team; works before joining the team."""
    return os.environ.get("RANK", "0") == "0"


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this process if the machine runs several, else `device`."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    return type(device)("cuda", int(os.environ["LOCAL_RANK"]))


def refuse_team(what: str) -> None:
    """Raise ConfigError if torchrun started several processes, for work that only one can do."""
    if (found := num_processes()) > 1:
        raise ConfigError(
            f"{what}: found {found} processes of torchrun, expected one; run it without torchrun, "
            "or train each network with its --split"
        )

"""Processes that work together, as torchrun starts them; without it a process is alone.

Videos are shared out among them, and in training every batch (`mpar.sums`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from mpar.errors import MparError

if TYPE_CHECKING:  # one who is alone does not wait for torch to load
    import torch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """A process among those that work together.

    Parameters
    ----------
    rank : int
        Its number, 0 to `size` - 1; 0 leads, and alone writes files.
    size : int
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process writes what all of them made."""
        return self.rank == 0

    def share_of(self, items: Any) -> Any:
        """Return every `size`-th item of a sequence or array, from the `rank`-th on."""
        return items[self.rank :: self.size]

    def gather(self, item: T) -> list[T]:
        """Return what each member gave, by rank."""
        if self.size == 1:
            return [item]
        import torch.distributed as dist

        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def gather_shares(self, items: Sequence[T]) -> list[T]:
        """Put together what each member made of its share (`share_of`), in the whole's order."""
        shares = self.gather(list(items))
        whole: list[Any] = [None] * sum(map(len, shares))
        for rank, share in enumerate(shares):
            whole[rank :: self.size] = share
        return whole

    def led(self, function: Callable[[], T]) -> T:
        """Let the leader call a function: all get what it returns, or raise what it raised.

        Raises
        ------
        MparError
            The leader's; on the others it has an attribute `is_told`, since once is enough to
            show it.
        """
        if self.size == 1:
            return function()
        import torch.distributed as dist

        outcome: list[Any] = [None, None]
        if self.is_leader:
            try:
                outcome[0] = function()
            except MparError as error:
                dist.broadcast_object_list([None, error])
                raise
        dist.broadcast_object_list(outcome)
        result, told = outcome
        if told is not None:
            told.is_told = True
            raise told
        return result


ALONE = Team()


@contextlib.contextmanager
def joined_team(device: torch.device | None = None) -> Iterator[Team]:
    """Join the processes that torchrun started, or be alone where it did not.

    Parameters
    ----------
    device : torch.device, optional
        Where this process computes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    import torch.distributed as dist

    # between CUDA devices NCCL carries tensors, but gloo what else is told
    backend = "cpu:gloo,cuda:nccl" if device is not None and device.type == "cuda" else "gloo"
    # those who are done with short videos wait for those with long ones; torch gives up in minutes
    dist.init_process_group(backend, timeout=timedelta(days=30))
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def is_leading() -> bool:
    """Tell whether this process leads its team; can be asked without joining it."""
    return os.environ.get("RANK", "0") == "0"


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this process where a machine runs several, else `device`."""
    if device.type != "cuda" or "LOCAL_RANK" not in os.environ:
        return device
    return type(device)("cuda", int(os.environ["LOCAL_RANK"]))

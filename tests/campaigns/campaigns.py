"""The list of campaigns: what each does, how large, and which protection its check takes away."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns.cases import Plant, Verdict, nothing


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign.

    Parameters
    ----------
    number : int
        As in the README.
    title : str
        What is done to mpar.
    module, run : str
        Where it is.
    plants : tuple of str
        Functions of the module, each of which takes away a protection that the campaign misses.
    short, full : int
        Cases in the test suite, and in a full run; 0 for as many as there are.
    """

    number: int
    title: str
    module: str
    run: str
    plants: tuple[str, ...]
    short: int
    full: int

    def _find(self, name: str) -> Callable:
        return getattr(importlib.import_module(f"tests.campaigns.{self.module}"), name)

    def verdicts(
        self, seed: int, size: int, folder: Path, plant: str | None = None
    ) -> Iterator[Verdict]:
        """Run it in an empty folder."""
        planted: Plant = self._find(plant) if plant else nothing
        folder.mkdir(parents=True, exist_ok=True)
        return self._find(self.run)(seed, size, folder, planted)


CAMPAIGNS = (
    Campaign(
        1,
        "kill -9 while preprocessing, then again",
        "crashes",
        "kill_preprocessing",
        ("with_files_written_in_place",),
        4,
        500,
    ),
    Campaign(
        2,
        "kill -9 while training, then `--resume`",
        "crashes",
        "kill_training",
        ("with_files_written_in_place",),
        1,
        400,
    ),
    Campaign(
        3,
        "a full disk, failing disk, short write",
        "disks",
        "fail_disks",
        ("with_files_written_in_place",),
        4,
        0,
    ),
    Campaign(
        4,
        "bits flipped in a cache, or its end cut off",
        "damage",
        "damage_caches",
        ("without_cache_checksums",),
        200,
        5000,
    ),
    Campaign(
        5,
        "bits flipped in a checkpoint, or its end cut off",
        "damage",
        "damage_checkpoints",
        ("without_checkpoint_checksums",),
        6,
        1000,
    ),
    Campaign(
        6,
        "two preprocesses at one cache; a cache replaced or written over while training",
        "races",
        "race",
        ("without_locks",),
        8,
        100,
    ),
    Campaign(
        7,
        "a cache cut short, written over or on a failing disk while it is read",
        "races",
        "lose_caches",
        ("without_looking_for_changes", "without_word_of_lost_pages"),
        10,
        50,
    ),
    Campaign(
        8,
        "SIGINT and SIGTERM while training, then `--resume`, up to four times",
        "signals",
        "stop_training",
        ("without_moments_of_the_optimizer",),
        1,
        50,
    ),
    Campaign(
        9,
        "damaged videos: H.264, MPEG-4 and MJPEG in mp4, avi and mkv",
        "footage",
        "mutate_videos",
        ("without_warnings",),
        600,
        2000,
    ),
    Campaign(
        10,
        "label files of all dialects, with mistakes, mutated",
        "labels",
        "read_label_files",
        ("without_order_checks", "with_rounded_frames"),
        400,
        20_000,
    ),
    Campaign(
        11,
        "files made to do harm",
        "hostile",
        "meet_hostile_files",
        ("without_lists_of_what_is_allowed",),
        1,
        0,
    ),
    Campaign(
        12,
        "file names that are hard to bear",
        "hostile",
        "bear_names",
        ("without_escaping",),
        14,
        0,
    ),
    Campaign(
        13,
        "a process of a team killed or stopped; a decoder that hangs",
        "teams",
        "lose_workers",
        ("with_endless_patience",),
        1,
        27,
    ),
    Campaign(
        14,
        "spawn, fork and forkserver; two runs in a second; a clock that goes backwards",
        "clocks",
        "turn_clocks_back",
        ("without_locks",),
        2,
        0,
    ),
    Campaign(
        15,
        "memory: six minutes and an hour of 1280 x 1024 px through every command",
        "memory",
        "measure_memory",
        ("with_whole_videos_in_memory",),
        1,
        0,
    ),
    Campaign(
        16,
        "regions files of all dialects, with mistakes, mutated",
        "places",
        "read_region_files",
        ("without_comparing_rows",),
        200,
        20_000,
    ),
    Campaign(
        17,
        "BORIS itself opens and exports the projects that mpar writes",
        "programs",
        "export_with_boris",
        ("with_times_in_hundredths",),
        1,
        40,
    ),
)

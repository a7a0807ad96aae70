"""Videos that were moved: recognised by their content in another folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpar.errors import MparError
from mpar.labels.names import VIDEO_SUFFIXES
from mpar.studio.study import Study
from mpar.system.files import sha256_of
from mpar.system.folders import find_files


def known_digests(study: Study) -> dict[str, tuple[str, int]]:
    """Return name and size in bytes of the videos in the cache, by SHA-256."""
    from mpar.cache.store import Store  # slow to load, and seldom needed

    found: dict[str, tuple[str, int]] = {}
    with contextlib.suppress(MparError, OSError), Store(study.cache) as store:
        found |= {info.sha256: (info.video, info.size_bytes) for info in store.recordings}
    return found


def look_in(study: Study, folder: Path) -> dict[str, Any]:
    """Return what is known of the videos in a folder, by their content.

    Returns
    -------
    dict
        Numbers of videos in the folder (`num_videos`), of those of the study that are among them
        (`num_found`) and that the study knows (`num_known`), and `renamed`, pairs of the name in
        the study and the name there.
    """
    known = known_digests(study)
    videos = find_files([folder], VIDEO_SUFFIXES)
    found: dict[str, str] = {}
    for video in videos:
        if digest := _find(video, known):
            found[digest] = video.name
    renamed = [[known[d][0], name] for d, name in found.items() if known[d][0] != name]
    return {
        "num_videos": len(videos),
        "num_found": len(found),
        "num_known": len(known),
        "renamed": sorted(renamed),
    }


def _find(video: Path, known: Mapping[str, tuple[str, int]]) -> str:
    size = video.stat().st_size
    if size not in {size_bytes for _, size_bytes in known.values()}:
        return ""  # no need to read it
    digest = sha256_of(video)
    return digest if digest in known else ""

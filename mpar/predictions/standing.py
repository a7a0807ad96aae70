"""Which predictions of a folder a run can keep: complete, unchanged, and made in the same way.

The JSON file beside a prediction holds the digests of the network, of the video and of the other
files, and the options. It is written first and the CSV of the frames last, so that a run that was
killed leaves no CSV without the other files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpar.errors import InputError
from mpar.predictions.reading import read_sidecar
from mpar.predictions.writing import output_paths
from mpar.system.files import is_there, sha256_of

_OPTIONS = {
    "stride": "--stride",
    "min_confidence": "--min-confidence",
    "action_format": "--format",
    "stream": "--stream",
    "fps_if_unknown": "--fps",
    "precision": "--precision",
    "region": "--regions",
}
_TOO_OLD = "was written by a version of mpar that did not note how"


@dataclass(frozen=True, slots=True)
class Standing:
    """What an output folder holds of one recording.

    Parameters
    ----------
    reason : str
        Why the files can be neither kept nor replaced; "" if they can.
    summary : dict
        Its row of the summary, if the files are to be kept; else empty.
    """

    reason: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Whether the prediction is there."""
        return bool(self.summary)


def look_at(
    folder: Path, name: str, wanted: Mapping[str, Any], source: Callable[[], str]
) -> Standing:
    """Compare the files of a recording with what a run would write.

    `wanted` is what the JSON file would say of the network and the options. `source` returns the
    digest of the video, "" if it cannot be read; it is called only if all else fits.
    """
    paths = output_paths(folder, name)
    there = [path for path in paths.values() if is_there(path)]
    if not there:
        return Standing()
    if paths["sidecar"] not in there:
        return Standing(f"{there[0].name} is there without {paths['sidecar'].name}")
    label = paths["sidecar"].name
    try:
        sidecar = read_sidecar(paths["predictions"])
    except InputError:
        return Standing(f"{label} is damaged or not of mpar-predict")
    reason = _find_difference(sidecar, wanted)
    if not reason:
        digest = source()
        if not digest:
            return Standing()  # to predict it reports what is wrong, and writes nothing
        if sidecar["source_digest"] != digest:
            reason = "is of another video of that name, or the video has changed since"
    if reason:
        return Standing(f"{label} {reason}")
    for kind in ("bouts", "predictions"):
        if paths[kind] not in there:
            return Standing()  # a run was killed while it wrote them
        if sha256_of(paths[kind]) != sidecar["sha256"].get(kind):
            return Standing(f"{paths[kind].name} was changed after mpar wrote it")
    return Standing(summary=dict(sidecar["summary"]))


def _find_difference(sidecar: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return how a prediction was made otherwise than wanted, "" if alike."""
    if not {*wanted, "source_digest", "sha256", "summary"} <= {*sidecar}:
        return _TOO_OLD
    if not isinstance(sidecar["sha256"], dict) or not isinstance(sidecar["summary"], dict):
        return _TOO_OLD
    if sidecar["checkpoint_sha256"] != wanted["checkpoint_sha256"]:
        return "is of another network"
    for key, value in wanted.items():
        if sidecar[key] == value:
            continue
        if key in _OPTIONS:
            found, expected = (_shown(each) for each in (sidecar[key], value))
            return f"was made with {_OPTIONS[key]} {found}, now {expected}"
        if key == "postprocessing":
            return "was made with another post-processing (--smooth, --threshold, --raw ...)"
        return f"has another {key}"
    return ""


def _shown(value: Any) -> str:
    return "not given" if value in (None, "") else str(value)

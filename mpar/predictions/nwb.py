"""Predicted bouts as an NWB file, in the tables of the extension ndx-ethogram.

Source of types and fields: the schema of ndx-ethogram 0.1.
"""

from __future__ import annotations

import datetime
import json
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import mpar
from mpar.errors import ConfigError, InputError, Problem
from mpar.labels.bouts import bout_table, find_bouts
from mpar.labels.classes import UNLABELLED, ClassMap
from mpar.labels.scorings import Recording
from mpar.predictions.nwb_metadata import NwbMetadata, metadata_of, read_nwb_metadata
from mpar.predictions.reading import StoredPrediction, read_folder
from mpar.system.faults import LOG_NAME, contained, logged
from mpar.system.files import atomic_path, refuse_existing

_COLUMNS = {
    "confidence": ("Mean_confidence", "Mean confidence of the frames of the bout, 0 to 1"),
    "first_frame": ("First_frame", "First frame of the bout, from 0"),
    "last_frame": ("Last_frame", "Last frame of the bout, included"),
}
# NWB demands a start, and mpar does not know when a video was recorded
UNKNOWN_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A prediction to write: its labels, its bouts and how it was made."""

    recording: Recording
    bouts: pd.DataFrame
    provenance: dict[str, Any]


def export_nwb(
    folder: Path | str,
    output_folder: Path | str,
    *,
    metadata_path: Path | str | None = None,
    overwrite: bool = False,
    quiet: bool = True,
) -> tuple[list[Path], list[Problem]]:
    """Write the predictions of a folder as NWB files, one per recording.

    Parameters
    ----------
    folder : Path or str
        Folder with ``NAME_predictions.csv`` of mpar-predict and their JSON files.
    output_folder : Path or str
        Gets ``NAME.nwb``.
    metadata_path : Path or str, optional
        As for `mpar.predictions.nwb_metadata.read_nwb_metadata`; recordings without a sound row
        are left out. By default, the files name the animal alone.
    overwrite : bool
        Replace files that exist.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    paths : list of Path
        The written files.
    problems : list of Problem
        Predictions that were left out.

    Raises
    ------
    ConfigError
        pynwb or ndx-ethogram is missing, a file exists, or the metadata have no column for NWB.
    InputError
        No prediction can be read.
    """
    check_nwb()
    items, class_map, problems = read_folder(folder, _read_one, quiet=quiet)
    metadata = {item.recording.name: metadata_of(item.recording) for item in items}
    if metadata_path is not None:
        metadata, more = read_nwb_metadata([item.recording for item in items], metadata_path)
        problems += more
        items = [item for item in items if item.recording.name in metadata]
    paths = [Path(output_folder, f"{item.recording.name}.nwb") for item in items]
    if not overwrite:
        refuse_existing(output_folder, [path.name for path in paths])
    written = []
    for path, item in zip(paths, items, strict=True):
        try:
            with contained(path, with_disk=True):
                write_nwb(
                    path,
                    item.recording,
                    item.bouts,
                    class_map,
                    item.provenance,
                    metadata[item.recording.name],
                )
            written.append(path)
        except InputError as error:
            problems += error.problems
    problems = logged(problems, Path(output_folder, LOG_NAME))
    if not written:
        raise InputError(problems)
    return written, sorted(problems)


def _read_one(stored: StoredPrediction) -> _Item:
    """Read a prediction with the confidence of its bouts, which equal those of NAME_bouts.csv."""
    recording, rows = stored.read(with_confidence=True)
    if rows.confidence is None:
        raise InputError.of(stored.path, "columns", "lacks the column Confidence; predict again")
    class_map = ClassMap.from_dict(stored.sidecar["class_map"])
    bouts = bout_table(
        rows.labels,
        recording.clock,
        class_map.class_names,
        confidence=rows.confidence,
        stride=rows.stride,
    )
    provenance = {key: value for key, value in stored.sidecar.items() if key != "times"}
    return _Item(recording, bouts, provenance)


def check_nwb() -> None:
    """Raise ConfigError if the packages that write NWB files are not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ndx_ethogram  # noqa: F401
            import pynwb  # noqa: F401
    except ImportError:
        raise ConfigError(
            "format: nwb needs the packages pynwb and ndx-ethogram; run pip install pynwb "
            "ndx-ethogram"
        ) from None


def write_nwb(
    path: Path | str,
    item: Recording,
    bouts: pd.DataFrame,
    class_map: ClassMap,
    provenance: Mapping[str, Any],
    metadata: NwbMetadata,
) -> None:
    """Write the bouts of a recording, atomically.

    Parameters
    ----------
    path : Path or str
        The .nwb file.
    item : Recording
        The recording.
    bouts : DataFrame
        Its bouts, as `mpar.labels.bouts.bout_table` returns them with a confidence. Seconds are
        those of its time line.
    class_map : ClassMap
        Its classes.
    provenance : mapping
        How the prediction was made, for the attribute ``parameters`` of the bouts.
    metadata : NwbMetadata
        What is known of the animal and the session.

    Notes
    -----
    The processing module ``behavior`` holds ``ethogram`` (the classes) and ``bouts``. If some
    frames are unlabelled, ``observed`` holds the labelled stretches.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ndx_ethogram import Ethogram, EthogramBouts
        from pynwb import NWBHDF5IO, NWBFile
        from pynwb.file import Subject

    how = {**provenance, "exported_by": f"mpar {mpar.__version__}"}
    parameters = json.dumps(how, sort_keys=True)
    description = f"Behaviour in {item.video}, recording {item.name}, predicted by mpar."
    if "session_start_time" not in metadata.file:
        description += " The date of the recording is unknown; 1970-01-01 stands for it."
    given = {"session_start_time": UNKNOWN_START, **metadata.file}
    given["session_description"] = " ".join(
        filter(None, (metadata.file.get("session_description"), description))
    )
    file = NWBFile(
        identifier=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{item.name} {parameters}")),
        subject=Subject(**metadata.subject),
        **given,
    )
    module = file.create_processing_module("behavior", "Behaviour predicted by mpar")
    ethogram = Ethogram(
        name="ethogram",
        description="Classes of the network; each frame has at most one",
        exclusive=True,
    )
    for name in class_map.class_names:
        codes = [f"{code} {raw}" for code, raw, merged in class_map.rows if merged == name]
        ethogram.add_row(
            behavior=name,
            definition=f"codes {', '.join(codes)}",
            behavior_type="state",
            native_code=class_map.code_of_class(name),
        )
    module.add(ethogram)
    table = EthogramBouts(
        name="bouts",
        description="One row per bout, in seconds from the start of the video",
        labeling_method="automated",
        source_software=f"mpar {provenance.get('mpar_version', mpar.__version__)}",
        parameters=parameters,
        ethogram=ethogram,
        observation_intervals=_add_observed(module, item),
    )
    for bout in bouts.to_dict("records"):
        table.add_row(start_time=bout["Start_s"], stop_time=bout["Stop_s"], label=bout["Class"])
    for name, (column, description) in _COLUMNS.items():
        # an array has a type even if it is empty
        table.add_column(name=name, description=description, data=bouts[column].to_numpy())
    module.add(table)
    with atomic_path(path) as temporary, NWBHDF5IO(temporary, "w") as io:
        io.write(file)


def _add_observed(module: Any, item: Recording) -> Any:
    """Add the stretches in which every frame has a label; None if that is the whole recording."""
    from pynwb.epoch import TimeIntervals

    if (item.labels != UNLABELLED).all():
        return None
    table = TimeIntervals(name="observed", description="Stretches in which each frame has a label")
    stretches = find_bouts((item.labels != UNLABELLED).astype(int) - 1)
    for start, stop in zip(stretches["start"].tolist(), stretches["stop"].tolist(), strict=True):
        table.add_row(
            start_time=float(item.clock.start_of(start)),
            stop_time=float(item.clock.start_of(stop)),
        )
    module.add(table)
    return table

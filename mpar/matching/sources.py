"""Sources: a video with its label files, split by animal, without copies or predictions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mpar.errors import Problem
from mpar.labels.names import added_to, normal
from mpar.labels.scorings import JOINT, Scoring
from mpar.matching.regions import RegionTable, recording_name, share_labels
from mpar.matching.tracks import TrackFolder
from mpar.system import xlsx
from mpar.system.files import parse_json
from mpar.video.regions import Region


@dataclass(slots=True, eq=False)
class Source:
    """A video with its labels, in order of the file names; with regions, one for each animal.

    Parameters
    ----------
    video : Path
        The video.
    labels : list of Scoring
        Labels not yet laid on the frames.
    problems : list of Problem
        Why its labels cannot be used; `labels` is then incomplete.
    region : Region, optional
        Where its animal lives; by default the whole picture.
    """

    video: Path
    labels: list[Scoring] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    region: Region | None = None

    @property
    def name(self) -> str:
        """Name of its recording: the video's without suffix, and the animal's in its region."""
        return recording_name(self.video.stem, self.region)

    @property
    def path(self) -> Path:
        """The path that messages show: the video, with the name of its animal if it has regions."""
        return self.video.with_name(self.name + self.video.suffix)


def split_sources(
    sources: Sequence[Source], regions: RegionTable | TrackFolder
) -> tuple[list[Source], list[Problem]]:
    """Split each source whose video has regions into one source per animal."""
    found, problems = regions.by_video([source.video for source in sources])
    split: list[Source] = []
    for source in sources:
        own, more = found.get(source.video), []
        if isinstance(regions, TrackFolder) and own and not own[0].animal:
            where = f"whose one animal has no name in {regions.path.name}"
            more = _find_named_animals(source, where, "track both animals")
        if more:
            pass  # whose labels these are is not known
        elif own is not None:
            mine, more = split_source(source, own)
            split += mine
        elif isinstance(regions, RegionTable):
            where = f"which has no row in {regions.path.name}"
            more = _find_named_animals(source, where, "add its regions")
            split += [] if more else [source]
        problems += more
    return split, problems


def _find_named_animals(source: Source, where: str, advice: str) -> list[Problem]:
    """Return a problem for each label file of an animal of a video whose animals have no names.

    Two of them would otherwise count as two people who scored the whole picture.
    """
    start = normal(f"{source.video.stem}{JOINT}")
    return [
        Problem.of(
            part.path,
            "no-animal",
            f"names an animal of {source.video.name}, {where}; {advice}, or rename the file",
        )
        for part in source.labels
        if normal(part.path.stem).startswith(start)
    ]


def split_source(source: Source, regions: Sequence[Region]) -> tuple[list[Source], list[Problem]]:
    """Split a source into one per region; without regions, return it unchanged.

    Problems of the label files belong to the video, not to one of its animals.
    """
    if not regions:
        return [source], []
    shared, problems = share_labels(source.video, source.labels, regions)
    split = [Source(source.video, labels, region=region) for region, labels in shared.items()]
    if source.problems:  # an unreadable file may hold the labels of an animal
        split = [part for part in split if part.labels]
    return split, source.problems + problems


def note_number(source: Source) -> None:
    """Warn about a lone numbered label file that may be of another video: m1_2.csv, m1.mp4."""
    added = [added_to(part.path.stem, source.video.name) for part in source.labels]
    is_numbered = [re.match(r"[_.\- ][0-9]", text) is not None for text in added]
    part = source.labels[is_numbered.index(True)] if sum(is_numbered) == 1 else None
    if part is None or (part.video):
        return
    if not normal(part.path.stem).startswith("prediction_"):
        source.labels[is_numbered.index(True)] = part.warned(
            f"counts as labels of {source.video.name}, the longest matching name of a video; if "
            "it is of another video, move it elsewhere"
        )


def note_corrections(source: Source) -> None:
    """Note which label files were made on mpar's page to correct others (`Scoring.corrects`).

    The JSON file beside such a file names those whose labels its author saw.
    """
    for i, part in enumerate(source.labels if len(source.labels) > 1 else ()):
        try:
            about = parse_json(part.path.with_suffix(".json").read_text(encoding="utf-8"))
            corrected = about["corrects"] if about["format"] == "mpar-review" else ()
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if part.is_by_frame and isinstance(corrected, list):
            source.labels[i] = replace(part, corrects=tuple(normal(str(n)) for n in corrected))


def drop_predictions(source: Source) -> None:
    """Drop predictions if there are labels by people: mpar is not an annotator."""
    own = [part for part in source.labels if part.path.stem.endswith("_predictions")]
    people = [part for part in source.labels if not part.path.stem.endswith("_predictions")]
    if own and people:
        people[0] = people[0].warned(
            f"mpar ignores {own[0].path.name}, which is a prediction; if a person corrected it, "
            "rename it"
        )
        source.labels = people


def drop_workbooks(source: Source) -> None:
    """Drop workbooks that were saved as a text file of the same name, too.

    A workbook with other labels is a problem: either file may be the newer one.
    """
    texts = {
        (part.path.parent, part.path.stem): part
        for part in source.labels
        if part.path.suffix.lower() != xlsx.SUFFIX
    }
    for book in [part for part in source.labels if part.path.suffix.lower() == xlsx.SUFFIX]:
        text = texts.get((book.path.parent, book.path.stem))
        if text is None:
            continue
        mine, other = (
            [_content(part) for part in source.labels if part.path == path]
            for path in (book.path, text.path)
        )
        if mine != other:
            message = f"has other labels than {text.path.name}, expected the same; remove one"
            source.problems += [Problem.of(book.path, "contradiction", message)]
            return
        source.labels = [part for part in source.labels if part.path != book.path]
        i = source.labels.index(text)
        warning = f"mpar ignores {book.path.name}, which holds the same labels"
        texts[book.path.parent, book.path.stem] = source.labels[i] = text.warned(warning)


def _content(scoring: Scoring) -> list[tuple[object, ...]]:
    """Return the labels of a scoring, to compare them with those of another file."""
    rows = list(zip(scoring.frames.tolist(), scoring.codes.tolist(), strict=True))
    return [*rows, *((event.behaviour, event.start, event.stop) for event in scoring.events)]


def drop_copies(source: Source) -> None:
    """Drop label files with the same content as another one and the name of a copy.

    Systems add a space and more to the name: ``m1 (1).csv``, ``m1 - Copy.csv``, ``m1 copy.csv``.
    Files with other names may come from people who agree in every frame; mpar only warns.
    """
    paths = list(dict.fromkeys(part.path for part in source.labels))
    first: dict[bytes, Path] = {}
    original: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda path: len(path.name)) if len(paths) > 1 else ():
        content = path.read_bytes()
        if content in first:
            original[path] = first[content]
        first.setdefault(content, path)
    for path, other in original.items():
        if path.parent == other.parent and path.stem.startswith(f"{other.stem} "):
            source.labels = [part for part in source.labels if part.path != path]
            at, warning = other, f"mpar ignores {path.name}, which has the same content; remove one"
        else:
            shown = "/".join(other.parts[-2:])
            at, warning = path, f"has the same content as {shown}; if one is a copy, remove it"
        i = next(i for i, part in enumerate(source.labels) if part.path == at)
        source.labels[i] = source.labels[i].warned(warning)

"""Find the video that a name in a table, or the name of another file, stands for.

The same rule holds everywhere. An exact match comes first; if there is none, capitals and extra
spaces are ignored. Folders and the suffix of a video do not count. Any other dot is part of the
name, so ``mouse1.2`` is never ``mouse1``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

VIDEO_SUFFIXES = (
    ".mp4 .avi .mov .mkv .m4v .webm .mpg .mpeg .wmv .asf .flv .ts .mts .m2ts .ogv .h264 .3gp "
    ".3g2 .qt .mxf .dv .vob .m2v .h265 .hevc"
).split()
# suffixes of videos that mpar does not read; their label files belong to no other video
UNREAD_VIDEO_SUFFIXES = (
    ".seq .264 .265 .mjpeg .mjpg .mp4v .ivf .rm .insv .braw .ufmf .raw .bin .gif"
).split()
UNFINISHED = (".part", ".crdownload", ".tmp")
_SEPARATORS = "_.- "  # between a video's name and the text that a label file adds
_PREDICTION = "prediction_"
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def normal(name: str) -> str:
    """Return `name` with composed accents; macOS stores accents separately."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return `name` in lower case and without extra spaces, to compare it.

    Examples
    --------
    >>> folded(" Mouse  1.MP4 ")
    'mouse 1.mp4'
    """
    return " ".join(normal(normal(name).casefold()).split())


def spelled_alike(names: Iterable[str], *, with_zeros: bool = False) -> list[list[str]]:
    """Return groups of names that differ only in case or spaces.

    Parameters
    ----------
    names : iterable of str
        Names as people wrote them.
    with_zeros : bool
        Also ignore leading zeros of a number: 01 is 1.

    Examples
    --------
    >>> spelled_alike(["CFA", "saline", "cfa ", "CFA"])
    [['CFA', 'cfa ']]
    >>> spelled_alike(["m01", "m10", "m1"], with_zeros=True)
    [['m01', 'm1']]
    """
    spellings: dict[str, dict[str, None]] = defaultdict(dict)
    for name in names:
        key = folded(name)
        spellings[_LEADING_ZEROS.sub("", key) if with_zeros else key][name] = None
    return [[*alike] for alike in spellings.values() if len(alike) > 1]


def file_name(written: str) -> str:
    r"""Return the last part of a path of any system.

    Examples
    --------
    >>> file_name(r"D:\films\m1.mp4"), file_name("/films/m1.mp4")
    ('m1.mp4', 'm1.mp4')
    """
    return re.split(r"[\\/]", written)[-1]


def safe_in_names(name: str) -> str:
    """Return `name` as a part of a file name, which no system refuses.

    Examples
    --------
    >>> safe_in_names("lick: left?")
    'lick_ left_'
    """
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", name).strip(". ")


def without_suffix(name: str) -> str:
    """Return a file name without the suffix of a video; other dots stay.

    Examples
    --------
    >>> without_suffix("mouse1.2.MP4"), without_suffix("mouse1.2"), without_suffix("m1.seq")
    ('mouse1.2', 'mouse1.2', 'm1')
    """
    stem, dot, suffix = name.rstrip().rpartition(".")
    is_video = f"{dot}{suffix}".lower() in {*VIDEO_SUFFIXES, *UNREAD_VIDEO_SUFFIXES}
    return stem if stem and is_video else name


def unread_video(name: str) -> str:
    """Return the name of a video that mpar does not read, "" for any other file.

    Examples
    --------
    >>> unread_video("m1.seq"), unread_video("m1.mp4.part"), unread_video("m1.mp4")
    ('m1.seq', 'm1.mp4', '')
    """
    stem, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix}".lower() in UNFINISHED:
        return stem if without_suffix(stem) != stem else ""
    return name if f"{dot}{suffix}".lower() in UNREAD_VIDEO_SUFFIXES else ""


def added_to(stem: str, video: str) -> str:
    """Return the text that a label file's name adds to its video's name; all of it if they differ.

    Examples
    --------
    >>> added_to("mouse_7_anna", "Mouse_7.mp4"), added_to("prediction_m7.mp4_2", "m7.mp4")
    ('_anna', '_2')
    """
    text = normal(stem)
    for name in (_PREDICTION + video, without_suffix(video)):
        for end in range(len(text) + 1):
            is_end = end == len(text) or text[end] in _SEPARATORS
            if is_end and folded(text[:end]) == folded(name):
                return text[end:]
    return text


# a function that folds names; items by whole name, by stem and by prediction name
_Tables = tuple[Callable[[str], str], dict[str, list[T]], dict[str, list[T]], dict[str, list[T]]]


class NameIndex(Generic[T]):
    """Find items by names as people write them.

    Parameters
    ----------
    items : iterable of (str, hashable)
        A file name, or the name of a recording, and the item that it stands for. An item may have
        several names, and several items may share a name.

    Examples
    --------
    >>> index = NameIndex([("mouse1.mp4", 1), ("mouse1.2.mp4", 2)])
    >>> index.find("D:/films/mouse1.avi"), index.find("Mouse1.2"), index.find("mouse1.3")
    ([1], [2], [])
    """

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        self._tables: list[_Tables[T]] = []
        pairs = list(items)
        for fold in (normal, folded):  # from the strictest reading to the most forgiving one
            whole: dict[str, list[T]] = defaultdict(list)
            stems: dict[str, list[T]] = defaultdict(list)
            predictions: dict[str, list[T]] = defaultdict(list)
            for name, item in pairs:
                stem = without_suffix(name)
                for table, text in (
                    (whole, name),
                    (stems, stem),
                    (predictions, _PREDICTION + name),
                ):
                    if item not in (entries := table[fold(text)]):
                        entries.append(item)
            self._tables.append((fold, dict(whole), dict(stems), dict(predictions)))
        self._length_of = {item: len(normal(without_suffix(name))) for name, item in pairs}

    def find(self, written: str) -> list[T]:
        """Return the items that a name stands for; several if the name is ambiguous."""
        name = file_name(written)
        for fold, whole, stems, _ in self._tables:
            for table, text in ((whole, name), (stems, name), (stems, without_suffix(name))):
                if found := table.get(fold(text)):
                    return list(found)
        return []

    def find_owners(self, stem: str) -> list[T]:
        """Return the items that a label file named `stem` (without suffix) belongs to.

        An item NAME owns the file if `stem` is NAME or ``prediction_NAME.ext``, or either of them
        followed by ``_``, ``.``, ``-`` or a space and more text. The longest NAME wins. There are
        several items if the name is ambiguous.
        """
        fits: dict[tuple[int, int], list[T]] = defaultdict(list)
        for rank, (fold, _, stems, predictions) in enumerate(self._tables):
            text = fold(stem)
            ends = [i for i, letter in enumerate(text) if letter in _SEPARATORS]
            for end in (*ends, len(text)):
                for item in (*stems.get(text[:end], ()), *predictions.get(text[:end], ())):
                    fits[self._length_of[item], -rank].append(item)
        return list(dict.fromkeys(fits[max(fits)])) if fits else []

"""Class maps: from codes and names in label files to the classes that a network learns."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mpar.errors import ConfigError, InputError
from mpar.system.tables import read_named_rows

log = logging.getLogger(__name__)

UNLABELLED = -1
MAX_CODE = np.iinfo(np.int16).max
MAX_CLASSES = np.iinfo(np.int8).max
_COLUMNS = ("code", "name", "class")
_OPTIONAL_COLUMNS = ("modifier", "mirror", "response")
_ANSWERS = {
    "yes": True,
    "no": False,
    "": False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
}
# the responses of an older class map, whose rows do not mark them
_UNSTATED_RESPONSES = ("paw_withdraw", "paw_lick", "paw_shake")


@dataclass(frozen=True)
class ClassMap:
    """Raw codes, their names, and the class that each is merged into.

    Parameters
    ----------
    rows : tuple of (int, str, str)
        ``(code, name, class)``, one per code. Codes are 0 to 32767. Classes are ordered by their
        first row.
    mirrors : tuple of (str, str)
        ``(class, mirrored class)``: what a class becomes when the picture is mirrored. A class
        that is not listed stays the same. Stored in order of class, without unchanged classes.
    responses : tuple of str
        Classes that count as responses to a stimulus, such as those of pain. Reports show them
        first, and people check them first. Stored in order of class.

    Raises
    ------
    ConfigError
        A code occurs twice, a name means two things, fewer than two or more than 127
        classes, or a name is empty, a number or holds a character that CSV files cannot
        carry safely; mirroring twice does not lead back to the same class; or a response is not
        a class.

    Examples
    --------
    >>> DEFAULT_CLASS_MAP.class_names
    ('rest', 'paw_withdraw', 'paw_lick', 'paw_shake', 'walk', 'active')
    >>> DEFAULT_CLASS_MAP.code_of("flinch"), DEFAULT_CLASS_MAP.class_index_of(5)
    (5, 1)
    >>> rows = (0, "rest", "rest"), (1, "left", "left"), (2, "right", "right")
    >>> ClassMap(rows, (("left", "right"), ("right", "left"))).mirror_indices
    (0, 2, 1)
    """

    rows: tuple[tuple[int, str, str], ...]
    mirrors: tuple[tuple[str, str], ...] = ()
    responses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [*self._find_problems(), *self._find_mirror_problems()]
        problems += [
            f"response {name!r} is not a class"
            for name in dict.fromkeys(self.responses)
            if name not in self.class_names
        ]
        if problems:
            raise ConfigError("class map: " + "; ".join(problems))
        # a canonical form, so that equal maps compare equal
        swapped = {pair for pair in self.mirrors if pair[0] != pair[1]}
        mirrors = sorted(swapped, key=lambda pair: self.class_names.index(pair[0]))
        object.__setattr__(self, "mirrors", tuple(mirrors))
        responses = tuple(name for name in self.class_names if name in self.responses)
        object.__setattr__(self, "responses", responses)

    def _find_problems(self) -> list[str]:
        problems = []
        seen_codes: set[int] = set()
        seen_names: dict[str, int] = {}
        for code, name, class_name in self.rows:
            if not 0 <= code <= MAX_CODE:
                problems.append(f"code {code} is outside 0-{MAX_CODE}")
            if code in seen_codes:
                problems.append(f"code {code} occurs twice")
            seen_codes.add(code)
            if name in seen_names:
                problems.append(f"name {name!r} is used by codes {seen_names[name]} and {code}")
            seen_names[name] = code
            problems += [
                f"{text!r} cannot be a name (empty, a number, 'nan' or 'unlabelled', longer than "
                "60 characters, or with one of = + - @ at its start or a comma, quote, slash or "
                "control character in it)"
                for text in dict.fromkeys((name, class_name))
                if not _is_valid_name(text)
            ]
        class_of = {name: class_name for _, name, class_name in self.rows}
        problems += [
            f"{class_name!r} is a class but also names a code of class {class_of[class_name]!r}"
            for class_name in self.class_names
            if class_of.get(class_name, class_name) != class_name
        ]
        spellings: dict[str, list[str]] = defaultdict(list)
        for name in self.class_names:
            spellings[_folded(name)].append(name)
        problems += [
            f"the classes {' and '.join(map(repr, names))} differ only in case, spaces, _ or -; "
            "spell them alike"
            for names in spellings.values()
            if len(names) > 1
        ]
        if not 2 <= len(self.class_names) <= MAX_CLASSES:
            problems.append(f"found {len(self.class_names)} classes, expected 2-{MAX_CLASSES}")
        return problems

    def _find_mirror_problems(self) -> list[str]:
        pairs = dict.fromkeys(self.mirrors)
        problems = [
            f"{name!r} occurs in a mirror pair but is not a class"
            for name in dict.fromkeys(name for pair in pairs for name in pair)
            if name not in self.class_names
        ]
        mirrors_of: dict[str, list[str]] = {}
        for class_name, mirror in pairs:
            mirrors_of.setdefault(class_name, []).append(mirror)
        for class_name, mirrors in mirrors_of.items():
            if len(mirrors) > 1:
                found = " and ".join(map(repr, mirrors))
                problems.append(f"class {class_name!r} has the mirrors {found}")
        if not problems:
            for class_name, (mirror,) in mirrors_of.items():
                (back,) = mirrors_of.get(mirror, [mirror])
                if back != class_name:
                    problems.append(
                        f"the mirror of {class_name!r} is {mirror!r}, but that of {mirror!r} is "
                        f"{back!r}"
                    )
        return problems

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in order of class index."""
        return tuple(dict.fromkeys(class_name for _, _, class_name in self.rows))

    @cached_property
    def mirror_indices(self) -> tuple[int, ...]:
        """The index of each class in a mirrored picture, in order of class index."""
        mirror_of = dict(self.mirrors)
        names = self.class_names
        return tuple(names.index(mirror_of.get(name, name)) for name in names)

    @cached_property
    def codes(self) -> tuple[int, ...]:
        """All codes, in order of the rows."""
        return tuple(code for code, _, _ in self.rows)

    @cached_property
    def _code_of_name(self) -> dict[str, int]:
        # a class name stands for its first code, so that predictions read back; the name of
        # a code takes precedence (both mean the same class, see _find_problems)
        of_class = {class_name: code for code, _, class_name in reversed(self.rows)}
        return of_class | {name: code for code, name, _ in self.rows}

    def code_of(self, name: str, *, forgiving: bool = False) -> int:
        """Return the code of a raw name, or the first code of a class name (KeyError if none).

        With `forgiving`, accept what `find_code` accepts.
        """
        code = self.find_code(name) if forgiving else self._code_of_name[name]
        if code is None:
            raise KeyError(name)
        return code

    @cached_property
    def _codes_of_folded(self) -> dict[str, set[int]]:
        codes: dict[str, set[int]] = defaultdict(set)
        for name, code in self._code_of_name.items():
            codes[_folded(name)].add(code)
        return dict(codes)

    def has_name(self, name: str) -> bool:
        """Return True if a code or a class has exactly this name."""
        return name in self._code_of_name

    def name_of(self, code: int) -> str:
        """Return the raw name of a code (KeyError if it is not in the map)."""
        return {row_code: name for row_code, name, _ in self.rows}[code]

    def find_code(self, written: str) -> int | None:
        """Return the code that a name stands for, None if none or several fit.

        Differences in capitals, spaces, ``_`` and ``-`` are ignored if only one code fits.

        Examples
        --------
        >>> DEFAULT_CLASS_MAP.find_code("Paw Lick"), DEFAULT_CLASS_MAP.find_code("lick")
        (2, None)
        """
        code = self._code_of_name.get(written)
        if code is None:
            codes = self._codes_of_folded.get(_folded(written), set())
            code = next(iter(codes)) if len(codes) == 1 else None
        return code

    @cached_property
    def _modified(self) -> dict[str, dict[str, tuple[str, str]]]:
        """Modifier and name of each row with a modifier, by folded behaviour and modifier."""
        rows: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        for _, name, _ in self.rows:
            if match := re.fullmatch(r"(.+) \(([^()]+)\)", name):
                rows[_folded(match[1])][_folded(match[2])] = match[2], name
        return dict(rows)

    def modifiers_of(self, behaviour: str) -> dict[str, str]:
        """Return the modifiers of a behaviour that have rows of their own, by row name."""
        rows = self._modified.get(_folded(behaviour), {})
        return {name: modifier for modifier, name in rows.values()}

    def find_modified(self, behaviour: str, modifier: str) -> str | None:
        """Return the name of the row of a behaviour with a modifier, None if there is none."""
        return self._modified.get(_folded(behaviour), {}).get(_folded(modifier), (None, None))[1]

    def has_row(self, behaviour: str) -> bool:
        """Return True if a behaviour has a row without a modifier."""
        return any(_folded(name) == _folded(behaviour) for _, name, _ in self.rows)

    def code_of_class(self, class_name: str) -> int:
        """Return the first code that is merged into a class (KeyError if none)."""
        for code, _, row_class in self.rows:
            if row_class == class_name:
                return code
        raise KeyError(class_name)

    def class_index_of(self, code: int) -> int:
        """Return the class index of `code` (KeyError if it is not in the map)."""
        for row_code, _, class_name in self.rows:
            if row_code == code:
                return self.class_names.index(class_name)
        raise KeyError(code)

    def labels_alike(self, other: ClassMap) -> bool:
        """Return True if both maps make the same labels; they may differ in the responses."""
        return (self.rows, self.mirrors) == (other.rows, other.mirrors)

    def merge(self, codes: np.ndarray) -> np.ndarray:
        """Map raw codes to class indices.

        Parameters
        ----------
        codes : integer array, any shape
            Codes of this map, or -1 for unlabelled.

        Returns
        -------
        int8 array of the same shape
            Class index, or -1 where `codes` is -1.

        Raises
        ------
        ValueError
            A code is not in the map.
        """
        # one extra slot at the end, which index -1 (unlabelled) selects
        table = np.full(max(self.codes) + 2, -2, np.int8)
        table[-1] = UNLABELLED
        for code in self.codes:
            table[code] = self.class_index_of(code)
        codes = np.asarray(codes)
        if codes.size and (codes.min() < -1 or codes.max() > max(self.codes)):
            raise ValueError(f"codes outside the class map: {codes.min()} to {codes.max()}")
        labels = table[codes]
        if (labels == -2).any():
            raise ValueError(f"codes not in the class map: {np.unique(codes[labels == -2])}")
        return labels

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain types, for JSON and checkpoints."""
        data: dict[str, Any] = {"rows": [list(row) for row in self.rows]}
        if self.mirrors:
            data["mirrors"] = [list(pair) for pair in self.mirrors]
        return data | {"responses": list(self.responses)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClassMap:
        """Rebuild a map from `to_dict`; raise ConfigError if the data is not a map.

        In maps of older files, which do not state the responses, these are paw_withdraw, paw_lick
        and paw_shake, as far as they are classes.
        """
        try:
            rows = tuple((code, name, merged) for code, name, merged in data["rows"])
            if any(tuple(map(type, row)) != (int, str, str) for row in rows):
                raise TypeError
            mirrors = tuple((name, mirror) for name, mirror in data.get("mirrors", ()))
            if any(tuple(map(type, pair)) != (str, str) for pair in mirrors):
                raise TypeError
            responses = data.get("responses")
            if responses is None:
                responses = unstated_responses([merged for _, _, merged in rows])
            if isinstance(responses, str) or any(type(name) is not str for name in responses):
                raise TypeError
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                "class map: found other data, expected (code, name, class) rows, (class, mirror) "
                "pairs and names of responses"
            ) from None
        return cls(rows, mirrors, tuple(responses))

    @classmethod
    def from_csv(cls, path: Path | str) -> ClassMap:
        """Read a class map file.

        Parameters
        ----------
        path : Path or str
            CSV or workbook with the columns ``code,name,class``, one row per code. An optional
            column ``mirror`` names the class in a mirrored picture (empty: the same class). An
            optional column ``modifier`` limits a row to events with this modifier; its name becomes
            ``name (modifier)``. An optional column ``response`` says "yes" for classes that count
            as responses, such as those of pain. The columns may have any order.

        Raises
        ------
        ConfigError
            The file cannot be read or the map is invalid.
        """
        path = Path(path)
        try:
            table = read_named_rows(
                path, [*_COLUMNS, *_OPTIONAL_COLUMNS], needed=_COLUMNS, has_others=False
            )
        except InputError as error:
            raise ConfigError(str(error.problems[0])) from None
        if table.problems:
            raise ConfigError("; ".join(map(str, table.problems)))
        rows, mirrors = [], []
        first_modified: dict[tuple[str, str], int] = {}
        is_response: dict[str, tuple[bool, int]] = {}
        for line, named in table.rows:
            if not re.fullmatch(r"[0-9]{1,5}", named["code"]):
                raise ConfigError(
                    f"{path.name}:{line}: found {','.join(named.values())!r}, expected "
                    f"{','.join(table.columns)} with a whole number as code; fix the row"
                )
            if re.search("[()]", modifier := named.get("modifier", "")):
                raise ConfigError(
                    f"{path.name}:{line}: the modifier {modifier!r} has brackets, which BORIS does "
                    "not allow; fix the row"
                )
            key = _folded(named["name"]), _folded(modifier)
            if modifier and first_modified.setdefault(key, line) < line:
                raise ConfigError(
                    f"{path.name}:{line}: {named['name']!r} with {modifier!r} is also in line "
                    f"{first_modified[key]}; remove one row"
                )
            name = f"{named['name']} ({modifier})" if modifier else named["name"]
            rows.append((int(named["code"]), name, named["class"]))
            if "mirror" in named:
                mirrors.append((named["class"], named["mirror"] or named["class"]))
            answer = _parse_answer(path, line, named.get("response", ""))
            before, first = is_response.setdefault(named["class"], (answer, line))
            if before != answer:
                raise ConfigError(
                    f"{path.name}:{line}: class {named['class']!r} is "
                    f"{'a' if answer else 'no'} response here, but {'a' if before else 'no'} "
                    f"response in line {first}; write the same in both rows"
                )
        responses = tuple(name for name, (answer, _) in is_response.items() if answer)
        try:
            return cls(tuple(rows), tuple(mirrors), responses)
        except ConfigError as error:
            raise ConfigError(f"{path.name}: {error}") from None


def _parse_answer(path: Path, line: int, cell: str) -> bool:
    """Return what the column response says."""
    answer = _ANSWERS.get(cell.lower())
    if answer is None:
        raise ConfigError(
            f"{path.name}:{line}: found the response {cell!r}, expected yes or no; fix the row"
        )
    return answer


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def _is_valid_name(name: str) -> bool:
    """Return True if `name` survives CSV files, spreadsheets, file names and figures."""
    return (
        0 < len(name) <= 60
        and name == name.strip()
        and name[0] not in "=+-@'"
        and not re.fullmatch(r"[0-9.,]+", name)
        and name.lower() not in {"nan", "none", "null", "na", "n/a", "inf", "unlabelled"}
        and not any(c in ',;"/\\' or unicodedata.category(c).startswith("C") for c in name)
    )


DEFAULT_CLASS_MAP = ClassMap(
    (
        (0, "rest", "rest"),
        (1, "paw_withdraw", "paw_withdraw"),
        (2, "paw_lick", "paw_lick"),
        (3, "paw_guard", "paw_withdraw"),
        (4, "paw_shake", "paw_shake"),
        (5, "flinch", "paw_withdraw"),
        (6, "walk", "walk"),
        (7, "active", "active"),
    ),
    responses=("paw_withdraw", "paw_lick", "paw_shake"),
)

NO_RESPONSES = (
    "no class is marked as a response; mark the classes that count in the column response of the "
    "class map"
)


def unstated_responses(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the responses among classes for which nothing states them, as in older files."""
    return tuple(name for name in dict.fromkeys(class_names) if name in _UNSTATED_RESPONSES)


def responses_or_all(class_names: Sequence[str], responses: Collection[str]) -> list[str]:
    """Return the responses, which reports show first, or all classes if there are none."""
    return [name for name in class_names if name in responses] or list(class_names)


def agree_on(maps: Iterable[ClassMap]) -> ClassMap | None:
    """Return the one class map of several files, None if they differ.

    If they differ only in what counts as a response, the map marks none, with a warning.
    """
    found = set(maps)
    if len(found) > 1:
        marked = sorted({", ".join(item.responses) or "none" for item in found})
        found = {replace(item, responses=()) for item in found}
        if len(found) == 1:
            log.warning(
                "the files mark different classes as responses (%s), so none counts as marked",
                " or ".join(marked),
            )
    return found.pop() if len(found) == 1 else None

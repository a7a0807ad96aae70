"""Tables of an assay in the layouts that statistics programs read."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mpar.assay.windows import MEASURES

_UNIT_NAMES = {
    "Seconds": "time_s",
    "Percent": "time_percent",
    "Bouts": "bouts_n",
    "Bouts_per_min": "bouts_per_min",
    "Mean_bout_s": "mean_bout_s",
    "Median_bout_s": "median_bout_s",
    "Latency_s": "latency_s",
}
_MAX_NAME = 64  # characters of a variable in SPSS
_PRISM_FRONT = ("Window", "Class", "Row")
MANY = "; "  # between different values of the recordings of one animal


def average_animals(by_animal: pd.DataFrame) -> pd.DataFrame:
    """Average the recordings of each animal; windows that are not complete have no values.

    Parameters
    ----------
    by_animal : DataFrame
        From `mpar.assay.windows.summarize_animals`.

    Returns
    -------
    DataFrame
        One row per group, animal, window and class, with the columns ``Group``, ``Animal``,
        ``Window``, ``Class`` and those of `MEASURES`.
    """
    keys = ["Group", "Animal", "Window", "Class"]
    values = by_animal[[*keys, *MEASURES]].copy()
    values[list(MEASURES)] = values[list(MEASURES)].astype(float)
    values.loc[by_animal["Complete"] != "yes", list(MEASURES)] = np.nan
    return values.groupby(keys, sort=False)[list(MEASURES)].mean().reset_index()


def widen(by_animal: pd.DataFrame, metadata_columns: list[str]) -> pd.DataFrame:
    """Return one row per animal and group, with a column for each class, measure and window.

    Parameters
    ----------
    by_animal : DataFrame
        From `mpar.assay.windows.summarize_animals`.
    metadata_columns : list of str
        Columns of the metadata to put in front. If the recordings of a row differ in one, its cell
        holds all values.

    Returns
    -------
    DataFrame
        ``Animal``, ``Group``, the metadata, ``Recordings`` (how many were averaged),
        ``Same_animal``, and columns such as ``paw_lick_time_s_whole``: class, measure with its
        unit, window. Names are valid in SPSS, R and Prism: letters, digits and underscores, at most
        64 characters. Windows that were not filmed to 99 % are empty. An animal in which no bout
        begins has no latency; ``paw_lick_latency_censored_whole`` is then "yes".
    """
    rows = ["Animal", "Group"]
    recordings = by_animal.drop_duplicates("Recording").groupby(rows, sort=False)
    front = pd.DataFrame(
        {
            column: recordings[column].agg(lambda cells: MANY.join(dict.fromkeys(map(str, cells))))
            for column in (*metadata_columns, "Same_animal")
        }
    )
    front.insert(len(metadata_columns), "Recordings", recordings.size())
    means = average_animals(by_animal).set_index(rows)
    censored = by_animal.groupby([*rows, "Window", "Class"], sort=False)["Latency_censored"].agg(
        lambda cells: "yes" if (cells == "yes").any() else "no" if (cells == "no").any() else ""
    )
    columns: dict[str, pd.Series] = {}
    taken = {*map(str.lower, rows), *map(str.lower, front.columns)}
    for (window, name), part in means.groupby(["Window", "Class"], sort=False):
        for measure in MEASURES:
            columns[_column(taken, name, _UNIT_NAMES[measure], window)] = part[measure]
        is_censored = censored.xs((window, name), level=("Window", "Class"))
        columns[_column(taken, name, "latency_censored", window)] = is_censored.where(
            part["Bouts"].notna().reindex(is_censored.index), ""
        )
    return pd.concat([front, pd.DataFrame(columns)], axis=1).reset_index()


def _column(taken: set[str], *parts: str) -> str:
    """Return a name of letters, digits and underscores that is not taken, and take it."""
    words = [re.sub(r"[^0-9A-Za-z]+", "_", part).strip("_") or "x" for part in parts]
    name = "_".join(words)
    name = (name if name[0].isalpha() else f"x_{name}")[:_MAX_NAME]
    number, unique = 1, name
    while unique.lower() in taken:
        number += 1
        unique = f"{name[: _MAX_NAME - len(str(number)) - 1]}_{number}"
    taken.add(unique.lower())
    return unique


def group_columns(by_animal: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield, for each measure, a table with a column for each group, as Prism pastes them.

    Parameters
    ----------
    by_animal : DataFrame
        From `mpar.assay.windows.summarize_animals`.

    Yields
    ------
    name : str
        The measure with its unit, such as ``time_s``.
    table : DataFrame
        ``Window``, ``Class``, ``Row`` and a column per group. If every animal is in every group,
        ``Row`` is the animal, and each of its values stands in its row, empty if there is none.
        Otherwise row i of a block holds the i-th animal of each group, in the order of the
        metadata, without those that have no value; animals in one row have nothing in common.
    """
    means = average_animals(by_animal)
    groups = list(dict.fromkeys(means["Group"]))
    animals = list(dict.fromkeys(means["Animal"]))
    is_paired = len(groups) > 1 and all(
        {*means.loc[means["Group"] == group, "Animal"]} == {*animals} for group in groups
    )
    for measure in MEASURES:
        blocks = []
        for (window, name), part in means.groupby(["Window", "Class"], sort=False):
            values = {}
            for group in groups:
                mine = part[part["Group"] == group].set_index("Animal")[measure]
                values[group] = (mine.reindex(animals) if is_paired else mine.dropna()).to_numpy()
            num_rows = max(map(len, values.values()))
            block = pd.DataFrame(
                {
                    f"group {g}" if g in _PRISM_FRONT else g: pd.Series(x, range(len(x)), float)
                    for g, x in values.items()
                },
                index=range(num_rows),
            )
            front = (window, name, animals if is_paired else range(1, num_rows + 1))
            for place, (title, cells) in enumerate(zip(_PRISM_FRONT, front, strict=True)):
                block.insert(place, title, cells)
            blocks.append(block)
        yield _UNIT_NAMES[measure], pd.concat(blocks, ignore_index=True)

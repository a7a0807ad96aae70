"""Tables as text of fixed width."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERS = re.compile(r"(n/a|[-+.,%\d\[\] ])*")


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    r"""Align the columns of a table, with a rule below its header.

    Parameters
    ----------
    rows : sequence of sequence of str
        The header first. Columns of numbers are aligned right, others and the first one left. An
        empty row becomes a rule.

    Examples
    --------
    >>> print(*text_table([["class", "F1"], ["rest", "0.500"], [], ["mean", "n/a"]]), sep="\n")
    class     F1
    ------------
    rest   0.500
    ------------
    mean     n/a
    """
    columns = list(zip(*filter(None, rows), strict=True))
    widths = [max(map(len, column)) for column in columns]
    signs = [
        ">" if i and all(map(_NUMBERS.fullmatch, column[1:])) else "<"
        for i, column in enumerate(columns)
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    head, *others = (
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)
        ).rstrip()
        if row
        else rule
        for row in rows
    )
    return [head, rule, *others]

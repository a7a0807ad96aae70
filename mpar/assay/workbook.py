"""Tables as sheets of one Excel workbook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mpar.errors import ConfigError
from mpar.system.files import atomic_path

MAX_ROWS, MAX_COLUMNS = 1_048_576, 16_384


def check_workbook() -> None:
    """Raise ConfigError if openpyxl, which writes workbooks, is not installed."""
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise ConfigError(
            "xlsx: needs the package openpyxl; run pip install openpyxl, or drop --xlsx"
        ) from None


def write_workbook(path: Path | str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables to an .xlsx file, by name of the sheet, atomically; text is never a formula.

    ConfigError if a table has more rows or columns than a sheet holds.
    """
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    for name, table in tables.items():
        if len(table) >= MAX_ROWS or len(table.columns) > MAX_COLUMNS:
            raise ConfigError(
                f"xlsx: the table {name} has {len(table):,} rows and {len(table.columns):,} "
                f"columns, a sheet holds {MAX_ROWS - 1:,} and {MAX_COLUMNS:,}; use the CSV files, "
                "or fewer windows and bins"
            )
    book = Workbook(write_only=True)

    def cell(sheet: Any, value: Any) -> Any:
        if value is None or value != value:  # NaN
            return None
        if not isinstance(value, str):
            return value.item() if hasattr(value, "item") else value
        made = WriteOnlyCell(
            sheet, value=ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", value)
        )
        made.data_type = "s"
        return made

    for name, table in tables.items():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        sheet.append([cell(sheet, str(column)) for column in table.columns])
        for row in table.itertuples(index=False, name=None):
            sheet.append([cell(sheet, value) for value in row])
    with atomic_path(path) as temporary:
        book.save(temporary)

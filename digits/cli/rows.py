"""A result as a row of the output, and the row as a line of a format."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from digits.calls import Reading
from digits.results import Prediction

COLUMNS = ("file", "digit", "confidence", "uncertain", "digits", "version")
SPLIT_COLUMNS = ("file", "numbers", "confidence", "uncertain", "version")
"""Columns of CSV, Parquet and tables; JSON Lines have the probabilities and boxes as well."""


PREDICTION_FIELDS = tuple(item.name for item in fields(Prediction))


def columns(*, split: bool) -> Sequence[str]:
    """The columns of the rows."""
    return SPLIT_COLUMNS if split else COLUMNS


def build_row(file: str, reading: Reading) -> dict[str, Any]:
    """The row of a picture; it has more than the columns."""
    if isinstance(reading, Prediction):
        return {"file": file} | {name: getattr(reading, name) for name in PREDICTION_FIELDS}
    return {
        "file": file,
        "numbers": " ".join(number.text for number in reading),
        "confidence": min((number.confidence for number in reading), default=None),
        "uncertain": any(number.uncertain for number in reading),
        "version": reading[0].version if reading else None,
        "lines": [{"text": number.text, "digits": [asdict(digit) for digit in number.digits]} for number in reading],
    }


def format_csv(cells: Sequence[object]) -> str:
    """One line of CSV (RFC 4180, with the line end of Unix)."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_csv_cell(cell) for cell in cells])
    return line.getvalue()


def _csv_cell(cell: object) -> object:
    return str(cell).lower() if isinstance(cell, bool) else cell


def format_json(row: Mapping[str, Any]) -> str:
    """One line of JSON Lines, without the keys that have no value."""
    return json.dumps({key: value for key, value in row.items() if value is not None}) + "\n"


def format_table(cells: Sequence[object], width: int) -> str:
    """One line of a table whose first column has this width."""
    first, *others = [_table_cell(cell) for cell in cells]
    return f"{first:<{width}}  {'  '.join(f'{cell:<10}' for cell in others)}".rstrip() + "\n"


def _table_cell(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.4f}" if isinstance(cell, float) else "" if cell is None else str(cell)

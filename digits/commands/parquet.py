"""Records as a Parquet file. PyArrow is imported when it is needed: it is large, and an extra of the distribution."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from digits.commands.records import Record


def check_installed() -> None:
    """Check that PyArrow can be imported.

    Raises:
        UsageError: it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise click.UsageError("Parquet needs PyArrow; install it with: pip install 'digits[parquet]', or choose csv")


def read(path: Path, *, split: bool) -> list[Record]:
    """Return the records of a file.

    Raises:
        UsageError: it is no Parquet file of records, or one with another `split`.
    """
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    try:
        table = parquet.read_table(path)
    except pa.ArrowException:
        table = None
    if table is None or table.column_names != _schema(split=split).names:
        raise click.UsageError(
            f"{path} is no Parquet file of digits, or with another --split; remove it, or leave --resume out"
        )
    records: list[Record] = table.to_pylist()
    return records


def write(path: Path, records: Sequence[Record], *, split: bool) -> None:
    """Write records to a file; it appears by one rename. What is no UTF-8 in the name of a picture is replaced."""
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    temporary = path.with_name(f".{path.name}.tmp")
    rows = [record | {"file": os.fsencode(record["file"]).decode(errors="replace")} for record in records]
    parquet.write_table(pa.Table.from_pylist(rows, schema=_schema(split=split)), temporary)
    os.replace(temporary, path)  # noqa: PTH105 - Path.replace is the same


def _schema(*, split: bool) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    confidence = [("confidence", pa.float32()), ("uncertain", pa.bool_())]
    version = ("version", pa.string())
    if not split:
        return pa.schema([("file", pa.string()), ("digit", pa.uint8()), *confidence, ("digits", pa.uint16()), version])
    digit = pa.struct([("digit", pa.uint8()), *confidence, ("line", pa.uint16()), ("box", pa.list_(pa.int32(), 4))])
    numbers, digits = ("numbers", pa.list_(pa.string())), ("digits", pa.list_(digit))
    return pa.schema([("file", pa.string()), numbers, *confidence, version, digits])

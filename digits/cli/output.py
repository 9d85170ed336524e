"""The output of `digits predict`. A file has complete lines only, and all that was predicted, even after SIGKILL.

The lines of a file are appended as the results come in, unbuffered. A resumed run removes an incomplete last line and
sends no file that has a line. Parquet cannot be appended to: its rows are collected in a file of JSON Lines beside it.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TextIO

import click

from digits.cli.rows import columns, format_csv, format_json, format_table

FORMATS = ("table", "csv", "jsonl", "parquet")
NO_PYARROW = "Parquet needs pyarrow; run: pip install 'digits[parquet]', or choose --format csv or jsonl"


NAMES = "surrogateescape"
"""How names of files that are not UTF-8 are written (PEP 383)."""


def to_text(name: str) -> str:
    """The name of a file in UTF-8; bytes that are none are escaped. Parquet has no other text."""
    return name.encode(errors="backslashreplace").decode()


def partial_path(path: Path) -> Path:
    """Where the rows of a Parquet file are collected."""
    return path.with_name(path.name + ".partial.jsonl")


class Output(Protocol):
    """Where rows go."""

    known: frozenset[str]
    """Files that have a row from an earlier run."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows; what is written survives the end of the process."""

    def finish(self) -> None:
        """Complete the output."""


class LineOutput:
    """Lines of CSV or JSON Lines in a file, appended by one system call for each write."""

    def __init__(self, path: Path, kind: str, *, split: bool, resume: bool) -> None:
        """Open the file.

        Raises:
            click.UsageError: the file is of another run, or cannot be written.
        """
        self._columns, self._kind = columns(split=split), kind
        head = format_csv(self._columns) if kind == "csv" else ""
        self.known: frozenset[str] = frozenset()
        try:
            written = _complete_rows(path, kind) if resume and path.exists() else ""
            if written:
                self.known = _known_files(written, path, head)
            self._file = path.open("r+b" if written else "wb", buffering=0)
            self._file.truncate(len(written.encode(errors=NAMES)))
            self._file.seek(0, os.SEEK_END)
        except OSError as error:
            raise click.UsageError(f"{path} cannot be written: {error.strerror}") from None
        if not written:
            self._append(head)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._append("".join(map(self._format, rows)))

    def finish(self) -> None:
        """Close the file."""
        self._file.close()

    def _format(self, row: Mapping[str, Any]) -> str:
        return format_csv([row[name] for name in self._columns]) if self._kind == "csv" else format_json(row)

    def _append(self, text: str) -> None:
        left = memoryview(text.encode(errors=NAMES))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            error.filename = self._file.name  # as in errors of open()
            raise


def _complete_rows(path: Path, kind: str) -> str:
    """Read a file without an incomplete last row; a line end within quotes ends no row of CSV."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    while kind == "csv" and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end].decode(errors=NAMES)


def _known_files(text: str, path: Path, head: str) -> frozenset[str]:
    if head:
        if not text.startswith(head):
            raise click.UsageError(f"{path} has not the columns {head.strip()}; resume with the options of its run")
        return frozenset(row["file"] for row in csv.DictReader(io.StringIO(text)))
    try:
        return frozenset(json.loads(line)["file"] for line in text.split("\n")[:-1])
    except (ValueError, TypeError, KeyError):
        raise click.UsageError(f"{path} has a line that is no JSON object of an earlier run") from None


class ParquetOutput:
    """A Parquet file, written at the end from JSON Lines beside it."""

    def __init__(self, path: Path, *, split: bool, resume: bool) -> None:
        """Open the file of JSON Lines.

        Raises:
            click.UsageError: pyarrow is missing, or the file cannot be written.
        """
        self._arrow, self._path, self._columns = _import_pyarrow(), path, columns(split=split)
        self._journal = partial_path(path)
        self._earlier = self._read_earlier() if resume and path.exists() else []
        self._lines = LineOutput(self._journal, "jsonl", split=split, resume=resume)
        self.known = self._lines.known | {row["file"] for row in self._earlier}

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._lines.write(rows)

    def finish(self) -> None:
        """Write the Parquet file, and remove the other one."""
        self._lines.finish()
        rows = [json.loads(line) for line in self._journal.read_text().split("\n")[:-1]]
        table = {name: [row.get(name) for row in (*self._earlier, *rows)] for name in self._columns}
        new = self._path.with_name(self._path.name + ".new")
        self._arrow.write_table(_to_arrow(table), new)
        new.replace(self._path)
        self._journal.unlink()

    def _read_earlier(self) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self._arrow.read_table(self._path).to_pylist()
        except ValueError:  # pyarrow.ArrowInvalid is one
            raise click.UsageError(f"{self._path} is no Parquet file; remove it, or choose another name") from None
        if rows and rows[0].keys() != set(self._columns):
            raise click.UsageError(f"{self._path} has not the columns {','.join(self._columns)}")
        return rows


def _import_pyarrow() -> ModuleType:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - optional
    except ImportError:
        raise click.UsageError(NO_PYARROW) from None
    module: ModuleType = parquet
    return module


def _to_arrow(table: dict[str, list[Any]]) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - optional

    table = table | {"file": [to_text(name) for name in table["file"]]}
    types = {"digit": pa.int8(), "digits": pa.int32(), "confidence": pa.float64(), "uncertain": pa.bool_()}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in table.items()})


class StreamOutput:
    """Lines on standard output, in the order of the files."""

    known: frozenset[str] = frozenset()

    def __init__(self, stream: TextIO, kind: str, files: Sequence[str], *, split: bool) -> None:
        self._stream, self._kind, self._columns = stream, kind, columns(split=split)
        self._width = min(60, max(map(len, ("file", *files))))
        if kind != "jsonl":
            self._stream.write(self._format_cells(self._columns))

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Print rows."""
        self._stream.write("".join(map(self._format, rows)))
        self._stream.flush()

    def finish(self) -> None:
        """Print what is buffered."""
        self._stream.flush()

    def _format(self, row: Mapping[str, Any]) -> str:
        if self._kind == "jsonl":
            return format_json(row)
        return self._format_cells([row[name] for name in self._columns])

    def _format_cells(self, cells: Sequence[object]) -> str:
        return format_csv(cells) if self._kind == "csv" else format_table(cells, self._width)

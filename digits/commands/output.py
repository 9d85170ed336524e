"""Files of results that survive a kill: each record is written when it exists, and --resume goes on behind the last.

A record is one write to the end of the file, so that a process that is killed leaves complete records, and at most a
part of one at the end. Records come in the order of the responses; `finish` sorts them as the arguments were, and
replaces the file by one rename.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import click

from digits.commands import parquet
from digits.commands.records import LineFormat, Record, format_table, json_lines_format

Entry = TypeVar("Entry")


class Output(Protocol):
    """Where records go."""

    @property
    def done(self) -> frozenset[str]:
        """The files that have a record from an earlier run."""

    def add(self, record: Record) -> None:
        """Write a record."""

    def finish(self, order: Sequence[str]) -> None:
        """Sort the records by their files as in `order`, and close the file."""


class LineOutput:
    """A file of lines; see `Output`."""

    def __init__(self, path: Path, line_format: LineFormat, *, resume: bool) -> None:
        """Open the file, and cut off an incomplete record at its end.

        Raises:
            UsageError: `resume`, and the file is of another format.
            OSError: the file cannot be read or written.
        """
        self._path, self._format = path, line_format
        lines = self._read(path.read_bytes() if resume and path.exists() else b"")
        self._lines = dict(lines)
        self.done = frozenset(self._lines)
        # Not Path.open: records must be one call of write.
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self._file, len(line_format.header) + sum(len(line) for _, line in lines) if lines else 0)
        if not lines:
            self._write(line_format.header)

    def add(self, record: Record) -> None:
        """Append a record, in one write."""
        line = self._lines[record["file"]] = self._format.encode(record)
        self._write(line)

    def finish(self, order: Sequence[str]) -> None:
        """Sort the records, and close the file."""
        os.close(self._file)
        lines = _sort_by_file(self._lines, order)
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        temporary.write_bytes(self._format.header + b"".join(lines))
        temporary.replace(self._path)

    def _read(self, content: bytes) -> list[tuple[str, bytes]]:
        header = self._format.header
        if not content.startswith(header) and not header.startswith(content):
            raise self._other_format()
        try:
            return [(self._format.read_name(line), line) for line in self._format.split(content)]
        except (ValueError, LookupError, TypeError):
            raise self._other_format() from None

    def _write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._file, content) :]

    def _other_format(self) -> click.UsageError:
        return click.UsageError(
            f"{self._path} was written with another format or another --split; remove it, or leave --resume out"
        )


class ParquetOutput:
    """A Parquet file, which is made of JSON Lines beside it when all records exist; see `Output`."""

    def __init__(self, path: Path, *, split: bool, resume: bool) -> None:
        """Open the file of lines, `path` with `.partial` at its end.

        Raises:
            UsageError: PyArrow is not installed, or `resume`, and the file is of another format.
            OSError: a file cannot be read or written.
        """
        parquet.check_installed()
        self._path, self._split = path, split
        self._partial = path.with_name(f"{path.name}.partial")
        self._records = (
            {record["file"]: record for record in parquet.read(path, split=split)} if resume and path.exists() else {}
        )
        self._lines = LineOutput(self._partial, json_lines_format(), resume=resume)
        self.done = self._lines.done | self._records.keys()

    def add(self, record: Record) -> None:
        """Append a record to the file of lines, in one write."""
        self._lines.add(record)

    def finish(self, order: Sequence[str]) -> None:
        """Write the Parquet file, and remove the file of lines."""
        self._lines.finish(order)
        found = map(json.loads, self._partial.read_bytes().splitlines())
        records = self._records | {record["file"]: record for record in found}
        parquet.write(self._path, _sort_by_file(records, order), split=self._split)
        self._partial.unlink()


class StreamOutput:
    """Standard output, line by line; see `Output`."""

    done: frozenset[str] = frozenset()

    def __init__(self, line_format: LineFormat) -> None:
        """Write the header."""
        self._format, self._file = line_format, sys.stdout.buffer
        self._file.write(line_format.header)

    def add(self, record: Record) -> None:
        """Write a record."""
        self._file.write(self._format.encode(record))
        self._file.flush()

    def finish(self, order: Sequence[str]) -> None:
        """Do nothing: the records came in their order."""


class TableOutput:
    """A table on standard output, when all records exist: its columns are as wide as their widest value."""

    done: frozenset[str] = frozenset()

    def __init__(self) -> None:
        """Begin an empty table."""
        self._records: list[Record] = []

    def add(self, record: Record) -> None:
        """Keep a record."""
        self._records.append(record)

    def finish(self, order: Sequence[str]) -> None:  # noqa: ARG002 - the records came in their order
        """Print the table."""
        if self._records:
            click.echo(format_table(self._records))


def _sort_by_file(entries: Mapping[str, Entry], order: Sequence[str]) -> list[Entry]:
    position = {name: number for number, name in enumerate(order)}
    return [entries[name] for name in sorted(entries, key=lambda name: position.get(name, -1))]

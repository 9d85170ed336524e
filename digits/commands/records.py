"""Results as records of a file: one record a picture, as a line of CSV or of JSON (https://jsonlines.org)."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from digits.exchanges import Result
from digits.results import SplitPrediction

Record: TypeAlias = dict[str, Any]
ENCODING = "utf-8"
ERRORS = "surrogateescape"  # names of files are bytes, and need not be UTF-8

COLUMNS = ("file", "digit", "confidence", "uncertain", "digits", "version")
SPLIT_COLUMNS = ("file", "numbers", "confidence", "uncertain", "version")


def make_record(name: str, result: Result) -> Record:
    """Return the record of a picture: its file first, then the result; digits with their boxes are the last."""
    if isinstance(result, SplitPrediction):
        digits = [asdict(digit) for digit in result.digits]
        for digit in digits:
            del digit["probabilities"]
        found = {"numbers": list(result.numbers), "confidence": result.confidence, "uncertain": result.uncertain}
        return {"file": name} | found | {"version": result.version, "digits": digits}
    return {
        "file": name,
        "digit": result.digit,
        "confidence": result.confidence,
        "uncertain": result.uncertain,
        "digits": result.digits or 1,
        "version": result.version,
    }


@dataclass(frozen=True)
class LineFormat:
    """A format with one line a record.

    Attributes:
        header: the first line of a file, with its newline; may be empty.
        encode: returns the line of a record, with its newline.
        read_name: returns the file that a line is the record of; raises ValueError or LookupError for any other line.
        quotes: a newline between two quotes does not end the record.
    """

    header: bytes
    encode: Callable[[Record], bytes]
    read_name: Callable[[bytes], str]
    quotes: bool

    def split(self, content: bytes) -> Iterator[bytes]:
        """Yield the complete records of a file's content, without its header; a part of one at the end is left out."""
        record = b""
        for line in content[len(self.header) :].splitlines(keepends=True):
            record += line
            if record.endswith(b"\n") and not (self.quotes and record.count(b'"') % 2):
                yield record
                record = b""


def csv_format(*, split: bool) -> LineFormat:
    """Return CSV (RFC 4180, but lines end with LF); several numbers of one picture are separated by spaces."""
    columns = SPLIT_COLUMNS if split else COLUMNS
    return LineFormat(
        ",".join(columns).encode() + b"\n",
        lambda record: _encode_csv([_csv_value(record[column]) for column in columns]),
        lambda line: next(csv.reader(io.StringIO(line.decode(ENCODING, ERRORS), newline=""), strict=True))[0],
        quotes=True,
    )


def json_lines_format() -> LineFormat:
    """Return JSON Lines."""
    return LineFormat(
        b"",
        lambda record: json.dumps(record).encode() + b"\n",
        lambda line: str(json.loads(line)["file"]),
        quotes=False,
    )


def _encode_csv(values: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode(ENCODING, ERRORS)


def _csv_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(value) if isinstance(value, list) else str(value)


def format_table(records: Sequence[Record]) -> str:
    """Return records as a table for people: aligned columns, per cent, and a note where one is needed."""
    rows = [("file", "digit" if "digit" in records[0] else "numbers", "confidence", "")]
    rows += [_table_row(record) for record in records]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{file:<{widths[0]}}  {found:<{widths[1]}}  {confidence:>{widths[2]}}  {note}".rstrip()
        for file, found, confidence, note in rows
    )


def _table_row(record: Record) -> tuple[str, str, str, str]:
    found = str(record["digit"]) if "digit" in record else " ".join(record["numbers"])
    several = f"{record['digits']} digits, see --split" if "digit" in record and record["digits"] > 1 else ""
    notes = (several or "uncertain") if record["uncertain"] else several
    printable = "".join(letter if letter.isprintable() else "?" for letter in record["file"])
    return printable, found, f"{math.floor(record['confidence'] * 1000) / 10:.1f} %", notes

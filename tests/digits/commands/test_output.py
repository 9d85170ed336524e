"""Files of results: what a killed process leaves is kept, and what is incomplete at the end is cut off."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet
import pytest

from digits.commands.output import LineOutput, Output, ParquetOutput
from digits.commands.records import csv_format, format_table, json_lines_format, make_record
from digits.results import Prediction, SplitDigit, SplitPrediction

NAMES = ["a.png", 'b,"1"\n.png', "c\udcff.png", "d.png"]
SPLIT = SplitPrediction(
    ("12", "9"),
    tuple(SplitDigit(digit, 0.5, digit == 9, (), line, (1, 2, 3, 4)) for digit, line in [(1, 1), (2, 1), (9, 2)]),
    "5",
)


def record(name: str, digit: int = 7) -> dict[str, Any]:
    return make_record(name, Prediction(digit, 0.75, uncertain=False, probabilities=(), version="5"))


def csv_output(path: Path, *, resume: bool) -> Output:
    return LineOutput(path, csv_format(split=False), resume=resume)


def json_output(path: Path, *, resume: bool) -> Output:
    return LineOutput(path, json_lines_format(), resume=resume)


FORMATS = pytest.mark.parametrize("make", [csv_output, json_output])
Make = Callable[..., Output]


def test_csv_has_a_header_and_one_line_a_picture(tmp_path: Path) -> None:
    output = csv_output(tmp_path / "a.csv", resume=False)
    output.add(record("a.png"))
    output.add(record('b,"1".png'))
    assert (tmp_path / "a.csv").read_text() == (
        'file,digit,confidence,uncertain,digits,version\na.png,7,0.75,false,1,5\n"b,""1"".png",7,0.75,false,1,5\n'
    )
    output.finish([])


def test_several_numbers_of_a_picture_are_one_record(tmp_path: Path) -> None:
    output = LineOutput(tmp_path / "a.csv", csv_format(split=True), resume=False)
    output.add(make_record("a.png", SPLIT))
    output.finish([])
    assert (tmp_path / "a.csv").read_text() == ("file,numbers,confidence,uncertain,version\na.png,12 9,0.5,true,5\n")
    lines = json_output(tmp_path / "a.jsonl", resume=False)
    lines.add(make_record("a.png", SPLIT))
    document = json.loads((tmp_path / "a.jsonl").read_text())
    assert document["numbers"] == ["12", "9"]
    assert document["digits"][2] == {"digit": 9, "confidence": 0.5, "uncertain": True, "line": 2, "box": [1, 2, 3, 4]}
    lines.finish([])


@FORMATS
def test_a_record_is_in_the_file_before_the_next(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    output = make(path, resume=False)
    sizes = [path.stat().st_size]
    for name in NAMES:
        output.add(record(name))
        sizes.append(path.stat().st_size)
    assert sorted(set(sizes)) == sizes
    output.finish([])


@FORMATS
def test_resuming_behind_any_byte_loses_no_complete_record(tmp_path: Path, make: Make) -> None:
    """A killed process leaves the file at any length: the records before are kept, a part of one is cut off."""
    path = tmp_path / "out"
    output = make(path, resume=False)
    ends = [path.stat().st_size]
    for name in NAMES:
        output.add(record(name))
        ends.append(path.stat().st_size)
    content = path.read_bytes()
    output.finish([])
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        again = make(path, resume=True)
        complete = sum(end <= length for end in ends[1:])
        assert again.done == frozenset(NAMES[:complete]), length
        for name in NAMES[complete:]:
            again.add(record(name))
        again.finish(NAMES)
        assert path.read_bytes() == content, length


@FORMATS
def test_the_end_sorts_the_records_as_the_arguments(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    output = make(path, resume=False)
    for name in reversed(NAMES):
        output.add(record(name))
    output.finish(NAMES)
    assert make(path, resume=True).done == frozenset(NAMES)
    places = [
        path.read_bytes().index(f"{name[0]}".encode() + rest)
        for name, rest in zip("abcd", (b".", b",", b"", b"."), strict=True)
    ]
    assert places[0] < places[1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@FORMATS
def test_without_resume_the_file_is_replaced(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "out"
    path.write_text("something else\n")
    assert make(path, resume=False).done == frozenset()
    assert "something" not in path.read_text()


@FORMATS
@pytest.mark.parametrize("content", ["something else\n", "file,numbers\n1,2\n", "[1]\n", "{}\n"])
def test_a_file_of_another_format_is_not_resumed(tmp_path: Path, make: Make, content: str) -> None:
    path = tmp_path / "out"
    path.write_text(content)
    with pytest.raises(click.UsageError, match="another format"):
        make(path, resume=True)
    assert path.read_text() == content


@pytest.mark.parametrize("split", [False, True])
def test_parquet_is_made_at_the_end_and_can_be_resumed(tmp_path: Path, *, split: bool) -> None:
    path = tmp_path / "out.parquet"
    records = [make_record(name, SPLIT) if split else record(name) for name in ("a", "b", "c")]
    first = ParquetOutput(path, split=split, resume=True)
    first.add(records[2])
    second = ParquetOutput(path, split=split, resume=True)  # the first was killed
    assert second.done == {"c"}
    second.add(records[1])
    second.finish(["a", "b", "c"])
    third = ParquetOutput(path, split=split, resume=True)
    assert third.done == {"b", "c"}
    third.add(records[0])
    third.finish(["a", "b", "c"])
    assert pyarrow.parquet.read_table(path).to_pylist() == json.loads(json.dumps(records))
    assert [file.name for file in tmp_path.iterdir()] == ["out.parquet"]


def test_another_file_is_no_parquet_to_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("abc")
    with pytest.raises(click.UsageError, match="no Parquet file of digits"):
        ParquetOutput(path, split=False, resume=True)
    path.unlink()
    ParquetOutput(path, split=True, resume=True).finish([])
    with pytest.raises(click.UsageError, match="another --split"):
        ParquetOutput(path, split=False, resume=True)


def test_parquet_replaces_what_is_no_text_in_a_name(tmp_path: Path) -> None:
    output = ParquetOutput(tmp_path / "a.parquet", split=False, resume=False)
    output.add(record("c\udcff.png"))
    output.finish([])
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet")["file"].to_pylist() == ["c\ufffd.png"]


def test_without_pyarrow_one_sentence_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("digits.commands.parquet.find_spec", lambda _: None)
    with pytest.raises(click.UsageError, match=r"pip install 'digits\[parquet\]'"):
        ParquetOutput(tmp_path / "a.parquet", split=False, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_aligned_and_notes_what_needs_a_look() -> None:
    rows = [
        record("a.png"),
        record("longer.png") | {"uncertain": True},
        record("\x1b[31m.png") | {"uncertain": True, "digits": 4},
    ]
    assert format_table(rows).splitlines() == [
        "file        digit  confidence",
        "a.png       7          75.0 %",
        "longer.png  7          75.0 %  uncertain",
        "?[31m.png   7          75.0 %  4 digits, see --split",
    ]
    assert format_table([make_record("a", SPLIT)]).splitlines()[1] == "a     12 9         50.0 %  uncertain"

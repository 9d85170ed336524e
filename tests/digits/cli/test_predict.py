"""`digits predict`: formats, resuming, failures, exit codes."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet

from digits.cli.files import find_pictures
from tests.digits.cli.conftest import Run
from tests.digits.scripted_service import PREDICTION, PROBABILITIES, ScriptedService, pictures_of, png, reject

HEAD = "file,digit,confidence,uncertain,digits,version\n"


def test_csv_is_in_the_order_of_the_files(run: Run, pictures: Path) -> None:
    code, out, err = run("predict", pictures)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, err) == (0, "")
    assert [Path(row["file"]).relative_to(pictures) for row in rows] == [
        *(Path(f"{number:02}.png") for number in range(38)),
        Path("more/a.JPG"),
        Path("more/b.png"),
    ]
    assert [int(row["digit"]) for row in rows[:38]] == [number % 10 for number in range(38)]
    assert rows[0] | {"file": ""} == {
        "file": "",
        "digit": "0",
        "confidence": "0.91",
        "uncertain": "false",
        "digits": "",
        "version": "7",
    }


def test_a_file_that_is_named_twice_is_sent_once(run: Run, pictures: Path, service: ScriptedService) -> None:
    assert run("predict", pictures, pictures / "00.png", "--connections", 1)[0] == 0
    assert [len(pictures_of(request)) for request in service.requests] == [16, 16, 8]


def test_json_lines_have_the_probabilities(run: Run, pictures: Path) -> None:
    code, out, _ = run("predict", "-f", "jsonl", pictures / "03.png")
    assert code == 0
    assert json.loads(out) == {
        "file": str(pictures / "03.png"),
        "digit": 3,
        "confidence": 0.91,
        "uncertain": False,
        "probabilities": PROBABILITIES,
        "version": "7",
    }


def test_a_table_is_for_people(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("three.png").write_bytes(png(3))
    _, out, _ = run("predict", "--format", "table", "three.png")
    assert out == (
        "file       digit       confidence  uncertain   digits      version\n"
        "three.png  3           0.9100      no                      7\n"
    )


def test_standard_input_is_a_picture(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(png(6))))
    assert run("predict", "-") == (0, HEAD + "-,6,0.91,false,,7\n", "")


def test_split_has_one_row_a_picture(run: Run, tmp_path: Path, service: ScriptedService) -> None:
    rows = [
        PREDICTION | {"digit": digit, "picture": picture, "line": line, "box": [0, 0, 1, 1]}
        for digit, picture, line in ((4, 1, 1), (2, 1, 1), (7, 1, 2), (5, 2, 1))
    ]
    service.script = [httpx.Response(200, json={"version": "7", "predictions": rows})]
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(1))
    code, out, _ = run("predict", "--split", tmp_path)
    assert code == 0
    assert [row["numbers"] for row in csv.DictReader(io.StringIO(out))] == ["42 7", "5"]
    assert service.requests[0].url.params["split"] == "digits"


def test_pictures_that_fail_are_listed_and_the_exit_code_is_1(run: Run, tmp_path: Path) -> None:
    for name, digit in (("a.png", 1), ("b.png", "x"), ("c.png", 3)):
        (tmp_path / name).write_bytes(png(digit))
    (tmp_path / "d.png").symlink_to("nothing")
    (tmp_path / "e.npy").write_bytes(b"\x93NUMPY")
    code, out, err = run("predict", tmp_path, tmp_path / "e.npy")
    assert code == 1
    assert [Path(row["file"]).name for row in csv.DictReader(io.StringIO(out))] == ["a.png", "c.png"]
    assert err.splitlines() == [
        f"digits: {tmp_path}/b.png: there is no digit",
        f"digits: {tmp_path}/d.png: No such file or directory",
        f"digits: {tmp_path}/e.npy: the file is an array of images, not a picture; load it, and call predict_array",
        "digits: 3 of 5 pictures failed",
    ]


def test_a_lost_service_ends_the_run_with_one_line(run: Run, pictures: Path, service: ScriptedService) -> None:
    output = pictures.parent / "out.csv"
    service.script = [reject(401, "the key is wrong")]
    code, _, err = run("predict", pictures, "--connections", 1, "-o", output)
    assert code == 1
    assert err.startswith("digits: the key is wrong; ")
    assert err.endswith(" of 40 pictures have no result; continue with --resume\n")
    assert err.count("\n") == 1
    assert run("predict", pictures, "-o", output, "--resume")[0] == 0
    assert len(output.read_text().splitlines()) == 41


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [0, 7])
def test_a_resumed_run_sends_only_what_has_no_complete_line(
    run: Run, pictures: Path, service: ScriptedService, suffix: str, cut: int
) -> None:
    output = pictures.parent / f"out.{suffix}"
    assert run("predict", pictures, "-o", output, "--connections", 1) == (0, "", "")
    complete = output.read_bytes()
    lines = complete.splitlines(keepends=True)
    kept = len(lines) - 10
    output.write_bytes(b"".join(lines[:kept]) + lines[kept][:cut])
    service.requests.clear()
    assert run("predict", pictures, "-o", output, "--connections", 1, "--resume") == (0, "", "")
    assert output.read_bytes() == complete
    assert sum(len(pictures_of(request)) for request in service.requests) == 10
    assert run("predict", pictures, "-o", output, "--resume")[0] == 0
    assert output.read_bytes() == complete


@pytest.mark.parametrize("name", ['a "quoted", b.png', "two\nlines.png", "no utf-8 \udcff.png", "line\u2028.png"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_any_name_can_be_resumed(run: Run, tmp_path: Path, service: ScriptedService, suffix: str, name: str) -> None:
    (tmp_path / name).write_bytes(png(3))
    output = tmp_path / f"out.{suffix}"
    assert run("predict", tmp_path, "-o", output)[0] == 0
    service.requests.clear()
    assert run("predict", tmp_path, "-o", output, "--resume")[0] == 0
    assert service.requests == []


def test_a_cut_within_quotes_removes_the_whole_row(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_bytes(png(3))
    output = tmp_path / "out.csv"
    assert run("predict", tmp_path, "-o", output)[0] == 0
    complete = output.read_bytes()
    output.write_bytes(complete[: complete.rindex(b"lines")])
    assert run("predict", tmp_path, "-o", output, "--resume")[0] == 0
    assert output.read_bytes() == complete


def test_parquet_has_types_and_can_be_resumed(run: Run, pictures: Path, service: ScriptedService) -> None:
    output = pictures.parent / "out.parquet"
    service.script = [reject(401)]
    assert run("predict", pictures, "-o", output, "--connections", 1)[0] == 1
    assert run("predict", pictures, "-o", output, "--resume")[0] == 0
    table = parquet.read_table(output)
    assert table.column_names == ["file", "digit", "confidence", "uncertain", "digits", "version"]
    assert table.schema.field("digit").type == pa.int8()
    assert sorted(table["file"].to_pylist()) == sorted(
        {str(path) for path in [*pictures.glob("[0-9]*"), *pictures.glob("more/*")]}
    )
    assert {path.name for path in output.parent.iterdir()} == {"out.parquet", "pictures"}


def test_parquet_without_pyarrow_is_one_line(run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = run("predict", pictures, "-o", pictures / "out.parquet")
    assert code == 2
    assert err == "digits: Parquet needs pyarrow; run: pip install 'digits[parquet]', or choose --format csv or jsonl\n"
    assert not list(pictures.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.png"], "there is no file nothing.png"),
        (["."], "no pictures are given; of a directory these are taken: .avif, .bmp,"),
        ([], "Missing argument 'PICTURES...'."),
        (["--resume", "x.txt"], "--resume needs --output FILE"),
        (["--overwrite", "x.txt"], "--overwrite needs --output FILE"),
        (["-f", "parquet", "x.txt"], "--format parquet needs --output FILE"),
        (["-f", "table", "-o", "new.csv", "x.txt"], "a table is for the terminal"),
        (["-o", "new.xls", "x.txt"], "the name new.xls ends with no format"),
        (["-o", "x.txt", "-f", "csv", "x.txt"], "x.txt exists; add --resume to continue, or --overwrite"),
        (["-o", "x.txt", "-f", "csv", "x.txt", "--resume"], "x.txt has not the columns file,digit"),
        (["-o", "x.txt", "-f", "jsonl", "x.txt", "--resume"], "x.txt has a line that is no JSON object"),
        (["-o", "no/x.csv", "x.txt"], "no/x.csv cannot be written: No such file or directory"),
        (["--resume", "--overwrite", "-o", "new.csv", "x.txt"], "contradict each other"),
        (["--url", "localhost:8000", "x.txt"], "the address is 'localhost:8000'"),
        (["--connections", "0", "x.txt"], "Invalid value for '--connections': 0 is not in the range"),
        (["--colour", "x.txt"], "No such option"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("a line\n")
    code, out, err = run("predict", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("digits: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_address_and_key_are_variables(
    run: Run, pictures: Path, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIGITS_URL", "http://variable.test")
    monkeypatch.setenv("DIGITS_KEY", "from the environment")
    run("predict", pictures / "01.png")
    run("predict", pictures / "01.png", "--url", "http://option.test", "--key", "given")
    run("--url", "http://group.test", "--key", "before", "predict", pictures / "01.png")
    run("--url", "http://group.test", "predict", pictures / "01.png", "--url", "http://option.test")
    hosts = ["variable.test", "option.test", "group.test", "option.test"]
    assert [request.url.host for request in service.requests] == hosts
    keys = [request.headers["Authorization"].removeprefix("Bearer ") for request in service.requests]
    assert keys == ["from the environment", "given", "before", "from the environment"]


def test_a_file_that_cannot_be_read_fails_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "b.png").symlink_to("b.png")
    code, out, err = run("predict", tmp_path)
    assert code == 1
    assert out.count("\n") == 2
    assert os.strerror(40) in err


def test_a_directory_has_no_pipes_and_devices(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "lost.png").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.png")
    assert find_pictures([str(tmp_path)]) == [f"{tmp_path}/a.png", f"{tmp_path}/lost.png"]
    assert find_pictures([f"{tmp_path}/pipe.png"]) == [f"{tmp_path}/pipe.png"]


def test_a_damaged_parquet_file_is_not_resumed(run: Run, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    output.write_text("no Parquet")
    expected = f"digits: {output} is no Parquet file; remove it, or choose another name\n"
    assert run("predict", pictures, "-o", output, "--resume") == (2, "", expected)
    assert not (tmp_path / "out.parquet.partial.jsonl").exists()


def test_an_empty_argument_is_not_the_working_directory(run: Run) -> None:
    assert run("predict", "") == (2, "", "digits: the name of a file is empty\n")


def test_an_address_with_a_query_is_rejected(run: Run, pictures: Path) -> None:
    code, out, err = run("predict", pictures, "--url", "http://127.0.0.1:8000/?a=b")
    assert (code, out) == (2, "")
    assert "expected: http://HOST:PORT" in err

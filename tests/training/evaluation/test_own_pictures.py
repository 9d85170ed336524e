"""Pictures with labels: which files are found, what the service says of each, the tables and the contact sheets."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from training.cli import main
from training.errors import DataError
from training.evaluation.contact_sheet import draw_sheet
from training.evaluation.labelled_pictures import LabelledPicture, find_pictures, identify_kind
from training.evaluation.own_pictures import Counts, PictureResult
from training.evaluation.picture_report import make_tables
from training.evaluation.service_client import Prediction

Capture = pytest.CaptureFixture[str]


class FakeService(BaseHTTPRequestHandler):
    """Reads 7 on every picture, 20 and 24 with split=digits; is busy at first, and refuses a text file."""

    protocol_version = "HTTP/1.1"
    version = "4"
    key = ""
    busy = 2

    def do_GET(self) -> None:
        self.respond(200, {"version": self.version})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if type(self).busy:
            type(self).busy -= 1
            self.respond(429, {"error": "busy"})
        elif body.startswith(b"text"):
            self.respond(415, {"error": "the picture is none of PNG"})
        else:
            prediction = {"digit": 7, "confidence": 0.9, "uncertain": False}
            numbers = {"numbers": ["20", "24"]} if "split=digits" in self.path else {}
            self.respond(200, {"version": self.version, "predictions": [prediction], **numbers})

    def respond(self, status: int, document: object) -> None:
        if self.key and self.headers["Authorization"] != f"Bearer {self.key}":
            status, document = 401, {"error": "wrong key"}
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    """The address of a fake service of version 4."""
    FakeService.version, FakeService.key, FakeService.busy = "4", "", 2
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeService) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def save(path: Path, side: int = 28) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (side, side)).save(path, "PNG")
    return path


def test_label_folders_may_lie_at_any_depth_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("7/b.png", "7/a.png", "7/ann/c.png", "rows/20_24/d.png", "cats/e.png", "7/.f.png", ".g/7/h.png"):
        save(tmp_path / name)
    save(tmp_path / "7" / "Thumbs.db")
    (tmp_path / "7" / "loop").symlink_to(tmp_path / "7")
    found = [(picture.name, picture.label, picture.folder, picture.is_row) for picture in find_pictures(tmp_path)]
    assert found == [
        ("7/a.png", ("7",), "7", False),
        ("7/ann/c.png", ("7",), "7", False),
        ("7/b.png", ("7",), "7", False),
        ("rows/20_24/d.png", ("20", "24"), "rows/20_24", True),
    ]


@pytest.mark.parametrize(("names", "reason"), [([], "no file in a folder"), (["7/2/a.png"], "7/2 lies in 7")])
def test_a_directory_without_clear_labels_is_an_error(names: list[str], reason: str, tmp_path: Path) -> None:
    for name in names:
        save(tmp_path / name)
    with pytest.raises(DataError, match=reason):
        find_pictures(tmp_path)


def test_kinds_are_told_by_content(tmp_path: Path) -> None:
    assert identify_kind(save(tmp_path / "a.jpg").read_bytes()) == "PNG, 28x28"
    assert identify_kind(save(tmp_path / "a.jpg", 29).read_bytes()) == "PNG"
    assert identify_kind(b"text") == identify_kind(b"") == "other"


def result(label: str, numbers: tuple[str, ...], *, certain: bool = True, path: Path = Path("x")) -> PictureResult:
    picture = LabelledPicture(path, tuple(label.split("_")), label, f"{label}/x.png")
    prediction = Prediction(numbers, 0.875, certain) if numbers else None
    return PictureResult(picture, "PNG", prediction, "" if numbers else "no digit")


def test_tables_count_singles_and_rows_apart() -> None:
    results = [
        result("7", ("7",)),
        result("7", ("7",), certain=False),
        result("7", ("1",)),
        result("7", ()),
        result("20_24", ("20", "24")),
        result("20_24", ("2024",), certain=False),
    ]
    assert Counts.of_results(results) == (6, 3, 3, 2, 1)
    tables = make_tables(results)
    assert tables[""][1:] == [
        ["single digits", "4", "2", "50.0%", "50.0%", "50.0%", "1"],
        ["rows", "2", "1", "50.0%", "50.0%", "100.0%", "0"],
    ]
    assert tables["Confusion of single digits"][1] == ["7", ".", "1", *".....2", ".", ".", "1"]
    assert tables["Wrong"][1:] == [
        ["7/x.png", "7", "1", "87.5%", "certain"],
        ["20_24/x.png", "20_24", "2024", "87.5%", ""],
    ]
    assert tables["Refused"][1:] == [["7/x.png", "7", "no digit"]]


def test_a_sheet_has_a_tile_for_each_result_even_of_files_that_cannot_be_shown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    paths = [save(tmp_path / "a.png"), tmp_path / "fifo", tmp_path / "missing"]
    sheet = draw_sheet([result("7" * 60, ("1",), path=path) for path in paths] * 2)
    assert sheet.size == (5 * 280 + 8, 2 * 212 + 8)
    assert len(set(sheet.crop((8, 8, 280, 212)).get_flattened_data())) > 2


def test_a_busy_service_is_asked_again_and_a_bad_file_does_not_spoil_the_rest(
    service: str, tmp_path: Path, capsys: Capture
) -> None:
    save(tmp_path / "pictures/7/a.png")
    save(tmp_path / "pictures/20_24/b.png")
    (tmp_path / "pictures/7/notes.txt").write_text("text")
    os.mkfifo(tmp_path / "pictures/7/fifo")
    arguments = ["--pictures", str(tmp_path / "pictures"), "--url", service, "--out", str(tmp_path / "out")]
    assert main(["evaluate", "4", *arguments]) == 0
    printed = capsys.readouterr().out
    assert FakeService.busy == 0
    assert (tmp_path / "out/report.txt").read_text() in printed
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert document["single digits"] == {"pictures": 3, "right": 1, "certain": 1, "right_and_certain": 1, "refused": 2}
    assert document["rows"]["right"] == 1
    assert [found.get("refusal") for found in document["results"]] == [
        None,
        None,
        "Not a regular file",
        "the picture is none of PNG",
    ]
    assert (tmp_path / "out/wrong-1.png").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--url", "{url}"], "--pictures"),
        (["--pictures", "{tmp}/none"], "{tmp}/none"),
        (["--pictures", "{tmp}", "--key", "k"], "--url"),
        (["--pictures", "{tmp}", "--url", "localhost"], "http://127.0.0.1:8000"),
        (["--pictures", "{tmp}", "--url", "http://127.0.0.1:1"], "cannot be reached"),
        (["--pictures", "{tmp}", "--url", "{url}"], "version 5, not with version 4"),
        (["--pictures", "{tmp}", "--url", "{url}", "--key", "wrong"], "DIGITS_API_KEY"),
    ],
)
def test_an_error_is_one_line(options: list[str], named: str, service: str, tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "7/a.png")
    FakeService.version, FakeService.key = "5", "right" if "wrong" in options else ""
    paths = {"tmp": str(tmp_path), "url": service}
    assert main(["evaluate", "4", *(option.format(**paths) for option in options)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert named.format(**paths) in line
    assert captured.out == ""

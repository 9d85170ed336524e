"""`digits predict` against a service that is played: output, exit codes, and one line for each error."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from digits import Client, Retry
from digits.commands.group import main
from tests.digits.replies import form_parts, predicted, refused, transport_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in a directory of four pictures, and return its exit code and output."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"a.png": b"1", "b.png": b"2", "c.png": b"blank", "d.png": b"4"}.items():
        Path(name).write_bytes(content)

    def run(*arguments: str, transport: httpx.MockTransport | None = None) -> tuple[int, str, str]:
        def connect(url: str, key: str | None, timeout: float, connections: int = 1) -> Client:
            retry = Retry(first_seconds=0.0)
            chosen = transport or transport_of(digit_of)
            return Client(url, key, timeout=timeout, connections=connections, retry=retry, transport=chosen)

        monkeypatch.setattr("digits.commands.predict.connect", connect)
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        written = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, written.out, written.err

    return run


def digit_of(picture: bytes) -> list[int] | int:
    return 422 if picture == b"blank" else [int(picture)]


def test_prints_csv_in_the_order_of_the_arguments(run: Run) -> None:
    code, out, err = run("predict", "d.png", "a.png", "b.png")
    assert (code, err) == (0, "")
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["file", "digit"],
        ["d.png", "4"],
        ["a.png", "1"],
        ["b.png", "2"],
    ]


def test_failed_pictures_are_listed_and_the_exit_code_is_1(run: Run) -> None:
    code, out, err = run("predict", ".", "--format", "jsonl")
    assert code == 1
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["a.png", "b.png", "d.png"]
    assert err == "digits: c.png: the sentence\ndigits: 1 of 4 pictures failed\n"


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet"])
def test_resume_sends_only_what_has_no_result(run: Run, name: str) -> None:
    sent: list[bytes] = []

    def reply(request: httpx.Request) -> httpx.Response:
        parts = form_parts(request)
        sent.extend(parts)
        return predicted(*map(int, parts))

    played = httpx.MockTransport(reply)
    assert run("predict", "a.png", "d.png", "-o", name, transport=played)[0] == 0
    first = Path(name).read_bytes()
    sent.clear()
    Path("c.png").write_bytes(b"3")
    assert run("predict", ".", "-o", name, "--resume", transport=played)[0] == 0
    assert sorted(sent) == [b"2", b"3"]
    second = Path(name).read_bytes()
    sent.clear()
    assert run("predict", ".", "-o", name, "--resume", transport=played)[0] == 0
    assert sent == []
    assert (Path(name).read_bytes(), first != second) == (second, True)
    assert run("predict", ".", "-o", name, transport=played)[0] == 0
    assert len(sent) == 4
    assert Path(name).read_bytes() == second


def test_what_came_before_an_error_of_all_pictures_is_kept(run: Run) -> None:
    replies = iter([predicted(*[1] * 16), refused(401, "the key is wrong")])
    for number in range(17):
        Path(f"e{number:02}.png").write_bytes(b"1")
    played = httpx.MockTransport(lambda _: next(replies))
    names = [f"e{number:02}.png" for number in range(17)]
    code, _, err = run("predict", *names, "-o", "out.csv", "--connections", "1", transport=played)
    assert (code, err) == (1, "digits: the key is wrong\n")
    assert len(Path("out.csv").read_text().splitlines()) == 17


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict"], "Missing argument"),
        (["predict", "nothing.png"], "there is no file or folder nothing.png"),
        (["predict", "a.png", "--resume"], "--resume needs --output FILE"),
        (["predict", "a.png", "--format", "parquet"], "--format parquet needs --output FILE"),
        (["predict", "a.png", "--format", "table", "-o", "x"], "a table is for the terminal"),
        (["predict", "a.png", "-o", "/dev/null"], "/dev/null is no file"),
        (["predict", "a.png", "-o", "nowhere/x.csv"], "nowhere/x.csv cannot be written: No such file or directory"),
        (["predict", "a.png", "--url", "here"], "the address is 'here'"),
        (["predict", "a.png", "--normalise", "perhaps"], "'perhaps' is not one of"),
        (["predict", "a.png", "--connections", "0"], "0 is not in the range"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(run: Run, arguments: Sequence[str], sentence: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("digits: ")
    assert sentence in err


def test_address_and_key_come_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def reply(request: httpx.Request) -> httpx.Response:
        seen.append((str(request.url.copy_with(query=None)), request.headers["authorization"]))
        return predicted(1)

    monkeypatch.setenv("DIGITS_URL", "http://elsewhere:81/digits/")
    monkeypatch.setenv("DIGITS_KEY", "secret")
    run("predict", "a.png", transport=httpx.MockTransport(reply))
    run("predict", "a.png", "--url", "http://b", "--key", "other", transport=httpx.MockTransport(reply))
    assert seen == [
        ("http://elsewhere:81/digits/predict", "Bearer secret"),
        ("http://b/predict", "Bearer other"),
    ]


def test_a_full_disk_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("digits.commands.output.LineOutput.add", fail)
    code, _, err = run("predict", "a.png", "-o", "out.csv")
    assert (code, err) == (1, "digits: [Errno 28] No space left on device\n")

"""Runs the command `digits` in this process, with a scripted service."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from digits.cli.main import main
from tests.digits.scripted_service import ScriptedService, png

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ScriptedService:
    """What responds instead of the network."""
    scripted = ScriptedService()
    original = httpx.Client

    def connect(**options: object) -> httpx.Client:
        return original(**options | {"transport": scripted})  # type: ignore[arg-type]

    monkeypatch.setattr("digits.client.httpx.Client", connect)
    monkeypatch.delenv("DIGITS_URL", raising=False)
    monkeypatch.delenv("DIGITS_KEY", raising=False)
    return scripted


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], service: ScriptedService) -> Run:  # noqa: ARG001 - replaces the network
    """Run `digits` with arguments; return the exit code, standard output and standard error."""

    def run_main(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_main


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A directory of 40 pictures, with others that are not taken."""
    directory = tmp_path / "pictures"
    (directory / "more").mkdir(parents=True)
    (directory / ".hidden").mkdir()
    for number in range(38):
        (directory / f"{number:02}.png").write_bytes(png(number % 10))
    for name in ("more/a.JPG", "more/b.png", ".c.png", ".hidden/d.png", "e.txt"):
        (directory / name).write_bytes(png(7))
    return directory

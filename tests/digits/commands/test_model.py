"""`digits health` and `digits model` against a service that is played."""

import json
from typing import Any

import httpx
import pytest

from digits import Client
from digits.commands.group import main
from tests.digits.replies import refused

MANIFEST = {
    "created_at": "2026-11-25T22:38:18Z",
    "recipe": {"name": "best"},
    "parameters": 185300,
    "metrics": {"test_accuracy": 0.9952, "test_cross_entropy": 0.0166, "ece": 0.0018},
}
TABLE = """\
version          5
runtime          litert
created          2026-11-25T22:38:18Z
recipe           best
parameters       185,300
test accuracy    99.52 %
cross-entropy    0.0166
calibration      0.0018 expected error
"""


def run(
    command: str, reply: httpx.Response, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[Any, str]:
    transport = httpx.MockTransport(lambda _: reply)
    monkeypatch.setattr("digits.commands.model.connect", lambda url, *_: Client(url, transport=transport))
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    return ended.value.code, capsys.readouterr().out


def test_health_is_an_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("health", httpx.Response(200, json={}), monkeypatch, capsys) == (0, "ready\n")
    found = run("health", refused(503, "no model is loaded"), monkeypatch, capsys)
    assert found == (1, "not ready: no model is loaded\n")


def test_model_is_a_short_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"version": "5", "runtime": "litert", "manifest": MANIFEST}
    assert run("model", httpx.Response(200, json=document), monkeypatch, capsys) == (0, TABLE)
    _, out = run("model --json", httpx.Response(200, json=document), monkeypatch, capsys)
    assert json.loads(out) == document


def test_a_manifest_may_lack_what_the_table_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"version": "5", "runtime": "tensorflow", "manifest": {}}
    out = run("model", httpx.Response(200, json=document), monkeypatch, capsys)[1]
    assert out.split() == ["version", "5", "runtime", "tensorflow"]

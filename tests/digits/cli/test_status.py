"""`digits health` and `digits model`."""

import json

import httpx

from tests.digits.cli.conftest import Run
from tests.digits.scripted_service import ScriptedService, reject

MANIFEST = {"parameters": 185300, "metrics": {"test_accuracy": 0.9952}, "recipe": {"name": "best"}, "thresholds": None}


def test_health_has_an_exit_code(run: Run, service: ScriptedService) -> None:
    service.script = [
        httpx.Response(200, json={"status": "ready", "version": "7"}),
        reject(503, "no model is loaded"),
        httpx.Response(200, text="another server"),
    ]
    assert run("health") == (0, "ready, version 7\n", "")
    assert run("health") == (1, "not ready: no model is loaded\n", "")
    code, out, err = run("health")
    assert (code, out) == (1, "")
    assert err.startswith("digits: http://127.0.0.1:8000/readyz responds with 200 and no JSON object")


def test_health_of_no_service_is_one_line(run: Run, service: ScriptedService) -> None:
    service.script = [httpx.ConnectError]
    assert run("health") == (1, "", "digits: no connection to http://127.0.0.1:8000: it broke\n")


def test_model_is_a_table_or_json(run: Run, service: ScriptedService) -> None:
    document = {"version": "7", "runtime": "litert", "manifest": MANIFEST}
    service.script = [httpx.Response(200, json=document), httpx.Response(200, json=document)]
    assert run("model")[1].splitlines() == [
        "version        7",
        "runtime        litert",
        "recipe         best",
        "parameters     185,300",
        "test accuracy  99.52%",
    ]
    assert json.loads(run("model", "--json")[1]) == document


def test_a_model_without_a_manifest_has_a_version(run: Run, service: ScriptedService) -> None:
    service.script = [httpx.Response(200, json={"version": "7", "runtime": "tensorflow", "manifest": None})]
    assert run("model") == (0, "version  7\nruntime  tensorflow\n", "")

"""The whole stack, really run: built, started, asked, retrained, scaled, restarted, killed and brought back, removed.

The tests are one story, told in their order on one stack, which `make stack-test` prints with its times. They are
skipped, with the reason, where no docker engine answers or the images to build from are not here.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import httpx
import numpy as np
import pytest

from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.test_dashboard import queries
from tests.system.polling_client import PollingClient
from tests.system.stack import Stack, docker, skip_where_it_cannot_run, stacked
from training.data.mnist import Dataset

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
BULK = "application/octet-stream"
LARGEST_IMAGE = 320_000_000
READY = 'count(digits_model_info and on (instance) up{job="digits"} == 1)'


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, mnist: Dataset) -> Iterator[Stack]:
    assert mnist
    skip_where_it_cannot_run()
    running = None
    try:
        with stacked((REPOSITORY / "data" / "mnist").resolve()) as running:
            yield running
        running.note("down")
    finally:
        if running:
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print("", "the stack:", *running.transcript, sep="\n  ")


@pytest.fixture
def clients(stack: Stack, mnist: Dataset) -> Iterator[list[PollingClient]]:
    """Five clients that ask all through a test: four with a picture, one with 2 MB of images. None may be let down."""
    images = mnist.test.images[:2700]
    callers = [PollingClient(stack.address, SEVEN, "image/png") for _ in range(4)]
    callers.append(PollingClient(stack.address, images.tobytes(), BULK, pictures=len(images), pause=0.25))
    with ExitStack() as running:
        for caller in callers:
            running.enter_context(caller)
        yield callers
    asked = sum(caller.requests for caller in callers)
    wrong = [wrong for caller in callers for wrong in caller.failures]
    stack.note(f"{asked} requests meanwhile, {len(wrong)} of them failed")
    assert wrong == []
    assert all(caller.requests > 10 for caller in callers)


def predict(stack: Stack, body: bytes = SEVEN, headers: dict[str, str] = PNG) -> httpx.Response:
    """One request, on a connection of its own."""
    return httpx.post(f"{stack.address}/predict", content=body, headers=headers, timeout=60)


def test_the_first_answer(stack: Stack) -> None:
    answer = predict(stack).raise_for_status().json()
    newest = max(int(path.name) for path in (REPOSITORY / "models" / "digits").glob("[0-9]*"))
    assert (answer["version"], answer["predictions"][0]["digit"]) == (str(newest), 7)
    stack.note(f"the first answer: {answer['predictions'][0]['digit']}, of version {newest}")


def test_the_containers_are_locked(stack: Stack) -> None:
    size = int(docker("image", "inspect", "-f", "{{.Size}}", "digits-service"))
    stack.note(f"the service's image has {size / 1e6:.0f} MB")
    assert size <= LARGEST_IMAGE
    for name in ("service", "proxy", "prometheus"):
        (container,) = stack.containers(name)
        (inspected,) = json.loads(docker("inspect", container))
        host = inspected["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
    (service,) = stack.containers("service")
    find = "import importlib.util as i, os; print(os.getuid(), i.find_spec('tensorflow'), os.access('/app/models', 2))"
    assert docker("exec", service, "python", "-c", find) == "10001 None False"
    assert set(docker("exec", service, "sh", "-c", "grep ^Cap /proc/self/status").split()[1::2]) == {"0" * 16}
    address = docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", service)
    assert "HostPort" not in address


def test_the_proxy_says_what_the_service_would(stack: Stack) -> None:
    most = Settings().max_body_bytes
    refused = predict(stack, bytes(most + 1))
    assert refused.status_code == 413
    assert refused.json() == {"error": f"the body has {most + 1} bytes; {most} are allowed"}
    assert refused.headers["Content-Type"] == "application/json"
    wrong = predict(stack, b"no picture")
    assert (wrong.status_code, list(wrong.json())) == (415, ["error"])
    hidden = httpx.get(f"{stack.address}/metrics")
    assert (hidden.status_code, hidden.json()) == (404, {"error": "there is no route /metrics"})
    for path, headers, status in (
        ("/healthz", {"X": "x" * 9000}, 400),
        ("/" + "x" * 9000, {}, 414),
        ("/.answers/x", {}, 404),
    ):
        odd = httpx.get(stack.address + path, headers=headers)
        assert (odd.status_code, list(odd.json())) == (status, ["error"])


def test_prometheus_has_the_metrics_of_every_worker(stack: Stack) -> None:
    (service,) = stack.containers("service")
    workers = sum("gunicorn" in line for line in docker("top", service, "-o", "pid,args").splitlines()) - 1
    assert workers == 2
    counted = 'sum(digits_http_requests_total{route="/predict", status="200"})'
    before = stack.wait("Prometheus has found the service", lambda: stack.value(counted)) or 0
    for _ in range(200):
        predict(stack).raise_for_status()
    stack.wait("each of 200 requests is counted", lambda: stack.value(counted) == before + 200)
    assert stack.value("digits_in_flight_limit") == workers * Settings().max_in_flight


def test_retrain_under_load(stack: Stack, clients: list[PollingClient]) -> None:
    before = predict(stack).json()["version"]
    printed = stack.run("run", "--rm", "trainer", "train", "--recipe", "smoke", "--baseline", "none", "--force")
    assert "published models/digits/" in printed
    after = str(int(before) + 1)
    stack.note(f"the trainer has published version {after}")
    stack.wait("every client was answered by it", lambda: all(after in caller.versions for caller in clients))
    stack.wait("and Prometheus knows", lambda: stack.value(f'count(digits_model_info{{version="{after}"}})') == 1)
    assert {version for caller in clients for version in caller.versions} == {before, after}
    stack.wait("and by no other any more", lambda: len(stack.query("digits_model_info")) == 1)


def test_every_query_of_the_dashboard_has_data(stack: Stack) -> None:
    assert len(queries()) >= 15
    for panel, query in queries():
        found = stack.until(f"{panel}: {query}", partial(stack.query, query))
        assert any(np.isfinite(float(sample["value"][1])) for sample in found), f"{panel}: {query}"
    stack.note(f"each of the dashboard's {len(queries())} queries has data")


def test_three_replicas_and_a_rolling_restart(stack: Stack, clients: list[PollingClient]) -> None:
    assert clients
    stack.run("up", "-d", "--no-recreate", "--scale", "service=3", "proxy")
    stack.wait("three replicas are healthy", lambda: len(stack.containers("service")) == 3 and stack.healthy("service"))
    stack.wait("and Prometheus has found them", lambda: stack.value(READY) == 3)
    old = stack.containers("service")
    stack.run(command=["sh", "deploy/rolling_restart.sh"])
    stack.note("all replicas are replaced, one by one")
    new = stack.containers("service")
    assert len(new) == 3
    assert not set(old) & set(new)
    stack.wait("and Prometheus has found the new ones", lambda: stack.value(READY) == 3)


def test_an_alert_fires_when_the_service_is_killed_and_resolves_when_it_is_back(stack: Stack) -> None:
    killed = stack.containers("service")
    docker("kill", *killed)
    stack.note("the service is killed")
    answer = predict(stack)
    nobody = {"error": "no replica of the service answers, or none within 120 seconds"}
    assert (answer.status_code, answer.json()) == (503, nobody)
    stack.wait("DigitsDown is pending", lambda: stack.alert("DigitsDown", "pending"))
    firing = stack.wait("DigitsDown fires", lambda: stack.alert("DigitsDown", "firing"))
    stack.note(json.dumps(firing))
    notified = f"http://127.0.0.1:{stack.ports['ALERTMANAGER']}/api/v2/alerts"
    names = stack.wait(
        "Alertmanager has it", lambda: [alert["labels"]["alertname"] for alert in httpx.get(notified).json()]
    )
    assert "DigitsDown" in names
    docker("start", *killed)
    stack.wait("the service answers again", lambda: predict(stack).status_code == 200)
    stack.wait("DigitsDown is over", lambda: not stack.alert("DigitsDown", "firing"))


def test_nothing_is_left(stack: Stack) -> None:
    stack.run("down", "-v", "--remove-orphans")
    of_it = f"--filter=label=com.docker.compose.project={stack.name}"
    left = [docker("ps", "-aq", of_it), docker("volume", "ls", "-q", of_it), docker("network", "ls", "-q", of_it)]
    assert left == ["", "", ""]

"""The compose stack in containers: build, predict, retrain, scale, rolling restart, failure and recovery, removal.

The tests run in their order on one stack; `make stack-test` prints the transcript with its times. They are skipped,
with the reason, if there is no container engine or a base image is missing.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection

import httpx
import numpy as np
import pytest

from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.test_dashboard import panel_queries
from tests.system.polling_client import PollingClient
from tests.system.stack import DOCS_URL, Stack, docker, running_stack, skip_without_engine_and_images
from training.data.mnist import Dataset

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
PNG = {"Content-Type": "image/png"}
BULK = "application/octet-stream"
MAX_IMAGE_BYTES = 480_000_000
READY_REPLICAS = 'count(digits_model_info and on (instance) up{job="digits"} == 1)'


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, mnist: Dataset) -> Iterator[Stack]:
    assert mnist
    skip_without_engine_and_images()
    running = None
    try:
        with running_stack((REPOSITORY / "data" / "mnist").resolve()) as running:
            yield running
        running.log("the stack is removed")
    finally:
        if running:
            with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                print("", "the stack:", *running.transcript, sep="\n  ")


@pytest.fixture
def clients(stack: Stack, mnist: Dataset) -> Iterator[list[PollingClient]]:
    """Five clients that send requests during a test: four a picture, one 2 MB of images. No request may fail."""
    images = mnist.test.images[:2700]
    callers = [PollingClient(stack.url, SEVEN, "image/png") for _ in range(4)]
    callers.append(PollingClient(stack.url, images.tobytes(), BULK, pictures=len(images), pause=0.25))
    with ExitStack() as running:
        for caller in callers:
            running.enter_context(caller)
        yield callers
    sent = sum(caller.requests for caller in callers)
    failures = [failure for caller in callers for failure in caller.failures]
    stack.log(f"{sent} requests in the meantime, {len(failures)} of them failed")
    assert failures == []
    assert all(caller.requests > 10 for caller in callers)


def predict(stack: Stack, body: bytes = SEVEN, headers: dict[str, str] = PNG) -> httpx.Response:
    """Send one predict request on a new connection."""
    return httpx.post(f"{stack.url}/predict", content=body, headers=headers, timeout=60)


def test_first_prediction_is_by_the_committed_version(stack: Stack) -> None:
    result = predict(stack).raise_for_status().json()
    newest = max(int(path.name) for path in (REPOSITORY / "models" / "digits").glob("[0-9]*"))
    assert (result["version"], result["predictions"][0]["digit"]) == (str(newest), 7)
    stack.log(f"first prediction: {result['predictions'][0]['digit']}, by version {newest}")


def test_containers_are_read_only_unprivileged_and_small(stack: Stack) -> None:
    size = int(docker("image", "inspect", "-f", "{{.Size}}", "digits-service"))
    stack.log(f"the service's image has {size / 1e6:.0f} MB")
    assert size <= MAX_IMAGE_BYTES
    for name in ("service", "proxy", "prometheus"):
        (container,) = stack.containers(name)
        (inspected,) = json.loads(docker("inspect", container))
        host = inspected["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
    (service,) = stack.containers("service")
    script = (
        "import importlib.util as i, os; print(os.getuid(), i.find_spec('tensorflow'), os.access('/app/models', 2))"
    )
    assert docker("exec", service, "python", "-c", script) == "10001 None False"
    assert set(docker("exec", service, "sh", "-c", "grep ^Cap /proc/self/status").split()[1::2]) == {"0" * 16}
    assert "HostPort" not in docker("inspect", "-f", "{{json .NetworkSettings.Ports}}", service)


def test_proxy_rejects_a_large_body_as_the_service_does(stack: Stack) -> None:
    limit = Settings().max_body_bytes
    response = predict(stack, bytes(limit + 1))
    assert response.status_code == 413
    assert response.json() == {"error": f"the body has {limit + 1} bytes; {limit} are allowed"}
    assert response.headers["Content-Type"] == "application/json"


def test_proxy_returns_every_error_as_json(stack: Stack) -> None:
    host = httpx.URL(stack.url).netloc.decode()
    for method, path, headers, status, error in (
        ("GET", "/metrics", {}, 404, "there is no route /metrics"),
        ("GET", "/_errors/internal", {}, 404, "there is no route /_errors"),
        ("TRACE", "/predict", {}, 405, "no route allows TRACE; use GET, HEAD, POST or OPTIONS"),
        ("GET", "/" + "x" * 9000, {}, 414, "the request line is longer than 8192 bytes"),
        ("GET", "/", {"Transfer-Encoding": "gzip"}, 501, "the transfer encoding is not supported; use chunked"),
        (
            "GET",
            "/",
            {"X": "x" * 9000},
            400,
            "the request is not valid HTTP, or a header line is longer than 8192 bytes",
        ),
    ):
        connection = HTTPConnection(host, timeout=60)  # httpx refuses to send an unsupported transfer encoding
        with closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            assert (response.status, json.load(response)) == (status, {"error": error})
            assert response.headers["Content-Type"] == "application/json"


def test_proxy_passes_errors_of_the_service_through(stack: Stack) -> None:
    response = predict(stack, b"no picture")
    assert (response.status_code, list(response.json())) == (415, ["error"])
    response = httpx.get(f"{stack.url}/nowhere")
    assert (response.status_code, response.json()) == (404, {"error": "there is no route /nowhere"})


def test_prometheus_counts_the_requests_of_every_worker(stack: Stack) -> None:
    (service,) = stack.containers("service")
    processes = docker("top", service, "-o", "pid,comm,args").splitlines()
    workers = sum("gunicorn" in line and "digits-" not in line for line in processes) - 1
    assert workers == 2
    requests = 'sum(digits_http_requests_total{route="/predict", status="200"})'
    before = stack.log_when("Prometheus has discovered the service", lambda: stack.query_value(requests)) or 0
    for _ in range(200):
        predict(stack).raise_for_status()
    stack.log_when("200 of 200 requests are counted", lambda: stack.query_value(requests) == before + 200)
    assert stack.query_value("digits_in_flight_limit") == workers * Settings().max_in_flight


def test_retrained_version_is_loaded_under_load_without_a_failed_request(
    stack: Stack, clients: list[PollingClient]
) -> None:
    before = predict(stack).json()["version"]
    printed = stack.compose("run", "--rm", "trainer", "train", "--recipe", "smoke", "--baseline", "none", "--force")
    assert "published models/digits/" in printed
    after = str(int(before) + 1)
    loaded = f'count(digits_model_info{{version="{after}"}})'
    stack.log(f"the trainer has published version {after}")
    stack.log_when("every client has responses by it", lambda: all(after in caller.versions for caller in clients))
    stack.log_when("Prometheus has it as in use", lambda: stack.query_value(loaded) == 1)
    assert {version for caller in clients for version in caller.versions} == {before, after}
    stack.log_when("and no other version", lambda: len(stack.query("digits_model_info")) == 1)


def test_every_query_of_the_dashboard_returns_data(stack: Stack) -> None:
    queries = panel_queries()
    assert len(queries) >= 15
    for panel, query in queries:
        samples = stack.wait_until(f"{panel}: {query}", partial(stack.query, query))
        assert any(np.isfinite(float(sample["value"][1])) for sample in samples), f"{panel}: {query}"
    stack.log(f"{len(queries)} of the dashboard's {len(queries)} queries return data")


def test_rolling_restart_of_three_replicas_fails_no_request(stack: Stack, clients: list[PollingClient]) -> None:
    assert clients
    stack.compose("up", "-d", "--no-recreate", "--scale", "service=3", "proxy")
    stack.log_when(
        "three replicas are healthy", lambda: len(stack.containers("service")) == 3 and stack.is_healthy("service")
    )
    stack.log_when("Prometheus has discovered them", lambda: stack.query_value(READY_REPLICAS) == 3)
    old = stack.containers("service")
    stack.compose(prefix=["sh", "deploy/rolling_restart.sh"])
    stack.log("all replicas are replaced")
    new = stack.containers("service")
    assert len(new) == 3
    assert not set(old) & set(new)
    stack.log_when("Prometheus has discovered the new ones", lambda: stack.query_value(READY_REPLICAS) == 3)


def test_alert_fires_while_the_service_is_down_and_resolves_afterwards(stack: Stack) -> None:
    killed = stack.containers("service")
    docker("kill", *killed)
    stack.log("the service is killed")
    response = predict(stack)
    error = {"error": "no replica of the service is available, or none responded within 120 seconds"}
    assert (response.status_code, response.json()) == (503, error)
    assert response.headers["Retry-After"] == "1"
    stack.log_when("DigitsDown is pending", lambda: stack.find_alert("DigitsDown", "pending"))
    firing = stack.log_when("DigitsDown fires", lambda: stack.find_alert("DigitsDown", "firing"))
    stack.log(firing["annotations"]["summary"])
    notification = stack.log_when("Alertmanager has received it", lambda: stack.find_notification("DigitsDown"))
    assert notification["annotations"]["runbook_url"] == f"{DOCS_URL}/runbook.md#digitsdown"
    assert notification["labels"] == {"alertname": "DigitsDown", "severity": "critical"}
    docker("start", *killed)
    stack.log_when("the service responds again", lambda: predict(stack).status_code == 200)
    stack.log_when("DigitsDown is resolved", lambda: not stack.find_alert("DigitsDown", "firing"))


def test_removal_leaves_no_container_volume_or_network(stack: Stack) -> None:
    stack.compose("down", "-v", "--remove-orphans")
    label = f"--filter=label=com.docker.compose.project={stack.project}"
    left = [docker("ps", "-aq", label), docker("volume", "ls", "-q", label), docker("network", "ls", "-q", label)]
    assert left == ["", "", ""]

"""The compose stack under its own project name and on free ports, as a context manager that removes everything."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.deploy.documents import COMPOSE, DEPLOY, compose_command, image_exists

FILES = ("-f", "docker-compose.yml", "-f", "tests/system/stack.yml")
STARTED = ("proxy", "prometheus", "alertmanager")
"""Services to start, with those that they depend on: all but Grafana, whose queries the tests send themselves."""
TIMEOUT_SECONDS = 180
DOCS_URL = "https://example.org/docs"


def docker(*arguments: str) -> str:
    """Run a docker command, which must succeed, and return its stripped standard output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def skip_without_engine_and_images() -> None:
    """Skip the test, with the reason, if the container engine, compose or a base image is missing."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no container engine responds to `docker info`")
    if not compose_command():
        pytest.skip("compose is missing: neither `docker compose` nor docker-compose is installed")
    lines = [line.split() for path in DEPLOY.glob("*.Dockerfile") for line in path.read_text().splitlines()]
    bases = {line[1] for line in lines if line[:1] == ["FROM"]}
    for image in sorted(bases | {COMPOSE["services"][name]["image"] for name in ("prometheus", "alertmanager")}):
        if not image_exists(image):
            pytest.skip(f"the image {image} is missing: docker pull {image}")


class Stack:
    """A running stack: the proxy's URL, queries to Prometheus and Alertmanager, compose commands, a transcript."""

    def __init__(self, project: str, mnist: Path) -> None:
        """Choose ports for the project; `mnist` is a directory to mount into the trainer."""
        self.project = project
        ports = dict(zip(("DIGITS", "PROMETHEUS", "ALERTMANAGER"), free_ports(3), strict=True))
        self.url, self._prometheus_url, self._alertmanager_url = (f"http://127.0.0.1:{port}" for port in ports.values())
        self.transcript: list[str] = []
        self._compose = [*compose_command(), "-p", project, *FILES]
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DIGITS_")}
        self._environment |= {f"{name}_PORT": str(port) for name, port in ports.items()}
        self._environment |= {"MNIST": str(mnist), "DIGITS_DOCS_URL": DOCS_URL}
        self._started = time.monotonic()

    def log(self, text: str) -> None:
        """Append a line to the transcript, with the seconds since the start."""
        self.transcript.append(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def compose(self, *arguments: str, prefix: Sequence[str] = ()) -> str:
        """Run a compose command, which must succeed, and return its standard output.

        Args:
            arguments: the arguments of compose.
            prefix: words before the compose command, such as a script that takes it as its arguments.
        """
        command = [*prefix, *self._compose, *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers."""
        labels = {"project": self.project, "service": service}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return docker("ps", "-q", "--no-trunc", *filters).split()

    def is_healthy(self, service: str) -> bool:
        """True if a service has running containers, and all of them are healthy."""
        states = [docker("inspect", "-f", "{{.State.Health.Status}}", each) for each in self.containers(service)]
        return bool(states) and set(states) == {"healthy"}

    def wait_until(self, description: str, condition: Callable[[], Any]) -> Any:
        """Poll the condition until it is true, and return its value; fail after TIMEOUT_SECONDS."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while not (value := condition()):
            assert time.monotonic() < end, f"not within {TIMEOUT_SECONDS} s: {description}"
            time.sleep(0.2)  # the condition is the state of another container: there is no event to wait for
        return value

    def log_when(self, description: str, condition: Callable[[], Any]) -> Any:
        """As `wait_until`, then write the description to the transcript."""
        value = self.wait_until(description, condition)
        self.log(description)
        return value

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of a PromQL expression, now."""
        result = self._get_from_prometheus("query", query=expression)
        assert result["status"] == "success", result
        return list(result["data"]["result"])

    def query_value(self, expression: str) -> float | None:
        """The value of the first sample of a PromQL expression, or None if there is none."""
        samples = self.query(expression)
        return float(samples[0]["value"][1]) if samples else None

    def find_alert(self, name: str, state: str) -> dict[str, Any] | None:
        """Prometheus's alert of this name, if it is in this state."""
        alerts = self._get_from_prometheus("alerts")["data"]["alerts"]
        return next((each for each in alerts if (each["labels"]["alertname"], each["state"]) == (name, state)), None)

    def find_notification(self, name: str) -> dict[str, Any] | None:
        """Alertmanager's alert of this name, if it has received one."""
        alerts = httpx.get(f"{self._alertmanager_url}/api/v2/alerts").json()
        return next((each for each in alerts if each["labels"]["alertname"] == name), None)

    def _get_from_prometheus(self, route: str, **parameters: str) -> Any:
        return httpx.get(f"{self._prometheus_url}/api/v1/{route}", params=parameters).json()


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports of 127.0.0.1 that no process listens on."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running_stack(mnist: Path) -> Iterator[Stack]:
    """Build the images, start all but Grafana, wait until the proxy is healthy; remove the stack at the end."""
    stack = Stack(f"digits-test-{os.getpid()}", mnist)
    try:
        for service in ("service", "proxy", "trainer"):
            stack.compose("build", "-q", service)
            stack.log(f"{service} is built")
        stack.compose("up", "-d", *STARTED)
        stack.log_when(
            "proxy and Prometheus are healthy", lambda: stack.is_healthy("proxy") and stack.is_healthy("prometheus")
        )
        yield stack
    finally:
        stack.compose("down", "-v", "--remove-orphans", "-t", "5")

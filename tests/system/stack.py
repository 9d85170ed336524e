"""The compose stack under a name and on ports of its own, as a context manager that leaves nothing behind."""

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
from tests.deploy.documents import COMPOSE, DEPLOY, compose_command, image_is_here

FILES = ("-f", "docker-compose.yml", "-f", "tests/system/stack.yml")
GRAFANA_IS_ELSEWHERE = ("proxy", "prometheus", "alertmanager")
PATIENCE = 180


def docker(*arguments: str) -> str:
    """What a docker command prints; fails with what it says if it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def skip_where_it_cannot_run() -> None:
    """Skip the test, with the reason, where there is no engine, no compose, or no image to start from."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no docker engine answers")
    if not compose_command():
        pytest.skip("there is neither `docker compose` nor docker-compose here")
    lines = [line.split() for path in DEPLOY.glob("*.Dockerfile") for line in path.read_text().splitlines()]
    bases = {line[1] for line in lines if line[:1] == ["FROM"]}
    for image in sorted(bases | {COMPOSE["services"][name]["image"] for name in ("prometheus", "alertmanager")}):
        if not image_is_here(image):
            pytest.skip(f"the image {image} is not here: docker pull {image}")


class Stack:
    """A running stack: the proxy's address, Prometheus's answers, and compose itself."""

    def __init__(self, name: str, mnist: Path) -> None:
        self.name = name
        self.ports = dict(zip(("DIGITS", "PROMETHEUS", "ALERTMANAGER"), free_ports(3), strict=True))
        self.address = f"http://127.0.0.1:{self.ports['DIGITS']}"
        self.compose = [*compose_command(), "-p", name, *FILES]
        self.transcript: list[str] = []
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DIGITS_")}
        self._environment |= {f"{key}_PORT": str(port) for key, port in self.ports.items()} | {"MNIST": str(mnist)}
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        """Write a line into the transcript, with the seconds since the beginning."""
        self.transcript.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def run(self, *arguments: str, command: Sequence[str] = ()) -> str:
        """What compose, or another command in the same environment, prints; it must not fail."""
        whole = [*command, *self.compose, *arguments]
        done = subprocess.run(whole, cwd=REPOSITORY, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{whole}: {done.stdout}{done.stderr}"
        return done.stdout

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers that run."""
        labels = {"project": self.name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return docker("ps", "-q", "--no-trunc", *filters).split()

    def healthy(self, service: str) -> bool:
        """Whether a service has containers, and all of them are healthy."""
        states = [docker("inspect", "-f", "{{.State.Health.Status}}", each) for each in self.containers(service)]
        return bool(states) and set(states) == {"healthy"}

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Ask again and again until the condition is something, and return that."""
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
            time.sleep(0.2)  # nothing to wait on: what it waits for is in another container's answer
        return found

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """As `until`, with a line in the transcript."""
        found = self.until(what, condition)
        self.note(what)
        return found

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that Prometheus answers to an expression, now."""
        answer = self._prometheus("query", query=expression)
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float | None:
        """The one value of an expression, or None."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def alert(self, name: str, state: str) -> dict[str, Any] | None:
        """The alert of this name, if it is in this state."""
        alerts = self._prometheus("alerts")["data"]["alerts"]
        return next((each for each in alerts if (each["labels"]["alertname"], each["state"]) == (name, state)), None)

    def _prometheus(self, route: str, **parameters: str) -> Any:
        return httpx.get(f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/{route}", params=parameters).json()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def stacked(mnist: Path) -> Iterator[Stack]:
    """Build the images, start all but Grafana, wait until a client would be answered; take it all down at the end."""
    stack = Stack(f"digits-test-{os.getpid()}", mnist)
    try:
        for service in ("service", "proxy", "trainer"):
            stack.run("build", "-q", service)
            stack.note(f"{service} is built")
        stack.run("up", "-d", *GRAFANA_IS_ELSEWHERE)
        stack.wait("up, and healthy", lambda: stack.healthy("proxy") and stack.healthy("prometheus"))
        yield stack
    finally:
        stack.run("down", "-v", "--remove-orphans", "-t", "5")

"""docker-compose.yml, the Dockerfiles and .env, as far as they can be held without an engine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.documents import COMPOSE, DEPLOY, compose_command

DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_env_tells_every_variable_with_what_holds_without_it() -> None:
    used = dict(VARIABLE.findall((REPOSITORY / "docker-compose.yml").read_text()))
    told = dict(re.findall(r"^#?(\w+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))
    assert told == used


def test_what_holds_without_env_is_what_the_service_does() -> None:
    given = {
        name: VARIABLE.sub(r"\2", value)
        for service in ("service", "proxy")
        for name, value in SERVICES[service]["environment"].items()
    }
    found, usual = Settings.from_environment(given), Settings()
    names = (
        "threads",
        "max_in_flight",
        "max_body_bytes",
        "receive_timeout_seconds",
        "model_poll_seconds",
        "log_level",
        "api_key",
    )
    assert [getattr(found, name) for name in names] == [getattr(usual, name) for name in names]


def test_a_container_outlives_the_requests_in_it() -> None:
    for name in ("service", "proxy"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings().shutdown_timeout_seconds + 5


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_image_has_its_version() -> None:
    for path in DOCKERFILES:
        text = path.read_text()
        assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11.14-slim-bookworm"}
        assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    for name, service in SERVICES.items():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_compose_reads_it(tmp_path: Path) -> None:
    command = compose_command()
    if not command:
        pytest.skip("there is neither `docker compose` nor docker-compose here")
    done = subprocess.run(
        [*command, "--project-directory", REPOSITORY, "config"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

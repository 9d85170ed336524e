"""docker-compose.yml, the Dockerfiles and .env.example, as far as they can be checked without a container engine."""

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
ENV_FILE = REPOSITORY / ".env.example"
SERVICES = COMPOSE["services"]
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def test_hadolint_reports_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, *DOCKERFILES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_env_file_lists_every_variable_with_its_default() -> None:
    used = dict(VARIABLE.findall((REPOSITORY / "docker-compose.yml").read_text()))
    listed = dict(re.findall(r"^#?(\w+)=(.*)$", ENV_FILE.read_text(), re.MULTILINE))
    assert listed == used


def test_defaults_are_those_of_the_service() -> None:
    environment = {
        name: VARIABLE.sub(r"\2", value)
        for service in ("service", "proxy")
        for name, value in SERVICES[service]["environment"].items()
    }
    in_compose, default = Settings.from_environment(environment), Settings()
    names = (
        "threads",
        "max_in_flight",
        "max_body_bytes",
        "receive_timeout_seconds",
        "model_poll_seconds",
        "log_level",
        "api_key",
    )
    assert [getattr(in_compose, name) for name in names] == [getattr(default, name) for name in names]


@pytest.mark.parametrize("name", ["service", "proxy"])
def test_stop_grace_period_exceeds_the_shutdown_timeout(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings().shutdown_timeout_seconds + 5


@pytest.mark.parametrize("name", SERVICES)
def test_container_is_read_only_unprivileged_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_service_has_no_route_out_of_its_network() -> None:
    assert SERVICES["service"]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in SERVICES["service"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfile_pins_its_base_and_runs_as_a_numbered_user(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11.14-slim-bookworm"}
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_built_here_or_has_a_full_version(name: str) -> None:
    assert "build" in SERVICES[name] or re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


def test_compose_accepts_the_file(tmp_path: Path) -> None:
    command = compose_command()
    if not command:
        pytest.skip("compose is missing: neither `docker compose` nor docker-compose is installed")
    done = subprocess.run(
        [*command, "--project-directory", REPOSITORY, "config"],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

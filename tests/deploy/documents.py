"""Helpers for the tests of deploy/: YAML documents, Prometheus rules, container images, compose, promtool."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
PROMETHEUS_IMAGE: str = COMPOSE["services"]["prometheus"]["image"]


def load_documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def load_rules(name: str) -> list[dict[str, Any]]:
    """All rules, recording or alerting, of a file in deploy/prometheus."""
    return [rule for group in load_documents(DEPLOY / "prometheus" / name)[0]["groups"] for rule in group["rules"]]


def image_exists(image: str) -> bool:
    """True if a container engine runs on this machine and has the image."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


def compose_command() -> list[str]:
    """The words of the compose command: `docker compose` if installed, else docker-compose, else none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
            if version.returncode == 0 and "ompose" in version.stdout:
                return command
    return []


def run_promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in `directory`: that of the stack's Prometheus image if it exists, else that on the PATH.

    Skips the test, with the reason, if there is neither.
    """
    if image_exists(PROMETHEUS_IMAGE):
        mount = f"{directory}:/rules:ro"
        container = ["docker", "run", "--rm", "--user=0", "--network=none", "-v", mount, "-w", "/rules"]
        command = [*container, "--entrypoint=promtool", PROMETHEUS_IMAGE, *arguments]
    elif shutil.which("promtool"):
        command = ["promtool", *arguments]
    else:
        pytest.skip(f"promtool is missing: neither the image {PROMETHEUS_IMAGE} nor a command on the PATH")
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)

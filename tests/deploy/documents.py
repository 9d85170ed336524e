"""YAML files as documents, and promtool from wherever it is."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
PROMETHEUS: str = COMPOSE["services"]["prometheus"]["image"]


def documents(path: Path) -> list[dict[str, Any]]:
    """Every document of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def rules(name: str) -> list[dict[str, Any]]:
    """Every rule of a file of deploy/prometheus."""
    return [rule for group in documents(DEPLOY / "prometheus" / name)[0]["groups"] for rule in group["rules"]]


def image_is_here(image: str) -> bool:
    """Whether a docker engine answers, and has the image."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


def compose_command() -> list[str]:
    """`docker compose` where it is there, else docker-compose; nothing if neither is."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
            if asked.returncode == 0 and "ompose" in asked.stdout:
                return command
    return []


def promtool(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool in a directory: the stack's own where its image is here, else that on the PATH; else skip."""
    if image_is_here(PROMETHEUS):
        volume = f"{directory}:/here:ro"
        inside = ["docker", "run", "--rm", "--user=0", "--network=none", "-v", volume, "-w", "/here"]
        command = [*inside, "--entrypoint=promtool", PROMETHEUS, *arguments]
    elif shutil.which("promtool"):
        command = ["promtool", *arguments]
    else:
        pytest.skip(f"there is no promtool: neither the image {PROMETHEUS} nor a command of that name")
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)

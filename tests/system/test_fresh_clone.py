"""A fresh clone: `make serve` starts the service, and every console example of the documents gives the output shown."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.system.server import Server, serving

DOCUMENTS = ("README.md", "docs/api.md", "docs/client.md", "docs/training.md")
BLOCKS = [
    block
    for document in DOCUMENTS
    for block in re.findall(r"```console\n(.*?)```", (REPOSITORY / document).read_text(), re.DOTALL)
]
EXAMPLES = [example for block in BLOCKS for example in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)]
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|-?\d+e-\d+")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository: without data and virtual environment."""
    path = tmp_path_factory.mktemp("clone") / "digits"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, path], check=True)
    return path


@pytest.fixture(scope="module")
def server(clone: Path) -> Iterator[Server]:
    with serving(["make", "serve"], cwd=clone) as server:
        yield server


def test_the_printed_command_predicts_a_seven(server: Server, tmp_path: Path) -> None:
    line = re.search(r"curl .*", server.log) or server.wait_for("curl .*")
    done = subprocess.run(["sh", "-c", f"{line[0]} -sS"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert '"predictions":[{"digit":7,' in done.stdout


def test_the_documents_have_examples() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[command[:60] for command, _ in EXAMPLES])
def test_examples_give_the_output_shown(server: Server, clone: Path, command: str, output: str) -> None:
    here = command.replace("http://127.0.0.1:8000", server.address).replace(".venv/bin/python", sys.executable)
    here = re.sub(r"^digits ", f"{sys.executable} -m digits ", here)
    environment = os.environ | {"DIGITS_URL": server.address}
    done = subprocess.run(["sh", "-c", here], cwd=clone, env=environment, capture_output=True, text=True, check=True)
    printed = done.stdout.replace(server.address, "http://127.0.0.1:8000")
    assert NUMBER.sub("0", printed.strip()) == NUMBER.sub("0", output.strip())
    found, shown = ([float(number) for number in NUMBER.findall(text)] for text in (printed, output))
    assert found == pytest.approx(shown, rel=1e-3, abs=1e-5)


def test_a_second_start_installs_nothing(server: Server, clone: Path) -> None:
    assert server.log.count("installing") == 1
    with serving(["make", "serve"], cwd=clone) as again:
        assert again.client.get("/readyz").status_code == 200
        assert "installing" not in again.log


@pytest.mark.parametrize(
    ("python", "sentence"),
    [
        ("echo 3.9.2; exit 1", "Python 3.11 or newer is needed"),
        ('case "$*" in *venv*) exit 1;; esac', "install python3-venv"),
    ],
)
def test_an_unsuitable_python_is_reported_in_one_sentence(tmp_path: Path, python: str, sentence: str) -> None:
    clone = tmp_path / "digits"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{python}\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["make", "serve", f"PYTHON={fake}"],
        cwd=clone,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert sentence in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr


def test_a_missing_python_is_reported_in_one_sentence(tmp_path: Path) -> None:
    shutil.copyfile(REPOSITORY / "tools" / "create_venv.sh", tmp_path / "create_venv.sh")
    done = subprocess.run(
        ["/bin/sh", "create_venv.sh", "python9"],
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "make: no python9 on the PATH; install Python 3.11 or newer, or set PYTHON=\n"

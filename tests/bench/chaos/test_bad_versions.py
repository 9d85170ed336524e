"""bench/chaos/bad_versions.py: each bad version can be made, and the models answer what their names state."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from bench.chaos.bad_versions import BAD_VERSIONS, MODEL, answer_nan, answer_nan_to_digits, copy_version
from tests.conftest import REPOSITORY

NEWEST = max((REPOSITORY / "models" / "digits").glob("[0-9]*"), key=lambda path: int(path.name))


def test_a_copy_states_its_own_number(tmp_path: Path) -> None:
    copied = copy_version(NEWEST, tmp_path / "12", 12)
    assert json.loads((copied / "manifest.json").read_text())["version"] == 12
    assert (copied / MODEL).read_bytes() == (NEWEST / MODEL).read_bytes()


@pytest.mark.parametrize("kind", BAD_VERSIONS)
def test_a_version_is_made_bad(tmp_path: Path, kind: str) -> None:
    version = copy_version(NEWEST, tmp_path / "12", 12)
    before = state(version)
    BAD_VERSIONS[kind].spoil(version)
    assert state(version) != before


def state(version: Path) -> Any:
    """What can be seen of a version without following a link or waiting for a FIFO."""
    if not version.is_dir():
        return version.lstat().st_mode
    return {
        file: (file.lstat().st_mode, read_beginning(file) if file.is_file() else b"") for file in version.rglob("*")
    }


def read_beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(1 << 20)


@pytest.mark.parametrize(("change", "is_blank_finite"), [(answer_nan, False), (answer_nan_to_digits, True)])
def test_a_changed_model_answers_nan(change: Any, *, is_blank_finite: bool) -> None:
    model = change((NEWEST / MODEL).read_bytes())
    run = Interpreter(model_content=model).get_signature_runner("serving_default")
    noise = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blank, other = (run(images=images)["probabilities"] for images in (np.zeros_like(noise), noise))
    assert np.isnan(other).all()
    assert np.isfinite(blank).all() == is_blank_finite

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import DATA, Trained
from training.cli import main
from training.data.mnist import Dataset
from training.fit import loop
from training.fit.loop import EvaluationRow
from training.model import network
from training.model.network import Parameters
from training.pipeline import TrainingPipeline
from training.publish import provenance, registry, saved_model
from training.publish.registry import GateRejected
from training.recipe import Recipe

SETTINGS = ["iterations=50", "evaluate_every=25", "print_every=25"]
RECIPE = Recipe.load("smoke", SETTINGS)

Disk = Callable[[str], Path]


def test_the_version_states_what_it_is_and_what_it_can_do(trained: Trained, mnist: Dataset) -> None:
    version = trained.models / "1"
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["name"] == "digits"
    assert manifest["version"] == 1
    assert manifest["recipe"] == RECIPE.as_dict()
    assert manifest["seed"] == RECIPE.seed
    assert manifest["parameters"] == 185_300
    assert manifest["packages"]["tensorflow"] == tf.__version__
    assert manifest["packages"]["numpy"] == np.__version__
    assert "unknown" not in manifest["packages"].values()
    created = datetime.fromisoformat(manifest["created_at"])
    assert created.tzinfo == UTC
    assert abs((datetime.now(UTC) - created).total_seconds()) < 3600
    assert manifest["dataset"]["images"] == {"training": 55_000, "validation": 5_000, "test": 10_000}
    assert {file["name"]: file["sha256"] for file in manifest["dataset"]["files"]} == {
        file.name: file.sha256 for file in mnist.files
    }
    there = {path.relative_to(version).as_posix(): path for path in version.rglob("*") if path.is_file()}
    del there["manifest.json"]
    assert manifest["files"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in there.items()}
    assert {"saved_model.pb", "model.tflite", "report/card.md", "report/accuracy.png"} <= there.keys()

    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    for part, images in (("test", mnist.test), ("validation", mnist.validation)):
        answers = np.asarray(serve(images=tf.constant(images.images))["probabilities"], np.float64)
        given = answers[np.arange(len(images)), images.labels]
        assert manifest["metrics"][f"{part}_accuracy"] == np.mean(answers.argmax(axis=1) == images.labels)
        assert manifest["metrics"][f"{part}_cross_entropy"] == pytest.approx(-np.log(given).mean(), rel=1e-5)
        assert 0 < manifest["metrics"][f"{part}_ece"] < 0.1
        if part == "test":
            shares = np.bincount(answers.argmax(axis=1), minlength=10) / 10_000
            assert manifest["reference"]["class_shares"] == shares.tolist()
        else:
            uncertain = np.mean(answers.max(axis=1) < manifest["thresholds"]["confidence"])
            assert uncertain == pytest.approx(0.01, abs=0.001)


def test_the_temperature_is_the_best_for_the_validation_part(trained: Trained, mnist: Dataset) -> None:
    version = trained.models / "1"
    temperature = json.loads((version / "manifest.json").read_text())["temperature"]
    probabilities = np.asarray(saved_model.saved_model_predict(version, mnist.validation.images), np.float64)

    def cross_entropy(power: float) -> float:
        warmed = probabilities**power
        given = warmed[np.arange(len(mnist.validation)), mnist.validation.labels] / warmed.sum(axis=1)
        return float(-np.log(given).mean())

    assert 0.5 < temperature < 2
    assert cross_entropy(1) < min(cross_entropy(0.97), cross_entropy(1.03))


def test_the_revision_is_gits() -> None:
    root = Path(provenance.__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    revision = provenance.code_revision()
    assert revision.rstrip("+") == head.stdout.strip() if head.returncode == 0 else revision == "unknown"


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Parameters:
    """Random parameters, which every run from here on gives at once."""
    parameters = network.initial_parameters(RECIPE)

    def give(recipe: Recipe, data: Dataset, observe: Callable[[EvaluationRow], None], **_: object) -> Parameters:
        scores = loop.score(parameters, data.test, recipe.activation)
        observe(EvaluationRow(recipe.iterations, scores, scores, scores))
        return parameters

    monkeypatch.setattr(loop, "train", give)
    return parameters


@pytest.mark.usefixtures("untrained")
def test_a_worse_candidate_is_refused_unless_forced(trained: Trained, mnist: Dataset, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(trained.models, models)
    job = TrainingPipeline(mnist, models, tmp_path / "runs", DATA / "probes")
    outcome = job.train(RECIPE)
    assert outcome.version is None
    assert isinstance(outcome.rejection, GateRejected)
    assert outcome.rejection.version == 1
    assert outcome.rejection.candidate < 0.3
    assert [version.number for version in registry.list_versions(models)] == [1]
    assert not list(models.glob(".tmp-*"))
    assert (outcome.run / "run.json").exists()

    forced = dataclasses.replace(job, force=True).train(RECIPE)
    assert forced.rejection is None
    assert forced.version is not None
    assert forced.version.number == 2
    assert forced.version.accuracy == outcome.rejection.candidate
    assert forced.run != outcome.run


@pytest.mark.usefixtures("untrained")
def test_a_plan_that_disagrees_is_not_published(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = network.initial_parameters(Recipe.load("smoke", ["seed=9"]))
    real = saved_model.export

    def swapped(parameters: Parameters, activation: str, temperature: float, directory: Path) -> None:
        real(other, activation, temperature, directory)
        plan = (directory / "model.tflite").read_bytes()
        real(parameters, activation, temperature, directory)
        (directory / "model.tflite").write_bytes(plan)

    monkeypatch.setattr(saved_model, "export", swapped)
    with pytest.raises(saved_model.ParityError):
        TrainingPipeline(mnist, tmp_path / "models", tmp_path / "runs", DATA / "probes").train(RECIPE)
    assert registry.list_versions(tmp_path / "models") == []
    assert not list((tmp_path / "models").glob(".tmp-*"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts small disks of a size such as 1m."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.geteuid() or not shutil.which("mount"):
            pytest.skip("mounting a small disk takes root")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("untrained", "mnist")
@pytest.mark.parametrize("size", ["200k", "1m", "1600k"])
def test_a_full_disk_is_one_line_and_no_version(
    size: str, disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = disk(size)
    words = [
        "--models",
        str(models),
        "train",
        "--recipe",
        "smoke",
        "--baseline",
        "none",
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main([*words, "--data", str(DATA)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m training train: ")
    assert "No space left on device" in line
    assert str(models) in line
    assert registry.list_versions(models) == []
    assert not list(models.glob(".tmp-*"))

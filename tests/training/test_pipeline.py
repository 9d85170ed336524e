"""The pipeline from the data to a published version: manifest, gate, parity of the exported models, full disks."""

import dataclasses
import hashlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.training.conftest import FAST, SMALL, SMALL_RECIPE, TrainedRun
from training import pipeline
from training.cli import main
from training.data.mnist import Dataset
from training.fit import loop
from training.model import network
from training.model.network import Parameters
from training.pipeline import TrainingPipeline
from training.publish import registry, saved_model
from training.publish.registry import GateRejected
from training.recipe import Recipe
from training.types import EvaluationRow

RECIPE = Recipe.load("smoke", SMALL_RECIPE)

MountDisk = Callable[[str], Path]


def test_the_manifest_states_what_the_exported_model_does(trained: TrainedRun, small_mnist: Dataset) -> None:
    version = trained.models / "1"
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["name"] == "digits"
    assert manifest["version"] == 1
    assert manifest["recipe"] == RECIPE.as_dict()
    assert manifest["seed"] == RECIPE.seed
    assert manifest["parameters"] == 784 * 30 + 30 + 30 * 10 + 10
    assert manifest["packages"]["tensorflow"] == tf.__version__
    assert manifest["dataset"]["images"] == {"training": 2000, "validation": 5000, "test": 1000}
    assert {file["name"]: file["sha256"] for file in manifest["dataset"]["files"]} == {
        file.name: file.sha256 for file in small_mnist.files
    }
    files = {path.relative_to(version).as_posix(): path for path in version.rglob("*") if path.is_file()}
    del files["manifest.json"]
    assert manifest["files"] == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    assert {"saved_model.pb", "model.tflite", "report/card.md", "report/accuracy.png"} <= files.keys()

    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    for name, split in (("test", small_mnist.test), ("validation", small_mnist.validation)):
        probabilities = np.asarray(serve(images=tf.constant(split.images))["probabilities"], np.float64)
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == split.labels
        likelihoods = probabilities[np.arange(len(split)), split.labels]
        assert manifest["metrics"][f"{name}_accuracy"] == np.mean(correct)
        assert manifest["metrics"][f"{name}_cross_entropy"] == pytest.approx(-np.log(likelihoods).mean(), rel=1e-5)
        assert 0 < manifest["metrics"][f"{name}_ece"] < 0.2
        uncertain = confidence < manifest["thresholds"]["confidence"]
        if name == "test":
            shares = np.bincount(probabilities.argmax(axis=1), minlength=10) / len(split)
            assert manifest["reference"]["class_shares"] == shares.tolist()
            assert manifest["metrics"]["test_coverage"] == 1 - uncertain.mean()
            assert manifest["metrics"]["test_selective_accuracy"] == correct[~uncertain].mean()
        else:
            assert uncertain.mean() == pytest.approx(0.01, abs=0.001)


def test_the_temperature_minimises_the_validation_cross_entropy(trained: TrainedRun, small_mnist: Dataset) -> None:
    version, validation = trained.models / "1", small_mnist.validation
    temperature = json.loads((version / "manifest.json").read_text())["temperature"]
    probabilities = np.asarray(saved_model.saved_model_predict(version, validation.images), np.float64)

    def cross_entropy(exponent: float) -> float:
        scaled = probabilities**exponent
        likelihoods = scaled[np.arange(len(validation)), validation.labels] / scaled.sum(axis=1)
        return float(-np.log(likelihoods).mean())

    assert 0.3 < temperature < 2
    assert cross_entropy(1) < min(cross_entropy(0.97), cross_entropy(1.03))


def test_the_baseline_is_a_trained_recipe(small_mnist: Dataset) -> None:
    name, predict = pipeline.train_baseline(Recipe.load("smoke", [*SMALL_RECIPE, "iterations=200"]), small_mnist)
    probabilities = predict(small_mnist.test.images)
    assert name == "smoke"
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == small_mnist.test.labels) > 0.75


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Parameters:
    """Random parameters, which every training run of the test returns at once."""
    parameters = network.initial_parameters(RECIPE)

    def train(recipe: Recipe, data: Dataset, observe: Callable[[EvaluationRow], None], **_: object) -> Parameters:
        scores = loop.score(parameters, data.test, recipe.activation)
        observe(EvaluationRow(recipe.iterations, scores, scores, scores))
        return parameters

    monkeypatch.setattr(loop, "train", train)
    return parameters


@pytest.mark.usefixtures("untrained")
def test_a_worse_candidate_is_rejected_unless_forced(trained: TrainedRun, small_mnist: Dataset, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(trained.models, models)
    gated = TrainingPipeline(small_mnist, models, tmp_path / "runs", tmp_path / "ood_sets", Recipe.load("one_layer"))
    rejected = gated.train(RECIPE)
    assert rejected.version is None
    assert isinstance(rejected.rejection, GateRejected)
    assert rejected.rejection.version == 1
    assert rejected.rejection.candidate < 0.3
    assert [version.number for version in registry.list_versions(models)] == [1]
    assert not list(models.glob(".tmp-*"))
    assert (rejected.run / "run.json").exists()

    forced = dataclasses.replace(gated, force=True).train(RECIPE)
    assert forced.rejection is None
    assert forced.version is not None
    assert forced.version.number == 2
    assert forced.version.accuracy == rejected.rejection.candidate
    assert forced.run != rejected.run


@pytest.mark.usefixtures("untrained")
def test_a_tflite_model_that_differs_is_not_published(
    small_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = network.initial_parameters(Recipe.load("smoke", [*SMALL_RECIPE, "seed=9"]))
    export = saved_model.export

    def export_other_tflite_model(parameters: Parameters, activation: str, temperature: float, directory: Path) -> None:
        export(other, activation, temperature, directory)
        content = (directory / "model.tflite").read_bytes()
        export(parameters, activation, temperature, directory)
        (directory / "model.tflite").write_bytes(content)

    monkeypatch.setattr(saved_model, "export", export_other_tflite_model)
    with pytest.raises(saved_model.ParityError):
        TrainingPipeline(small_mnist, tmp_path / "models", tmp_path / "runs", tmp_path / "ood_sets").train(RECIPE)
    assert registry.list_versions(tmp_path / "models") == []
    assert not list((tmp_path / "models").glob(".tmp-*"))


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[MountDisk]:
    """Mounts a tmpfs of a size such as 1m."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        path = tmp_path / "disk"
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        if os.geteuid() or not shutil.which("mount"):
            pytest.skip("mounting a tmpfs requires root")
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
        if completed.returncode:
            pytest.skip(f"a tmpfs cannot be mounted: {completed.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("size", ["100k", "300k", "700k"])
def test_a_full_disk_is_one_line_and_publishes_nothing(
    size: str, mount_disk: MountDisk, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = mount_disk(size)
    options = ["--models", str(models), "--runs", str(tmp_path / "runs"), "--data", str(small_data)]
    assert main(["train", *SMALL, *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m training train: ")
    assert "No space left on device" in line
    assert str(models) in line
    assert registry.list_versions(models) == []
    assert not list(models.glob(".tmp-*"))


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize("size", ["4k", "40k", "150k", "300k"])
def test_a_full_disk_of_the_runs_is_one_line_and_publishes_nothing(
    size: str, mount_disk: MountDisk, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, models = mount_disk(size), tmp_path / "models"
    assert main(["train", *SMALL, "--models", str(models), "--runs", str(runs), "--data", str(small_data)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m training train: the run {runs}")
    assert "No space left on device; free space, " in line
    assert registry.list_versions(models) == []
    assert not list(models.glob(".tmp-*"))


@pytest.mark.parametrize("limit", [0, 200, 20_000, 100_000])
def test_files_that_cannot_be_written_are_one_line_and_publish_nothing(
    limit: int, small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of the size of files stands for a full disk, where a test cannot mount one."""
    options = ["--models", tmp_path / "models", "--runs", tmp_path / "runs", "--data", small_data]
    arguments = ["train", *FAST, *map(str, options)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        code = main(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "File too large" in line
    assert tempfile.gettempdir() in line
    assert registry.list_versions(tmp_path / "models") == []


def test_a_run_that_diverges_is_one_line_and_publishes_nothing(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = network.initial_parameters(RECIPE)
    monkeypatch.setattr(loop, "train", lambda *_, **__: (first, last._replace(biases=last.biases + np.float32("nan"))))
    options = ["--models", tmp_path / "models", "--runs", tmp_path / "runs", "--data", small_data]
    assert main(["train", *SMALL, *map(str, options)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has diverged: reduce learning_rate, 0.002" in line
    assert registry.list_versions(tmp_path / "models") == []

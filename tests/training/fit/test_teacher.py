"""Teachers: training, the ensemble's mean, resumption."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from training.data.mnist import Dataset, Split
from training.fit import checkpoint, teacher
from training.fit.teacher import Ensemble
from training.recipe import Recipe


def with_training_images(data: Dataset, count: int) -> Dataset:
    """The data set with the first training images only."""
    training = Split(data.training.images[:count], data.training.labels[:count])
    return dataclasses.replace(data, training=training)


def test_an_ensemble_of_trained_teachers_returns_the_mean_of_their_logits(
    small_mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "WARMUP_STEPS", 5)
    recipe = Recipe.load("smoke", ["teacher_widths=4,3", "teacher_epochs=6"])
    both = teacher.train_teachers(recipe, small_mnist, tmp_path)
    assert both is not None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "teacher 0, width 4",
        "teacher 1, width 3",
        "ensemble of teachers",
    ]
    images, labels = small_mnist.validation.images[:1203], small_mnist.validation.labels[:1203]
    logits = both(images)
    assert logits.shape == (1203, 10)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.6
    alone = [Ensemble([network])(images) for network in both._networks]
    assert not np.allclose(alone[0], alone[1], atol=0.1)
    np.testing.assert_allclose(logits, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-4)
    pixels = images[:5].astype(np.float32)[..., None] / 255
    np.testing.assert_allclose(alone[0][:5], both._networks[0](pixels, training=False), rtol=1e-3, atol=1e-4)


def test_a_recipe_without_teachers_has_no_ensemble(small_mnist: Dataset, tmp_path: Path) -> None:
    assert teacher.train_teachers(Recipe.load("smoke"), small_mnist, tmp_path) is None
    assert not list(tmp_path.iterdir())


class Interrupted(Exception):
    """Interrupts a run."""


def test_a_resumed_teacher_equals_an_uninterrupted_one(
    small_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.load("smoke", ["teacher_widths=4", "teacher_epochs=2", "rotation=9"])
    data = with_training_images(small_mnist, 600)
    uninterrupted, resumed = tmp_path / "uninterrupted", tmp_path / "resumed"
    uninterrupted.mkdir()
    resumed.mkdir()
    teacher.train_teachers(recipe, data, uninterrupted)
    save = checkpoint.save

    def interrupt(path: Path, structure: list[object]) -> None:
        if structure[0] == 2:
            raise Interrupted
        save(path, structure)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", interrupt)
        with pytest.raises(Interrupted):
            teacher.train_teachers(recipe, data, resumed)
    teacher.train_teachers(recipe, data, resumed)
    with np.load(uninterrupted / "teacher-0.npz") as expected, np.load(resumed / "teacher-0.npz") as actual:
        assert len(expected.files) > 20
        for name in expected.files:
            np.testing.assert_array_equal(actual[name], expected[name])

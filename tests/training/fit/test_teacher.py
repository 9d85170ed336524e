from pathlib import Path

import numpy as np
import pytest

from training.data.mnist import Dataset, Split
from training.fit import checkpoint, teacher
from training.fit.teacher import Ensemble
from training.recipe import Recipe


def few(data: Dataset, images: int) -> Dataset:
    parts = [Split(part.images[:images], part.labels[:images]) for part in (data.training, data.validation, data.test)]
    return Dataset(data.name, parts[0], parts[1], parts[2], data.files)


def test_teachers_learn_and_answer_with_the_mean_of_their_logits(
    mnist: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "WARM_UP", 5)
    recipe = Recipe.load("smoke", ["teacher_widths=4,3", "teacher_epochs=4"])
    both = teacher.train_teachers(recipe, few(mnist, 3000), tmp_path)
    assert both is not None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "teacher 0, 4 channels",
        "teacher 1, 3 channels",
        "the teachers' mean",
    ]
    images = mnist.test.images[:1203]
    answers = both(images)
    assert answers.shape == (1203, 10)
    assert np.mean(answers.argmax(axis=1) == mnist.test.labels[:1203]) > 0.6
    alone = [Ensemble([network])(images) for network in both._networks]
    assert not np.allclose(alone[0], alone[1], atol=0.1)
    np.testing.assert_allclose(answers, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-4)
    pixels = images[:5].astype(np.float32)[..., None] / 255
    np.testing.assert_allclose(alone[0][:5], both._networks[0](pixels, training=False), rtol=1e-3, atol=1e-4)


def test_a_recipe_without_teachers_has_no_committee(mnist: Dataset, tmp_path: Path) -> None:
    assert teacher.train_teachers(Recipe.load("smoke"), mnist, tmp_path) is None
    assert not list(tmp_path.iterdir())


class Broken(Exception):
    """What breaks a run off."""


def test_a_teacher_that_is_broken_off_goes_on_to_the_same_end(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe.load("smoke", ["teacher_widths=4", "teacher_epochs=3", "rotation=9"])
    data = few(mnist, 1100)
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    whole.mkdir()
    pieces.mkdir()
    teacher.train_teachers(recipe, data, whole)
    real = checkpoint.save

    def break_off(path: Path, structure: list[object]) -> None:
        if structure[0] == 2:
            raise Broken
        real(path, structure)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", break_off)
        with pytest.raises(Broken):
            teacher.train_teachers(recipe, data, pieces)
    teacher.train_teachers(recipe, data, pieces)
    with np.load(whole / "teacher-0.npz") as one, np.load(pieces / "teacher-0.npz") as other:
        assert len(one.files) > 20
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])

"""The input pipeline: order of the images, targets, augmented copies, outliers."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from training.data import batches, outliers
from training.data.batches import BatchBlock, BatchStream
from training.data.mnist import Split
from training.recipe import Recipe
from training.types import Images


def make_recipe(every: int, *overrides: str) -> Recipe:
    """33 batches of 10 images, evaluated after so many batches."""
    sizes = ["iterations=33", "batch_size=10", f"evaluate_every={every}", f"print_every={every}"]
    return Recipe.load("smoke", [*sizes, *overrides])


def indices_from(recipe: Recipe, images: int, iteration: int) -> npt.NDArray[np.int64]:
    return np.concatenate([indices for _, indices in batches.index_stream(recipe, images, iteration)])


@pytest.fixture
def split() -> Split:
    """55 images, each identified by one pixel, and labels that are a function of that pixel."""
    images = np.zeros((55, 28, 28), np.uint8)
    images[:, 14, 14] = 100 + np.arange(55)
    images[:, 10:18, 12] = 200
    return Split(images, (np.arange(55) * 7 % 10).astype(np.uint8))


@pytest.mark.parametrize("every", [1, 4, 11, 33, 50])
def test_batches_traverse_one_permutation_per_epoch_for_any_evaluation_interval(every: int) -> None:
    recipe = make_recipe(every)
    blocks = [indices_from(recipe, 55, begin) for begin in range(0, 33, every)]
    assert [len(block) for block in blocks] == [10 * min(every, 33 - begin) for begin in range(0, 33, every)]
    epochs = np.concatenate(blocks).reshape(6, 55)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(55), (6, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 6
    same, other = (indices_from(make_recipe(33, f"seed={seed}"), 55, 0) for seed in (0, 1))
    np.testing.assert_array_equal(epochs.ravel(), same)
    assert np.mean(epochs.ravel() == other) < 0.2
    numbers = [np.full(len(indices), epoch) for epoch, indices in batches.index_stream(make_recipe(33), 55, 0)]
    np.testing.assert_array_equal(np.concatenate(numbers), np.repeat(np.arange(6), 55))


def test_a_batch_may_be_larger_than_the_training_split() -> None:
    recipe = Recipe.load("smoke", ["batch_size=25", "iterations=2", "evaluate_every=1", "print_every=1"])
    counts = np.bincount(indices_from(recipe, 10, 1), minlength=10)
    assert counts.sum() == 25
    assert set(counts) == {2, 3}


def test_drawn_digits_are_a_share_of_every_copy_and_new_in_each(split: Split) -> None:
    recipe = make_recipe(33, "drawn_share=0.5", "seed=3")
    assert batches.copy_size(recipe, 55) == 110
    copies = [batches.augmented_copy(split, recipe, (3, number)) for number in (0, 0, 1)]
    for copy in copies:
        np.testing.assert_array_equal(copy.images[:55], split.images)
        np.testing.assert_array_equal(copy.labels[:55], split.labels)
        assert sorted(np.bincount(copy.labels[55:], minlength=10)) == [5] * 5 + [6] * 5
    np.testing.assert_array_equal(copies[0].images, copies[1].images)
    assert (copies[0].images[55:] != copies[2].images[55:]).any(axis=(1, 2)).all()
    block = BatchStream(recipe, split).block_at(0)
    marked = block.images[:, :, 14, 12] == 200
    assert 0.3 < marked.mean() < 0.7
    np.testing.assert_array_equal(block.targets, np.eye(10)[block.labels])


def test_drawn_digits_are_augmented_as_the_others(split: Split) -> None:
    overrides = ["drawn_share=0.5", "rotation=9"]
    plain, rotated = (
        batches.augmented_copy(split, make_recipe(33, *keys), (0, 0)) for keys in (overrides[:1], overrides)
    )
    assert (plain.images != rotated.images).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(plain.labels, rotated.labels)


def test_without_a_teacher_the_targets_are_one_hot_labels(split: Split) -> None:
    block = BatchStream(make_recipe(11), split).block_at(11)
    assert block.images.shape == (11, 10, 28, 28)
    named = block.images[:, :, 14, 14].astype(int) - 100
    np.testing.assert_array_equal(block.labels, split.labels[named])
    np.testing.assert_array_equal(block.targets, np.eye(10)[split.labels[named]])


class FakeTeacher:
    """Returns logits that are a function of the image's sum, and records the images."""

    def __init__(self) -> None:
        self.seen: list[Images] = []

    def __call__(self, images: Images) -> npt.NDArray[np.float64]:
        self.seen.append(images)
        return np.asarray(images.sum(axis=(1, 2))[:, None] / 1000 * np.arange(10))


def test_distilled_targets_are_of_the_same_augmented_images_and_computed_once_per_copy(split: Split) -> None:
    recipe = make_recipe(3, "rotation=20", "augmented_copies=2", "distillation_temperature=2")
    teacher = FakeTeacher()
    stream = BatchStream(recipe, split, teacher)
    blocks = [stream.block_at(iteration) for iteration in range(0, 33, 3)]
    images = np.concatenate([block.images for block in blocks])
    targets = np.concatenate([block.targets for block in blocks])
    expected = special.softmax(FakeTeacher()(images.reshape(-1, 28, 28)) / 2, axis=1)
    np.testing.assert_allclose(targets.reshape(-1, 10), expected, rtol=1e-4, atol=1e-7)
    assert len(teacher.seen) == 2
    assert not np.array_equal(teacher.seen[0], teacher.seen[1])
    epochs = images.reshape(6, 55, 784)
    orders = np.concatenate([indices for _, indices in batches.index_stream(make_recipe(33), 55, 0)]).reshape(6, 55)
    for epoch, indices in zip(epochs, orders, strict=True):
        copies = [np.array_equal(epoch, copy.reshape(55, 784)[indices]) for copy in teacher.seen]
        assert sum(copies) == 1


def test_the_targets_of_drawn_digits_are_their_labels(split: Split) -> None:
    teacher = FakeTeacher()
    block = BatchStream(make_recipe(33, "drawn_share=0.5"), split, teacher).block_at(0)
    assert [len(images) for images in teacher.seen[:1]] == [55]
    one_hot = (block.targets.max(axis=2) == 1) & (block.targets.argmax(axis=2) == block.labels)
    is_drawn = block.images[:, :, 10:18, 12].min(axis=2) != 200
    assert one_hot[is_drawn].all()
    assert not one_hot[~is_drawn].any()


def test_hard_labels_have_the_weight_of_the_recipe(split: Split) -> None:
    recipes = (make_recipe(11, f"hard_label_weight={weight}") for weight in (0, 0.4))
    soft, mixed = (BatchStream(recipe, split, FakeTeacher()).block_at(0) for recipe in recipes)
    expected = 0.4 * np.eye(10)[soft.labels] + 0.6 * soft.targets
    np.testing.assert_allclose(mixed.targets, expected, atol=1e-6)
    assert np.abs(mixed.targets - soft.targets).max() > 0.1


def test_without_copies_every_epoch_is_augmented_anew(split: Split) -> None:
    recipe = make_recipe(33, "rotation=20", "batch_size=55", "iterations=6")
    block = BatchStream(recipe, split).block_at(0)
    seen = [{image.tobytes() for image in epoch} for epoch in block.images]
    assert len(set.union(*seen)) > 6 * 50


def test_a_block_is_the_same_after_a_resume(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    for kind, count in {"PAIRS": 100, "TEXTURES": 100, "DRAWINGS": 1, "SCRIBBLES": 20}.items():
        monkeypatch.setattr(outliers, kind, count)
    recipe = make_recipe(4, "rotation=20", "augmented_copies=3", "outliers_per_batch=5")
    continuous = BatchStream(recipe, split)
    block = [continuous.block_at(iteration) for iteration in range(0, 20, 4)][-1]
    resumed = BatchStream(recipe, split).block_at(16)
    assert block.images.shape == (4, 15, 28, 28)
    assert block.labels.shape == (4, 10)
    for expected, actual in zip(block, resumed, strict=True):
        np.testing.assert_array_equal(actual, expected)
    assert isinstance(block, BatchBlock)
    without_outliers = BatchStream(make_recipe(4, "rotation=20", "augmented_copies=3"), split).block_at(16)
    np.testing.assert_array_equal(block.images[:, :10], without_outliers.images)

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special

from training.data import batches, outliers
from training.data.batches import BatchBlock, BatchStream
from training.data.mnist import Split
from training.recipe import Recipe

CUT = ["iterations=33", "batch_size=10"]


def cut(every: int, *words: str) -> Recipe:
    return Recipe.load("smoke", [*CUT, f"evaluate_every={every}", f"print_every={every}", *words])


def order(recipe: Recipe, images: int, iteration: int) -> npt.NDArray[np.int64]:
    return np.concatenate([indices for _, indices in batches.index_stream(recipe, images, iteration)])


@pytest.fixture
def part() -> Split:
    """55 images, each with one pixel that names it, and labels that follow from it."""
    images = np.zeros((55, 28, 28), np.uint8)
    images[:, 14, 14] = 100 + np.arange(55)
    images[:, 10:18, 12] = 200
    return Split(images, (np.arange(55) * 7 % 10).astype(np.uint8))


@pytest.mark.parametrize("every", [1, 4, 11, 33, 50])
def test_batches_run_through_one_permutation_after_another_however_they_are_cut(every: int) -> None:
    recipe = cut(every)
    pieces = [order(recipe, 55, begin) for begin in range(0, 33, every)]
    assert [len(piece) for piece in pieces] == [10 * min(every, 33 - begin) for begin in range(0, 33, every)]
    epochs = np.concatenate(pieces).reshape(6, 55)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(55), (6, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 6
    same, other = (order(cut(33, f"seed={seed}"), 55, 0) for seed in (0, 1))
    np.testing.assert_array_equal(epochs.ravel(), same)
    assert np.mean(epochs.ravel() == other) < 0.2
    numbers = [np.full(len(indices), epoch) for epoch, indices in batches.index_stream(cut(33), 55, 0)]
    np.testing.assert_array_equal(np.concatenate(numbers), np.repeat(np.arange(6), 55))


def test_a_batch_may_be_larger_than_the_training_part() -> None:
    recipe = Recipe.load("smoke", ["batch_size=25", "iterations=2", "evaluate_every=1", "print_every=1"])
    counts = np.bincount(order(recipe, 10, 1), minlength=10)
    assert counts.sum() == 25
    assert set(counts) == {2, 3}


def test_without_a_teacher_the_answers_are_the_labels_of_the_very_images(part: Split) -> None:
    lesson = BatchStream(cut(11), part).block_at(11)
    assert lesson.images.shape == (11, 10, 28, 28)
    named = lesson.images[:, :, 14, 14].astype(int) - 100
    np.testing.assert_array_equal(lesson.labels, part.labels[named])
    np.testing.assert_array_equal(lesson.targets, np.eye(10)[part.labels[named]])


class Teacher:
    """Answers by the image's sum, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[npt.NDArray[np.uint8]] = []

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        self.asked.append(images)
        return np.asarray(images.sum(axis=(1, 2))[:, None] / 1000 * np.arange(10))


def test_a_teacher_answers_for_the_very_images_that_are_taught_and_once_a_copy(part: Split) -> None:
    recipe = cut(3, "rotation=20", "augmented_copies=2", "distillation_temperature=2")
    teacher = Teacher()
    taught = BatchStream(recipe, part, teacher)
    whole = [taught.block_at(iteration) for iteration in range(0, 33, 3)]
    images = np.concatenate([lesson.images for lesson in whole])
    targets = np.concatenate([lesson.targets for lesson in whole])
    expected = special.softmax(Teacher()(images.reshape(-1, 28, 28)) / 2, axis=1)
    np.testing.assert_allclose(targets.reshape(-1, 10), expected, rtol=1e-4, atol=1e-7)
    assert len(teacher.asked) == 2
    assert not np.array_equal(teacher.asked[0], teacher.asked[1])
    epochs = images.reshape(6, 55, 784)
    order_of = np.concatenate([indices for _, indices in batches.index_stream(cut(33), 55, 0)]).reshape(6, 55)
    for epoch, indices in zip(epochs, order_of, strict=True):
        copies = [np.array_equal(epoch, copy.reshape(55, 784)[indices]) for copy in teacher.asked]
        assert sum(copies) == 1


def test_labels_have_the_share_that_the_recipe_gives_them(part: Split) -> None:
    alone, mixed = (
        BatchStream(cut(11, f"hard_label_weight={share}"), part, Teacher()).block_at(0) for share in (0, 0.4)
    )
    expected = 0.4 * np.eye(10)[alone.labels] + 0.6 * alone.targets
    np.testing.assert_allclose(mixed.targets, expected, atol=1e-6)
    assert np.abs(mixed.targets - alone.targets).max() > 0.1


def test_new_distortions_have_no_end_without_copies(part: Split) -> None:
    recipe = cut(33, "rotation=20", "batch_size=55", "iterations=6")
    lesson = BatchStream(recipe, part).block_at(0)
    seen = [{image.tobytes() for image in epoch} for epoch in lesson.images]
    assert len(set.union(*seen)) > 6 * 50


def test_a_lesson_is_the_same_wherever_a_run_begins(part: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    for kind in ("PAIRS", "FIELDS"):
        monkeypatch.setattr(outliers, kind, 100)
    recipe = cut(4, "rotation=20", "augmented_copies=3", "outliers_per_batch=5")
    through = BatchStream(recipe, part)
    lesson = [through.block_at(iteration) for iteration in range(0, 20, 4)][-1]
    alone = BatchStream(recipe, part).block_at(16)
    assert lesson.images.shape == (4, 15, 28, 28)
    assert lesson.labels.shape == (4, 10)
    for one, same in zip(lesson, alone, strict=True):
        np.testing.assert_array_equal(one, same)
    assert isinstance(lesson, BatchBlock)
    plain = BatchStream(cut(4, "rotation=20", "augmented_copies=3"), part).block_at(16)
    np.testing.assert_array_equal(lesson.images[:, :10], plain.images)

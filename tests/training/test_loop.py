from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy import special

from training import augment, loop, network
from training.dataset import Dataset, Part
from training.loop import Row
from training.network import Layer, Parameters
from training.recipe import Recipe

Floats = npt.NDArray[np.floating[Any]]
Arrays = list[Floats]

TABLE = {
    1000: (0.8475, 4905.8),
    2000: (0.8905, 3626.2),
    3000: (0.9059, 3097.3),
    4000: (0.9146, 2835.0),
    5000: (0.9219, 2635.5),
    6000: (0.9248, 2501.2),
    7000: (0.9265, 2452.4),
    8000: (0.9327, 2344.5),
    9000: (0.9327, 2329.4),
    10000: (0.9339, 2241.6),
}


@pytest.mark.parametrize("every", [1, 4, 11, 33, 50])
def test_batches_run_through_one_permutation_after_another_however_they_are_cut(every: int) -> None:
    recipe = Recipe.load("quick", ["iterations=33", "batch_size=10", f"evaluate_every={every}", f"print_every={every}"])
    pieces = [loop.batches(recipe, 55, begin) for begin in range(0, 33, every)]
    assert [len(piece) for piece in pieces] == [min(every, 33 - begin) for begin in range(0, 33, every)]
    assert {piece.shape[1] for piece in pieces} == {10}
    epochs = np.concatenate(pieces).reshape(6, 55)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(55), (6, 1)))
    assert len({tuple(epoch) for epoch in epochs}) == 6
    words = ["iterations=33", "batch_size=10", "evaluate_every=33", "print_every=33"]
    same, other = (loop.batches(Recipe.load("quick", [*words, f"seed={seed}"]), 55, 0).ravel() for seed in (0, 1))
    np.testing.assert_array_equal(epochs.ravel(), same)
    assert np.mean(epochs.ravel() == other) < 0.2


def test_a_batch_may_be_larger_than_the_training_part() -> None:
    recipe = Recipe.load("quick", ["batch_size=25", "iterations=2", "evaluate_every=1", "print_every=1"])
    counts = np.bincount(loop.batches(recipe, 10, 1).ravel(), minlength=10)
    assert counts.sum() == 25
    assert set(counts) == {2, 3}


@pytest.mark.parametrize(
    ("schedule", "warm_up", "rates"),
    [
        ("constant", 0, {0: 1, 50: 1, 99: 1}),
        ("constant", 10, {0: 0.1, 4: 0.5, 9: 1, 10: 1, 99: 1}),
        ("cosine", 0, {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 75: (1 - 0.5**0.5) / 2, 100: 0}),
        ("cosine", 20, {0: 0.05, 19: 1, 20: 1, 60: 0.5, 80: (1 - 0.5**0.5) / 2, 100: 0}),
    ],
)
def test_rate_follows_warm_up_constant_and_cosine(schedule: str, warm_up: int, rates: dict[int, float]) -> None:
    words = [f"schedule={schedule}", f"warm_up={warm_up}", "iterations=100", "learning_rate=0.02"]
    recipe = Recipe.load("quick", words)
    given = [float(loop.rate(recipe, tf.constant(iteration))) for iteration in rates]
    assert given == pytest.approx([0.02 * share for share in rates.values()], abs=1e-8)


ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "sigmoid": (special.expit, lambda x: special.expit(x) * (1 - special.expit(x))),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "gelu": (
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
}


def gradients(recipe: Recipe, arrays: Arrays, pixels: Floats, labels: Floats) -> tuple[Arrays, Floats, Floats]:
    """Backpropagation by hand: the gradient of every array, the logits, and the cross-entropy of each image."""
    function, slope = ACTIVATIONS[recipe.activation]
    inputs, sums = [pixels], []
    for index in range(0, len(arrays), 2):
        sums.append(inputs[-1] @ arrays[index] + arrays[index + 1])
        inputs.append(function(sums[-1]))
    entropies = -special.log_softmax(sums[-1], axis=1)[np.arange(len(labels)), labels.astype(int)]
    error = special.softmax(sums[-1], axis=1) - np.eye(10)[labels.astype(int)]
    error = error if recipe.loss_reduction == "sum" else error / len(labels)
    found: Arrays = []
    for index in reversed(range(len(sums))):
        found = [inputs[index].T @ error, error.sum(axis=0), *found]
        if index:
            error = (error @ arrays[2 * index].T) * slope(sums[index - 1])
    return found, sums[-1], entropies


def flat(parameters: Parameters) -> Arrays:
    return [np.asarray(array, np.float64) for layer in parameters for array in layer]


class Steps:
    """Some compiled steps of a small recipe on made images, beside what NumPy has to repeat."""

    def __init__(self, recipe: Recipe) -> None:
        random = np.random.default_rng(5)
        self.images = random.integers(0, 256, (20, 28, 28), np.uint8)
        self.labels = random.integers(0, 10, 20).astype(np.uint8)
        self.order = random.integers(0, 20, (recipe.iterations, recipe.batch_size)).astype(np.int32)
        begin = loop.start(recipe)
        self.initial = flat(begin.parameters)
        draws = augment.draw(recipe, self.order.shape, (0, 0))
        self.end, (accuracies, entropies) = loop.compile_steps(recipe)(
            begin, tf.constant(self.images), tf.constant(self.labels), tf.constant(self.order), draws
        )
        self.accuracies, self.entropies = np.asarray(accuracies), np.asarray(entropies)

    def batch(self, step: int) -> tuple[Floats, Floats]:
        taken = self.order[step]
        return self.images[taken].reshape(-1, 784) / 255, self.labels[taken].astype(float)


def test_gradient_descent_takes_the_steps_that_numpy_takes() -> None:
    words = ["layers=12,8", "batch_size=6", "iterations=3", "learning_rate=0.02", "optimiser=gradient_descent"]
    words += ["activation=sigmoid", "loss_reduction=sum", "schedule=constant", "warm_up=2"]
    recipe = Recipe.load("quick", words)
    steps = Steps(recipe)
    arrays = steps.initial
    for step, rate in enumerate((0.01, 0.02, 0.02)):
        pixels, labels = steps.batch(step)
        slopes, logits, entropies = gradients(recipe, arrays, pixels, labels)
        assert steps.accuracies[step] == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
        assert steps.entropies[step] == pytest.approx(entropies.mean(), rel=1e-5)
        arrays = [array - rate * slope for array, slope in zip(arrays, slopes, strict=True)]
    assert int(steps.end.iteration) == 3
    for given, expected, before in zip(flat(steps.end.parameters), arrays, steps.initial, strict=True):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-6)
    for given, expected in zip(flat(loop.published(recipe, steps.end)), flat(steps.end.parameters), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize(("activation", "averaging"), [("relu", 0.9), ("gelu", 0.15)])
def test_adamw_and_averaging_take_the_steps_that_numpy_takes(activation: str, averaging: float) -> None:
    words = ["layers=12,8", "batch_size=6", "iterations=4", "learning_rate=0.01", "weight_decay=0.3", "warm_up=0"]
    recipe = Recipe.load("quick", [*words, f"activation={activation}", f"averaging={averaging}"])
    steps = Steps(recipe)
    arrays, average = steps.initial, steps.initial
    first, second = [np.zeros_like(array) for array in arrays], [np.zeros_like(array) for array in arrays]
    for step in range(4):
        rate = 0.01 * (1 + np.cos(np.pi * step / 4)) / 2
        slopes, _, _ = gradients(recipe, arrays, *steps.batch(step))
        first = [0.9 * m + 0.1 * slope for m, slope in zip(first, slopes, strict=True)]
        second = [0.999 * v + 0.001 * slope**2 for v, slope in zip(second, slopes, strict=True)]
        moved = []
        for array, m, v in zip(arrays, first, second, strict=True):
            move = (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
            moved.append(array - rate * (move + (0.3 * array if array.ndim == 2 else 0)))
        arrays = moved
        keep = min(averaging, (1 + step) / (10 + step))
        average = [keep * mean + (1 - keep) * array for mean, array in zip(average, arrays, strict=True)]
    given_average = flat(loop.published(recipe, steps.end))
    for given, expected in zip(flat(steps.end.parameters) + given_average, arrays + average, strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=2e-5)
    assert not np.allclose(given_average[0], flat(steps.end.parameters)[0], atol=1e-4)


def test_score_is_that_of_a_forward_pass_in_numpy() -> None:
    random = np.random.default_rng(3)
    weights, biases = random.normal(0, 0.1, (784, 10)), random.normal(0, 1, 10)
    part = Part(random.integers(0, 256, (50, 28, 28), np.uint8), random.integers(0, 10, 50).astype(np.uint8))
    logits = part.images.reshape(50, 784) / 255 @ weights + biases
    layer = Layer(tf.constant(weights, tf.float32), tf.constant(biases, tf.float32))
    accuracy, cross_entropy = loop.score((layer,), part, "relu")
    assert accuracy == np.mean(logits.argmax(axis=1) == part.labels)
    expected = -special.log_softmax(logits, axis=1)[np.arange(50), part.labels].mean()
    assert cross_entropy == pytest.approx(expected, rel=1e-5)


def run(recipe: Recipe, data: Dataset) -> tuple[Parameters, list[Row]]:
    rows: list[Row] = []
    return loop.train(recipe, data, rows.append), rows


def test_a_run_follows_from_its_seed_to_the_bit_and_the_test_part_decides_nothing(mnist: Dataset) -> None:
    words = ["layers=20", "iterations=25", "evaluate_every=10", "print_every=10", "batch_size=32"]
    recipe = Recipe.load("best", words)
    hidden = Part(mnist.test.images[::-1], mnist.test.labels)
    unseen = Dataset(mnist.name, mnist.training, mnist.validation, hidden, mnist.files)
    first, rows = run(recipe, mnist)
    again, rows_again = run(recipe, unseen)
    for one, same in zip(flat(first), flat(again), strict=True):
        np.testing.assert_array_equal(one, same)
    assert [row.iteration for row in rows] == [10, 20, 25]
    assert [(row.training, row.validation) for row in rows] == [(row.training, row.validation) for row in rows_again]
    assert rows[-1].test != rows_again[-1].test


def test_quick_reaches_94_percent(mnist: Dataset) -> None:
    recipe = Recipe.load("quick")
    parameters, rows = run(recipe, mnist)
    assert [row.iteration for row in rows] == list(range(50, 501, 50))
    assert rows[-1].test.accuracy > 0.94
    assert rows[-1].test == loop.score(parameters, mnist.test, recipe.activation)
    assert rows[-1].validation == loop.score(parameters, mnist.validation, recipe.activation)
    assert rows[0].training.cross_entropy > rows[-1].training.cross_entropy
    assert rows[-1].training.accuracy > 0.92


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_notebook_lands_on_the_published_table(seed: int, mnist: Dataset) -> None:
    parameters, rows = run(Recipe.load("notebook", [f"seed={seed}"]), mnist)
    assert network.count(parameters) == 185_300
    given = {row.iteration: (row.test.accuracy, 10_000 * row.test.cross_entropy) for row in rows}
    for iteration, (accuracy, cross_entropy) in TABLE.items():
        assert given[iteration][0] == pytest.approx(accuracy, abs=0.015), iteration
        assert given[iteration][1] == pytest.approx(cross_entropy, rel=0.1), iteration


def test_one_layer_gets_above_92_percent(mnist: Dataset) -> None:
    assert run(Recipe.load("one_layer"), mnist)[1][-1].test.accuracy > 0.92

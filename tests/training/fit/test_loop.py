"""The training loop: scores, loss, reproducibility, resumption, and the expected accuracy of the recipes."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from tests.training.fit.numpy_reference import Steps, backward, flat, forward
from training.data import outliers
from training.data.mnist import Dataset, Split
from training.fit import checkpoint, loop, optimisers
from training.model import network
from training.model.network import Layer, Parameters
from training.recipe import Recipe
from training.types import EvaluationRow

TUTORIAL = {
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
"""Test accuracy and summed cross-entropy by iteration, as the tutorial published them."""


def test_score_equals_a_forward_pass_in_numpy() -> None:
    random = np.random.default_rng(3)
    weights, biases = random.normal(0, 0.1, (784, 10)), random.normal(0, 1, 10)
    split = Split(random.integers(0, 256, (50, 28, 28), np.uint8), random.integers(0, 10, 50).astype(np.uint8))
    logits = split.images.reshape(50, 784) / 255 @ weights + biases
    layer = Layer(tf.constant(weights, tf.float32), tf.constant(biases, tf.float32))
    accuracy, cross_entropy = loop.score((layer,), split, "relu")
    assert accuracy == np.mean(logits.argmax(axis=1) == split.labels)
    expected = -special.log_softmax(logits, axis=1)[np.arange(50), split.labels].mean()
    assert cross_entropy == pytest.approx(expected, rel=1e-5)


def run(recipe: Recipe, data: Dataset) -> tuple[Parameters, list[EvaluationRow]]:
    """Train a recipe; returns the final parameters and the history."""
    rows: list[EvaluationRow] = []
    return loop.train(recipe, data, rows.append), rows


def test_a_run_is_reproducible_to_the_bit_and_independent_of_the_test_split(small_mnist: Dataset) -> None:
    overrides = [
        "layers=20",
        "iterations=25",
        "evaluate_every=10",
        "print_every=10",
        "batch_size=32",
        "outliers_per_batch=0",
    ]
    recipe = Recipe.load("best", overrides)
    shuffled = Split(small_mnist.test.images[::-1], small_mnist.test.labels)
    first, rows = run(recipe, small_mnist)
    again, rows_again = run(recipe, dataclasses.replace(small_mnist, test=shuffled))
    for one, same in zip(flat(first), flat(again), strict=True):
        np.testing.assert_array_equal(one, same)
    assert [row.iteration for row in rows] == [10, 20, 25]
    assert [(row.training, row.validation) for row in rows] == [(row.training, row.validation) for row in rows_again]
    assert rows[-1].test != rows_again[-1].test


def test_smoke_exceeds_94_percent(mnist: Dataset) -> None:
    recipe = Recipe.load("smoke")
    parameters, rows = run(recipe, mnist)
    assert [row.iteration for row in rows] == list(range(50, 501, 50))
    assert rows[-1].test.accuracy > 0.94
    assert rows[-1].test == loop.score(parameters, mnist.test, recipe.activation)
    assert rows[-1].validation == loop.score(parameters, mnist.validation, recipe.activation)
    assert rows[0].training.cross_entropy > rows[-1].training.cross_entropy
    assert rows[-1].training.accuracy > 0.92


def test_notebook_reproduces_the_table_of_the_tutorial(mnist: Dataset) -> None:
    parameters, rows = run(Recipe.load("notebook", ["evaluate_every=1000"]), mnist)
    assert network.parameter_count(parameters) == 185_300
    actual = {row.iteration: (row.test.accuracy, 10_000 * row.test.cross_entropy) for row in rows}
    for iteration, (accuracy, cross_entropy) in TUTORIAL.items():
        assert actual[iteration][0] == pytest.approx(accuracy, abs=0.015), iteration
        assert actual[iteration][1] == pytest.approx(cross_entropy, rel=0.1), iteration


def test_one_layer_exceeds_92_percent(mnist: Dataset) -> None:
    assert run(Recipe.load("one_layer", ["evaluate_every=1000"]), mnist)[1][-1].test.accuracy > 0.92


@pytest.mark.parametrize(
    ("reduction", "temperature", "outliers_per_batch"), [("mean", 2.0, 0), ("sum", 1.0, 3), ("mean", 3.0, 4)]
)
def test_the_loss_combines_distillation_and_outlier_exposure(
    reduction: str, temperature: float, outliers_per_batch: int
) -> None:
    overrides = ["layers=12,8", "batch_size=6", "iterations=1", "learning_rate=0.1", "optimiser=gradient_descent"]
    overrides += [
        "schedule=constant",
        "warmup_iterations=0",
        "teacher_widths=4",
        "outlier_weight=0.7",
        f"loss_reduction={reduction}",
    ]
    recipe = Recipe.load(
        "smoke", [*overrides, f"distillation_temperature={temperature}", f"outliers_per_batch={outliers_per_batch}"]
    )
    steps = Steps(recipe)
    inputs, sums = forward(recipe, steps.initial, steps.pixels(0))
    logits = sums[-1]
    digit_error = special.softmax(logits[:6] / temperature, axis=1) - steps.block.targets[0]
    error = np.concatenate([temperature * digit_error, 0.7 * (special.softmax(logits[6:], axis=1) - 0.1)])
    error = error if reduction == "sum" else error / 6
    gradients = backward(recipe, steps.initial, inputs, sums, error)
    assert len(logits) == 6 + outliers_per_batch
    assert steps.accuracies[0] == pytest.approx(np.mean(logits[:6].argmax(axis=1) == steps.block.labels[0]))
    for actual, gradient, before in zip(flat(steps.end.parameters), gradients, steps.initial, strict=True):
        assert np.abs(gradient).max() > 1e-3
        np.testing.assert_allclose(actual, before - 0.1 * gradient, rtol=1e-3, atol=1e-5)


class Interrupted(Exception):
    """Interrupts a run."""


def test_a_resumed_run_equals_an_uninterrupted_run(
    small_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    for kind in ("PAIRS", "TEXTURES"):
        monkeypatch.setattr(outliers, kind, 100)
    monkeypatch.setattr(loop, "compile_steps", functools.cache(loop.compile_steps))
    overrides = [
        "layers=20",
        "iterations=50",
        "evaluate_every=10",
        "print_every=10",
        "batch_size=32",
        "optimiser=adamw",
    ]
    overrides += ["rotation=9", "augmented_copies=2", "ema_decay=0.9", "outliers_per_batch=4"]
    recipe = Recipe.load("smoke", overrides)
    training = Split(small_mnist.training.images[:300], small_mnist.training.labels[:300])
    data = dataclasses.replace(small_mnist, training=training)
    uninterrupted, rows = run(recipe, data)
    checkpoint_path = tmp_path / "state.npz"

    def interrupt(row: EvaluationRow) -> None:
        if row.iteration == 30:
            raise Interrupted

    with pytest.raises(Interrupted):
        loop.train(recipe, data, interrupt, checkpoint_path=checkpoint_path)
    assert int(checkpoint.load(checkpoint_path, optimisers.initial_state(recipe)).iteration) == 20
    resumed_rows: list[EvaluationRow] = []
    resumed = loop.train(recipe, data, resumed_rows.append, checkpoint_path=checkpoint_path)
    assert resumed_rows == rows[2:]
    for expected, actual in zip(flat(uninterrupted), flat(resumed), strict=True):
        np.testing.assert_array_equal(actual, expected)
    finished = loop.train(recipe, data, lambda row: pytest.fail(f"{row}"), checkpoint_path=checkpoint_path)
    np.testing.assert_array_equal(flat(finished)[0], flat(uninterrupted)[0])

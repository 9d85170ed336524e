from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from tests.training.fit.numpy_reference import Steps, backward, flat, forward
from training.data import outliers
from training.data.mnist import Dataset, Split
from training.fit import checkpoint, loop, optimisers
from training.fit.loop import EvaluationRow
from training.model import network
from training.model.network import Layer, Parameters
from training.recipe import Recipe

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


def test_score_is_that_of_a_forward_pass_in_numpy() -> None:
    random = np.random.default_rng(3)
    weights, biases = random.normal(0, 0.1, (784, 10)), random.normal(0, 1, 10)
    part = Split(random.integers(0, 256, (50, 28, 28), np.uint8), random.integers(0, 10, 50).astype(np.uint8))
    logits = part.images.reshape(50, 784) / 255 @ weights + biases
    layer = Layer(tf.constant(weights, tf.float32), tf.constant(biases, tf.float32))
    accuracy, cross_entropy = loop.score((layer,), part, "relu")
    assert accuracy == np.mean(logits.argmax(axis=1) == part.labels)
    expected = -special.log_softmax(logits, axis=1)[np.arange(50), part.labels].mean()
    assert cross_entropy == pytest.approx(expected, rel=1e-5)


def run(recipe: Recipe, data: Dataset) -> tuple[Parameters, list[EvaluationRow]]:
    rows: list[EvaluationRow] = []
    return loop.train(recipe, data, rows.append), rows


def test_a_run_follows_from_its_seed_to_the_bit_and_the_test_part_decides_nothing(mnist: Dataset) -> None:
    words = [
        "layers=20",
        "iterations=25",
        "evaluate_every=10",
        "print_every=10",
        "batch_size=32",
        "outliers_per_batch=0",
    ]
    recipe = Recipe.load("best", words)
    hidden = Split(mnist.test.images[::-1], mnist.test.labels)
    unseen = Dataset(mnist.name, mnist.training, mnist.validation, hidden, mnist.files)
    first, rows = run(recipe, mnist)
    again, rows_again = run(recipe, unseen)
    for one, same in zip(flat(first), flat(again), strict=True):
        np.testing.assert_array_equal(one, same)
    assert [row.iteration for row in rows] == [10, 20, 25]
    assert [(row.training, row.validation) for row in rows] == [(row.training, row.validation) for row in rows_again]
    assert rows[-1].test != rows_again[-1].test


def test_quick_reaches_94_percent(mnist: Dataset) -> None:
    recipe = Recipe.load("smoke")
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
    assert network.parameter_count(parameters) == 185_300
    given = {row.iteration: (row.test.accuracy, 10_000 * row.test.cross_entropy) for row in rows}
    for iteration, (accuracy, cross_entropy) in TABLE.items():
        assert given[iteration][0] == pytest.approx(accuracy, abs=0.015), iteration
        assert given[iteration][1] == pytest.approx(cross_entropy, rel=0.1), iteration


def test_one_layer_gets_above_92_percent(mnist: Dataset) -> None:
    assert run(Recipe.load("one_layer"), mnist)[1][-1].test.accuracy > 0.92


@pytest.mark.parametrize(("reduction", "softness", "strangers"), [("mean", 2.0, 0), ("sum", 1.0, 3), ("mean", 3.0, 4)])
def test_the_loss_is_that_of_a_teacher_and_of_strangers(reduction: str, softness: float, strangers: int) -> None:
    words = ["layers=12,8", "batch_size=6", "iterations=1", "learning_rate=0.1", "optimiser=gradient_descent"]
    words += [
        "schedule=constant",
        "warmup_iterations=0",
        "teacher_widths=4",
        "outlier_weight=0.7",
        f"loss_reduction={reduction}",
    ]
    recipe = Recipe.load("smoke", [*words, f"distillation_temperature={softness}", f"outliers_per_batch={strangers}"])
    steps = Steps(recipe)
    inputs, sums = forward(recipe, steps.initial, steps.pixels(0))
    logits = sums[-1]
    softened = special.softmax(logits[:6] / softness, axis=1) - steps.lesson.targets[0]
    error = np.concatenate([softness * softened, 0.7 * (special.softmax(logits[6:], axis=1) - 0.1)])
    error = error if reduction == "sum" else error / 6
    slopes = backward(recipe, steps.initial, inputs, sums, error)
    assert len(logits) == 6 + strangers
    assert steps.accuracies[0] == pytest.approx(np.mean(logits[:6].argmax(axis=1) == steps.lesson.labels[0]))
    for given, slope, before in zip(flat(steps.end.parameters), slopes, steps.initial, strict=True):
        assert np.abs(slope).max() > 1e-3
        np.testing.assert_allclose(given, before - 0.1 * slope, rtol=1e-3, atol=1e-5)


class Broken(Exception):
    """What breaks a run off."""


def test_a_run_that_is_broken_off_goes_on_as_if_it_had_not_been(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outliers, "FONTS", ("cmtt10",))
    for kind in ("PAIRS", "FIELDS"):
        monkeypatch.setattr(outliers, kind, 100)
    words = ["layers=20", "iterations=50", "evaluate_every=10", "print_every=10", "batch_size=32", "optimiser=muon"]
    words += ["rotation=9", "augmented_copies=2", "ema_decay=0.9", "outliers_per_batch=4"]
    recipe = Recipe.load("smoke", words)
    parts = [Split(part.images[:300], part.labels[:300]) for part in (mnist.training, mnist.validation, mnist.test)]
    small = Dataset(mnist.name, parts[0], parts[1], parts[2], mnist.files)
    whole, rows = run(recipe, small)
    saved = tmp_path / "state.npz"

    def break_off(row: EvaluationRow) -> None:
        if row.iteration == 30:
            raise Broken

    with pytest.raises(Broken):
        loop.train(recipe, small, break_off, checkpoint_path=saved)
    assert int(checkpoint.load(saved, optimisers.initial_state(recipe)).iteration) == 20
    resumed: list[EvaluationRow] = []
    again = loop.train(recipe, small, resumed.append, checkpoint_path=saved)
    assert resumed == rows[2:]
    for one, same in zip(flat(whole), flat(again), strict=True):
        np.testing.assert_array_equal(one, same)
    finished = loop.train(recipe, small, lambda row: pytest.fail(f"{row}"), checkpoint_path=saved)
    np.testing.assert_array_equal(flat(finished)[0], flat(whole)[0])

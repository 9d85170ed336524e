import numpy as np
import pytest
import tensorflow as tf

from tests.training.fit.numpy_reference import Arrays, Floats, Steps, flat, gradients
from training.fit import optimisers
from training.recipe import Recipe


@pytest.mark.parametrize(
    ("schedule", "warmup", "rates"),
    [
        ("constant", 0, {0: 1, 50: 1, 99: 1}),
        ("constant", 10, {0: 0.1, 4: 0.5, 9: 1, 10: 1, 99: 1}),
        ("cosine", 0, {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 75: (1 - 0.5**0.5) / 2, 100: 0}),
        ("cosine", 20, {0: 0.05, 19: 1, 20: 1, 60: 0.5, 80: (1 - 0.5**0.5) / 2, 100: 0}),
    ],
)
def test_rate_follows_warmup_constant_and_cosine(schedule: str, warmup: int, rates: dict[int, float]) -> None:
    words = [f"schedule={schedule}", f"warmup_iterations={warmup}", "iterations=100", "learning_rate=0.02"]
    recipe = Recipe.load("smoke", words)
    given = [float(optimisers.learning_rate(recipe, tf.constant(iteration))) for iteration in rates]
    assert given == pytest.approx([0.02 * share for share in rates.values()], abs=1e-8)


def test_gradient_descent_takes_the_steps_that_numpy_takes() -> None:
    words = [
        "first_layer=float32",
        "layers=12,8",
        "batch_size=6",
        "iterations=3",
        "learning_rate=0.02",
        "optimiser=gradient_descent",
    ]
    words += ["activation=sigmoid", "loss_reduction=sum", "schedule=constant", "warmup_iterations=2"]
    recipe = Recipe.load("smoke", words)
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
    for given, expected in zip(steps.published, flat(steps.end.parameters), strict=True):
        np.testing.assert_array_equal(given, expected)


@pytest.mark.parametrize(("activation", "averaging"), [("relu", 0.9), ("gelu", 0.15)])
def test_adamw_and_averaging_take_the_steps_that_numpy_takes(activation: str, averaging: float) -> None:
    words = [
        "first_layer=float32",
        "layers=12,8",
        "batch_size=6",
        "iterations=4",
        "learning_rate=0.01",
        "weight_decay=0.3",
        "warmup_iterations=0",
    ]
    recipe = Recipe.load("smoke", [*words, f"activation={activation}", f"ema_decay={averaging}"])
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
    given_average = steps.published
    for given, expected in zip(flat(steps.end.parameters) + given_average, arrays + average, strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=2e-5)
    assert not np.allclose(given_average[0], flat(steps.end.parameters)[0], atol=1e-4)


def orthogonal(matrix: Floats) -> Floats:
    """Five Newton-Schulz steps, on the singular values alone: they keep the singular vectors."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return np.asarray((left * values) @ right)


def test_muon_takes_the_steps_that_numpy_takes() -> None:
    words = [
        "layers=12,20",
        "batch_size=6",
        "iterations=4",
        "learning_rate=0.01",
        "weight_decay=0.3",
        "warmup_iterations=0",
    ]
    words += ["optimiser=muon", "activation=silu", "schedule=constant"]
    recipe = Recipe.load("smoke", words)
    steps = Steps(recipe)
    arrays = steps.initial
    first, second = [np.zeros_like(array) for array in arrays], [np.zeros_like(array) for array in arrays]
    for step in range(4):
        slopes, _, _ = gradients(recipe, arrays, *steps.batch(step))
        moved: Arrays = []
        for index, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
            if index in (0, 2):
                first[index] = 0.95 * first[index] + 0.05 * slope
                ahead = 0.95 * first[index] + 0.05 * slope
                move = 0.2 * np.sqrt(max(array.shape)) * orthogonal(ahead) + 0.3 * array
            else:
                first[index] = 0.9 * first[index] + 0.1 * slope
                second[index] = 0.999 * second[index] + 0.001 * slope**2
                unbiased = first[index] / (1 - 0.9 ** (step + 1))
                move = unbiased / (np.sqrt(second[index] / (1 - 0.999 ** (step + 1))) + 1e-8)
                move = move + (0.3 * array if array.ndim == 2 else 0)
            moved.append(array - 0.01 * move)
        arrays = moved
    for given, expected, before in zip(flat(steps.end.parameters), arrays, steps.initial, strict=True):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (60, 60)])
def test_orthogonal_evens_the_singular_values_and_keeps_the_vectors(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    left, _, right = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 0.02, min(shape))
    given = np.asarray(optimisers.newton_schulz(tf.constant((left * values) @ right, tf.float32)))
    turned = left.T @ given @ right.T
    np.testing.assert_allclose(turned - np.diag(np.diag(turned)), 0, atol=1e-3)
    assert np.diag(turned).min() > 0.5
    assert np.diag(turned).max() < 1.3


def test_a_first_layer_in_int8_is_rounded_when_it_is_published_and_only_then() -> None:
    words = ["layers=12,8", "batch_size=6", "iterations=2", "ema_decay=0.5"]
    whole, plain = (Steps(Recipe.load("smoke", [*words, f"first_layer={kind}"])) for kind in ("int8", "float32"))
    for given, expected in zip(flat(whole.end.average), flat(plain.end.average), strict=True):
        np.testing.assert_array_equal(given, expected)
    steps = np.abs(plain.published[0]).max(axis=0) / 127
    assert 0 < np.abs(whole.published[0] - plain.published[0]).max() <= steps.max() / 2
    np.testing.assert_allclose(whole.published[0] / steps, np.rint(plain.published[0] / steps), atol=1e-4)
    for given, expected in zip(whole.published[1:], plain.published[1:], strict=True):
        np.testing.assert_array_equal(given, expected)

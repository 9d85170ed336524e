"""Schedules and optimisers, step by step against NumPy."""

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
def test_learning_rate_has_warmup_and_a_constant_or_cosine_schedule(
    schedule: str, warmup: int, rates: dict[int, float]
) -> None:
    overrides = [f"schedule={schedule}", f"warmup_iterations={warmup}", "iterations=100", "learning_rate=0.02"]
    recipe = Recipe.load("smoke", overrides)
    actual = [float(optimisers.learning_rate(recipe, tf.constant(iteration))) for iteration in rates]
    assert actual == pytest.approx([0.02 * factor for factor in rates.values()], abs=1e-8)


def test_gradient_descent_equals_numpy() -> None:
    overrides = [
        "first_layer=float32",
        "layers=12,8",
        "batch_size=6",
        "iterations=3",
        "learning_rate=0.02",
        "optimiser=gradient_descent",
    ]
    overrides += ["activation=sigmoid", "loss_reduction=sum", "schedule=constant", "warmup_iterations=2"]
    recipe = Recipe.load("smoke", overrides)
    steps = Steps(recipe)
    arrays = steps.initial
    for step, rate in enumerate((0.01, 0.02, 0.02)):
        pixels, labels = steps.batch(step)
        slopes, logits, entropies = gradients(recipe, arrays, pixels, labels)
        assert steps.accuracies[step] == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
        assert steps.entropies[step] == pytest.approx(entropies.mean(), rel=1e-5)
        arrays = [array - rate * slope for array, slope in zip(arrays, slopes, strict=True)]
    assert int(steps.end.iteration) == 3
    for actual, expected, before in zip(flat(steps.end.parameters), arrays, steps.initial, strict=True):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    for actual, expected in zip(steps.final, flat(steps.end.parameters), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(("activation", "ema_decay"), [("relu", 0.9), ("gelu", 0.15)])
def test_adamw_and_ema_equal_numpy(activation: str, ema_decay: float) -> None:
    overrides = [
        "first_layer=float32",
        "layers=12,8",
        "batch_size=6",
        "iterations=4",
        "learning_rate=0.01",
        "weight_decay=0.3",
        "warmup_iterations=0",
    ]
    recipe = Recipe.load("smoke", [*overrides, f"activation={activation}", f"ema_decay={ema_decay}"])
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
        keep = min(ema_decay, (1 + step) / (10 + step))
        average = [keep * mean + (1 - keep) * array for mean, array in zip(average, arrays, strict=True)]
    final = steps.final
    for actual, expected in zip(flat(steps.end.parameters) + final, arrays + average, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=2e-5)
    assert not np.allclose(final[0], flat(steps.end.parameters)[0], atol=1e-4)


def newton_schulz(matrix: Floats) -> Floats:
    """Five Newton-Schulz steps, applied to the singular values; the singular vectors do not change."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return np.asarray((left * values) @ right)


def test_muon_equals_numpy() -> None:
    overrides = [
        "layers=12,20",
        "batch_size=6",
        "iterations=4",
        "learning_rate=0.01",
        "weight_decay=0.3",
        "warmup_iterations=0",
    ]
    overrides += ["optimiser=muon", "activation=silu", "schedule=constant"]
    recipe = Recipe.load("smoke", overrides)
    steps = Steps(recipe)
    arrays = steps.initial
    first, second = [np.zeros_like(array) for array in arrays], [np.zeros_like(array) for array in arrays]
    for step in range(4):
        slopes, _, _ = gradients(recipe, arrays, *steps.batch(step))
        moved: Arrays = []
        for index, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
            if index in (0, 2):
                first[index] = 0.95 * first[index] + 0.05 * slope
                nesterov = 0.95 * first[index] + 0.05 * slope
                move = 0.2 * np.sqrt(max(array.shape)) * newton_schulz(nesterov) + 0.3 * array
            else:
                first[index] = 0.9 * first[index] + 0.1 * slope
                second[index] = 0.999 * second[index] + 0.001 * slope**2
                unbiased = first[index] / (1 - 0.9 ** (step + 1))
                move = unbiased / (np.sqrt(second[index] / (1 - 0.999 ** (step + 1))) + 1e-8)
                move = move + (0.3 * array if array.ndim == 2 else 0)
            moved.append(array - 0.01 * move)
        arrays = moved
    for actual, expected, before in zip(flat(steps.end.parameters), arrays, steps.initial, strict=True):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (60, 60)])
def test_newton_schulz_equalises_the_singular_values_and_keeps_the_vectors(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    left, _, right = np.linalg.svd(random.normal(size=shape), full_matrices=False)
    values = np.geomspace(1, 0.02, min(shape))
    result = np.asarray(optimisers.newton_schulz(tf.constant((left * values) @ right, tf.float32)))
    rotated = left.T @ result @ right.T
    np.testing.assert_allclose(rotated - np.diag(np.diag(rotated)), 0, atol=1e-3)
    assert np.diag(rotated).min() > 0.5
    assert np.diag(rotated).max() < 1.3


def test_an_int8_first_layer_is_quantised_in_the_final_parameters_only() -> None:
    overrides = ["layers=12,8", "batch_size=6", "iterations=2", "ema_decay=0.5"]
    int8, float32 = (Steps(Recipe.load("smoke", [*overrides, f"first_layer={dtype}"])) for dtype in ("int8", "float32"))
    for actual, expected in zip(flat(int8.end.average), flat(float32.end.average), strict=True):
        np.testing.assert_array_equal(actual, expected)
    scales = np.abs(float32.final[0]).max(axis=0) / 127
    assert 0 < np.abs(int8.final[0] - float32.final[0]).max() <= scales.max() / 2
    np.testing.assert_allclose(int8.final[0] / scales, np.rint(float32.final[0] / scales), atol=1e-4)
    for actual, expected in zip(int8.final[1:], float32.final[1:], strict=True):
        np.testing.assert_array_equal(actual, expected)

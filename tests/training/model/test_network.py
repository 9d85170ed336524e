"""The network against a forward pass in NumPy, its parameter count and its initialisation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy import special, stats

from training.model import network
from training.recipe import Recipe

Floats = npt.NDArray[np.floating[Any]]

REFERENCES: dict[str, Callable[[Floats], Floats]] = {
    "sigmoid": special.expit,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * 0.5 * (1 + special.erf(x / np.sqrt(2))),
    "silu": lambda x: x * special.expit(x),
}


@pytest.mark.parametrize("activation", REFERENCES)
def test_logits_equal_a_numpy_forward_pass(activation: str) -> None:
    random = np.random.default_rng(0)
    recipe = Recipe.load("smoke", [f"activation={activation}"])
    parameters = [
        (random.normal(0, 2 / np.sqrt(inputs), (inputs, units)), random.normal(0, 1, units))
        for inputs, units in [(784, 200), (200, 100), (100, 60), (60, 30), (30, 10)]
    ]
    images = random.integers(0, 256, (7, 28, 28), np.uint8)

    expected: Floats = images.reshape(7, 784) / 255
    for weights, biases in parameters[:-1]:
        expected = REFERENCES[activation](expected @ weights + biases)
    expected = expected @ parameters[-1][0] + parameters[-1][1]

    layers = tuple(network.Layer(tf.constant(w, tf.float32), tf.constant(b, tf.float32)) for w, b in parameters)
    actual = network.logits(layers, network.to_pixels(tf.constant(images)), recipe.activation)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "parameters"), [("notebook", 185_300), ("best", 185_300), ("one_layer", 7_850)])
def test_parameter_count(name: str, parameters: int) -> None:
    layers = network.initial_parameters(Recipe.load(name))
    assert network.parameter_count(layers) == parameters
    assert sum(np.size(array) for layer in layers for array in layer) == parameters


@pytest.mark.parametrize(
    ("overrides", "deviations"),
    [
        (["initialisation=truncated_normal", "initial_stddev=0.7"], [0.7] * 5),
        (["initialisation=he"], [(2 / inputs) ** 0.5 for inputs in (784, 200, 100, 60, 30)]),
    ],
)
def test_initial_weights_are_normal_truncated_at_two_standard_deviations(
    overrides: list[str], deviations: list[float]
) -> None:
    layers = network.initial_parameters(Recipe.load("smoke", overrides))
    for layer, deviation in zip(layers, deviations, strict=True):
        weights = np.ravel(layer.weights) / deviation
        assert np.abs(weights).max() <= 2 + 1e-6
        assert stats.kstest(weights, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
        assert not np.any(layer.biases)


def test_initial_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (network.initial_parameters(Recipe.load("smoke", [f"seed={seed}"])) for seed in (3, 3, 4))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.weights, same.weights)
        assert abs(np.corrcoef(np.ravel(one.weights), np.ravel(different.weights))[0, 1]) < 0.25
    equal_shapes = network.initial_parameters(Recipe.load("smoke", ["layers=784", "initialisation=truncated_normal"]))
    assert not np.array_equal(equal_shapes[0].weights[:, :10], equal_shapes[1].weights)

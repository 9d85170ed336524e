"""The network: fully connected layers from 784 pixels to 10 logits.

The parameters are a tuple of (weights, biases) pairs, so that the training loop can pass them through a compiled graph
as values.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from training.recipe import Recipe
from training.types import Tensor


class Layer(NamedTuple):
    """weights float32 [inputs, units], biases float32 [units]."""

    weights: Tensor
    biases: Tensor


Parameters = tuple[Layer, ...]

ACTIVATIONS = {"sigmoid": tf.nn.sigmoid, "relu": tf.nn.relu, "gelu": tf.nn.gelu, "silu": tf.nn.silu}


def initial_parameters(recipe: Recipe) -> Parameters:
    """Random weights from the recipe's seed (normal, truncated at two standard deviations) and zero biases."""
    layers = []
    for index, (inputs, units) in enumerate(zip(recipe.sizes, recipe.sizes[1:], strict=False)):
        he = recipe.initialisation == "he"
        stddev = math.sqrt(2 / inputs) if he else recipe.initial_stddev
        weights = tf.random.stateless_truncated_normal([inputs, units], [recipe.seed, index])
        layers.append(Layer(weights * stddev, tf.zeros([units])))
    return tuple(layers)


def logits(parameters: Parameters, pixels: Tensor, activation: str) -> Tensor:
    """Pixels float32 [N, 784], 0 to 1 -> logits float32 [N, 10]."""
    *hidden, last = parameters
    for layer in hidden:
        pixels = ACTIVATIONS[activation](pixels @ layer.weights + layer.biases)
    return pixels @ last.weights + last.biases


def to_pixels(images: Tensor) -> Tensor:
    """Images uint8 [N, 28, 28] -> pixels float32 [N, 784], 0 to 1."""
    return tf.reshape(tf.cast(images, tf.float32) / 255.0, [-1, 784])


def parameter_count(parameters: Parameters) -> int:
    """The number of weights and biases."""
    return sum(int(tf.size(array)) for layer in parameters for array in layer)

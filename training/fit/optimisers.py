"""Optimisers: learning rate schedule, gradient descent, AdamW, Muon, exponential moving average of the weights.

The state is a value: a step takes a state and returns the next, so that it can be compiled, saved and resumed.
Muon is our own although Keras has one: Keras keeps state in variables, here it passes as values through one graph.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from training.model import network, quantise
from training.model.network import Layer, Parameters
from training.recipe import Recipe
from training.types import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MUON_MOMENTUM = 0.95
MUON_SCALE = 0.2
"""Factor of the square root of a matrix's longer side; makes updates as large as those of AdamW."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class State(NamedTuple):
    """The state of a run between two iterations."""

    iteration: Tensor  # int32
    parameters: Parameters
    first: Parameters  # first moment: running mean of the gradient
    second: Parameters  # second moment: running mean of its square
    average: Parameters  # exponential moving average of the parameters


def initial_state(recipe: Recipe) -> State:
    """The state before the first iteration."""
    parameters = network.initial_parameters(recipe)
    zeros = tf.nest.map_structure(tf.zeros_like, parameters)
    return State(tf.constant(0), parameters, zeros, zeros, parameters)


def final_parameters(recipe: Recipe, state: State) -> Parameters:
    """The parameters to export: the EMA if the recipe has one, the first layer quantised if the recipe says so."""
    parameters = state.average if recipe.ema_decay else state.parameters
    if recipe.first_layer == "float32":
        return parameters
    first, *others = parameters
    return (Layer(quantise.quantise_dequantise(first.weights), first.biases), *others)


def learning_rate(recipe: Recipe, iteration: Tensor) -> Tensor:
    """The learning rate at an iteration: float32 scalar."""
    step = tf.cast(iteration, tf.float32)
    # 1. linear warm-up from near zero
    warm = tf.minimum(1.0, (step + 1) / max(recipe.warmup_iterations, 1))
    # 2. constant
    if recipe.schedule == "constant":
        return recipe.learning_rate * warm
    # 3. cosine decay from the end of the warm-up to zero at the last iteration
    progress = (step - recipe.warmup_iterations) / max(recipe.iterations - recipe.warmup_iterations, 1)
    return recipe.learning_rate * warm * 0.5 * (1 + tf.cos(np.pi * tf.clip_by_value(progress, 0.0, 1.0)))


def update(recipe: Recipe, state: State, gradients: Parameters) -> State:
    """The state after one step with the gradients of the loss."""
    rate = learning_rate(recipe, state.iteration)
    parameters, first, second = OPTIMISERS[recipe.optimiser](recipe, state, gradients, rate)
    average = state.average
    if recipe.ema_decay:
        average = _map(lambda a, p: a + (1 - _ema_decay(recipe, state)) * (p - a), average, parameters)
    return State(state.iteration + 1, parameters, first, second, average)


Step = tuple[Parameters, Parameters, Parameters]


def _gradient_descent(_: Recipe, state: State, gradients: Parameters, rate: Tensor) -> Step:
    parameters = _map(lambda p, g: p - rate * g, state.parameters, gradients)
    return parameters, state.first, state.second


def _adamw(recipe: Recipe, state: State, gradients: Parameters, rate: Tensor) -> Step:
    """Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019); no decay of biases."""
    time = tf.cast(state.iteration + 1, tf.float32)
    first = _map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state.first, gradients)
    second = _map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state.second, gradients)
    unbias1, unbias2 = 1 - tf.pow(BETA1, time), 1 - tf.pow(BETA2, time)

    def step(p: Tensor, m: Tensor, v: Tensor) -> Tensor:
        decay = recipe.weight_decay if p.shape.rank == 2 else 0.0
        return p - rate * ((m / unbias1) / (tf.sqrt(v / unbias2) + EPSILON) + decay * p)

    return _map(step, state.parameters, first, second), first, second


def _muon(recipe: Recipe, state: State, gradients: Parameters, rate: Tensor) -> Step:
    """Muon for the hidden weights, AdamW for the biases and the last layer.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the scale of
    Liu et al., "Muon is scalable for LLM training" (2025).
    """
    parameters, first, second = _adamw(recipe, state, gradients, rate)
    weights, momenta = [], []
    for layer, gradient, moment in zip(state.parameters[:-1], gradients[:-1], state.first[:-1], strict=True):
        momentum = MUON_MOMENTUM * moment.weights + (1 - MUON_MOMENTUM) * gradient.weights
        nesterov = MUON_MOMENTUM * momentum + (1 - MUON_MOMENTUM) * gradient.weights
        direction = MUON_SCALE * max(nesterov.shape) ** 0.5 * newton_schulz(nesterov)
        momenta.append(momentum)
        weights.append(layer.weights - rate * (direction + recipe.weight_decay * layer.weights))
    return _with_weights(parameters, weights), _with_weights(first, momenta), second


def newton_schulz(matrix: Tensor) -> Tensor:
    """Approximate orthogonalisation: of a matrix U S V' [m, n], U S' V' with singular values S' from 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    wide = tf.transpose(matrix) if tall else matrix
    wide /= tf.norm(wide) + EPSILON
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = wide @ tf.transpose(wide)
        wide = a * wide + (b * square + c * square @ square) @ wide
    return tf.transpose(wide) if tall else wide


OPTIMISERS: dict[str, Callable[[Recipe, State, Parameters, Tensor], Step]] = {
    "gradient_descent": _gradient_descent,
    "adamw": _adamw,
    "muon": _muon,
}


def _with_weights(parameters: Parameters, weights: list[Tensor]) -> Parameters:
    """Replace the weights of all layers but the last."""
    hidden = (Layer(new, layer.biases) for new, layer in zip(weights, parameters, strict=False))
    return (*hidden, parameters[-1])


def _ema_decay(recipe: Recipe, state: State) -> Tensor:
    """The decay of the EMA, smaller in the first iterations, so that the random initial weights soon vanish from it."""
    time = tf.cast(state.iteration, tf.float32)
    return tf.minimum(recipe.ema_decay, (1 + time) / (10 + time))


def _map(function: Callable[..., Tensor], *structures: Parameters) -> Parameters:
    return tf.nest.map_structure(function, *structures)  # type: ignore[no-any-return]

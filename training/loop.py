"""The training loop: batches, schedule, gradient step, weight averaging, history.

Data stays in memory; the iterations between two evaluations are one call of one graph that XLA has compiled.
Everything random is a function of the seed and the iteration, nothing of what ran before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training import augment, network
from training.dataset import Dataset, Part
from training.network import Parameters, Tensor
from training.recipe import Recipe

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Scores(NamedTuple):
    """accuracy 0 to 1; cross_entropy in nats per image."""

    accuracy: float
    cross_entropy: float


@dataclass(frozen=True)
class Row:
    """One line of the history. `training` is the mean over the batches since the row before."""

    iteration: int
    training: Scores
    validation: Scores
    test: Scores


class State(NamedTuple):
    """All that a run carries from one iteration to the next."""

    iteration: Tensor  # int32
    parameters: Parameters
    first: Parameters  # Adam's running mean of the gradient
    second: Parameters  # Adam's running mean of its square
    average: Parameters  # the averaged weights


def train(recipe: Recipe, data: Dataset, observe: Callable[[Row], None]) -> Parameters:
    """Run the recipe and return the weights to publish: the averaged ones if the recipe averages.

    Args:
        recipe: what to run.
        data: the test part is measured for the history and decides nothing.
        observe: called with every row of the history as soon as it is there.
    """
    state = start(recipe)
    images, labels = tf.constant(data.training.images), tf.constant(data.training.labels)
    advance = compile_steps(recipe)
    while int(state.iteration) < recipe.iterations:
        iteration = int(state.iteration)
        order = batches(recipe, len(data.training), iteration)
        draws = augment.draw(recipe, order.shape, (recipe.seed, iteration))
        state, training = advance(state, images, labels, tf.constant(order), draws)
        result = published(recipe, state)
        observe(
            Row(
                iteration=int(state.iteration),
                training=Scores(*(float(np.mean(values)) for values in training)),
                validation=score(result, data.validation, recipe.activation),
                test=score(result, data.test, recipe.activation),
            )
        )
    return published(recipe, state)


def start(recipe: Recipe) -> State:
    """The state before the first iteration."""
    parameters = network.initial(recipe)
    zeros = tf.nest.map_structure(tf.zeros_like, parameters)
    return State(tf.constant(0), parameters, zeros, zeros, parameters)


def published(recipe: Recipe, state: State) -> Parameters:
    """The weights that a version would have if the run ended here."""
    return state.average if recipe.averaging else state.parameters


def batches(recipe: Recipe, images: int, iteration: int) -> npt.NDArray[np.int32]:
    """Which images the batches up to the next evaluation take: int32 [K, batch_size].

    K is `evaluate_every`, or what is left of the iterations. The stream is one permutation of the
    training part after another; batches run across their seams.
    """
    begin = iteration * recipe.batch_size
    end = begin + min(recipe.evaluate_every, recipe.iterations - iteration) * recipe.batch_size
    epochs = range(begin // images, -(-end // images))
    stream = np.concatenate([np.random.default_rng([recipe.seed, epoch]).permutation(images) for epoch in epochs])
    offset = begin - epochs[0] * images
    order = stream[offset : offset + end - begin].astype(np.int32)
    return order.reshape(-1, recipe.batch_size)


def rate(recipe: Recipe, iteration: Tensor) -> Tensor:
    """The learning rate at an iteration: float32 scalar."""
    step = tf.cast(iteration, tf.float32)
    # 1. warm-up: linear from nearly zero
    warm = tf.minimum(1.0, (step + 1) / max(recipe.warm_up, 1))
    # 2. constant
    if recipe.schedule == "constant":
        return recipe.learning_rate * warm
    # 3. cosine from the end of the warm-up down to zero at the last iteration
    done = (step - recipe.warm_up) / max(recipe.iterations - recipe.warm_up, 1)
    return recipe.learning_rate * warm * 0.5 * (1 + tf.cos(np.pi * tf.clip_by_value(done, 0.0, 1.0)))


def compile_steps(recipe: Recipe) -> Callable[..., tuple[State, tuple[Tensor, Tensor]]]:
    """A compiled function (state, images, labels, order, draws) -> (state, (accuracies, cross-entropies)).

    images uint8 [N, 28, 28] and labels uint8 [N] are the training part, order int32 [K, batch] names the
    images of K batches, draws are their distortions; the statistics are float32 [K], cross-entropy per image.
    """

    @tf.function(jit_compile=True)
    def steps(
        state: State, images: Tensor, labels: Tensor, order: Tensor, draws: augment.Draws
    ) -> tuple[State, tuple[Tensor, Tensor]]:
        count = order.shape[0]
        accuracies, entropies = tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count)
        for index in tf.range(count):
            batch = tf.gather(images, order[index])
            if augment.distorts(recipe):
                batch = augment.distort(batch, augment.Draws(*(draw[index] for draw in draws)), recipe)
            state, (accuracy, entropy) = _step(recipe, state, batch, tf.gather(labels, order[index]))
            accuracies, entropies = accuracies.write(index, accuracy), entropies.write(index, entropy)
        return state, (accuracies.stack(), entropies.stack())

    return steps  # type: ignore[no-any-return]


def _step(recipe: Recipe, state: State, images: Tensor, labels: Tensor) -> tuple[State, tuple[Tensor, Tensor]]:
    pixels = network.as_pixels(images)
    labels = tf.cast(labels, tf.int32)
    with tf.GradientTape() as tape:
        tape.watch(state.parameters)
        logits = network.logits(state.parameters, pixels, recipe.activation)
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_sum(entropies) if recipe.loss_reduction == "sum" else tf.reduce_mean(entropies)
    gradients = tape.gradient(loss, state.parameters)
    right = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
    statistics = tf.reduce_mean(tf.cast(right, tf.float32)), tf.reduce_mean(entropies)
    return _update(recipe, state, gradients), statistics


def _update(recipe: Recipe, state: State, gradients: Parameters) -> State:
    learning_rate = rate(recipe, state.iteration)
    if recipe.optimiser == "gradient_descent":
        parameters = _each(lambda p, g: p - learning_rate * g, state.parameters, gradients)
        first, second = state.first, state.second
    else:
        parameters, first, second = _adamw(recipe, state, gradients, learning_rate)
    average = state.average
    if recipe.averaging:
        average = _each(lambda a, p: a + (1 - _decay(recipe, state)) * (p - a), average, parameters)
    return State(state.iteration + 1, parameters, first, second, average)


def _adamw(
    recipe: Recipe, state: State, gradients: Parameters, learning_rate: Tensor
) -> tuple[Parameters, Parameters, Parameters]:
    """Loshchilov and Hutter, "Decoupled weight decay regularization" (ICLR 2019); biases do not decay."""
    time = tf.cast(state.iteration + 1, tf.float32)
    first = _each(lambda m, g: BETA1 * m + (1 - BETA1) * g, state.first, gradients)
    second = _each(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, state.second, gradients)
    unbias1, unbias2 = 1 - tf.pow(BETA1, time), 1 - tf.pow(BETA2, time)

    def move(p: Tensor, m: Tensor, v: Tensor) -> Tensor:
        decay = recipe.weight_decay if p.shape.rank == 2 else 0.0
        return p - learning_rate * ((m / unbias1) / (tf.sqrt(v / unbias2) + EPSILON) + decay * p)

    return _each(move, state.parameters, first, second), first, second


def _decay(recipe: Recipe, state: State) -> Tensor:
    """The averaging decay, smaller at first, so that the random start is soon forgotten."""
    time = tf.cast(state.iteration, tf.float32)
    return tf.minimum(recipe.averaging, (1 + time) / (10 + time))


def _each(function: Callable[..., Tensor], *structures: Parameters) -> Parameters:
    return tf.nest.map_structure(function, *structures)  # type: ignore[no-any-return]


def score(parameters: Parameters, part: Part, activation: str) -> Scores:
    """Accuracy and cross-entropy of the network on a part, undistorted."""
    right, entropy = _totals(parameters, tf.constant(part.images), tf.constant(part.labels), activation)
    return Scores(int(right) / len(part), float(entropy) / len(part))


@tf.function(jit_compile=True)
def _totals(parameters: Parameters, images: Tensor, labels: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    logits = network.logits(parameters, network.as_pixels(images), activation)
    labels = tf.cast(labels, tf.int32)
    right = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(tf.cast(right, tf.int32)), tf.reduce_sum(entropies)

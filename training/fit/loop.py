"""The training loop: one lesson after another, a row of the history after each.

The iterations between two evaluations are one call of one graph that XLA has compiled. Meanwhile a
thread makes the next lesson.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from training.data.batches import BatchBlock, BatchStream, TeacherFn
from training.data.mnist import Dataset, Split
from training.fit import checkpoint, optimisers
from training.fit.optimisers import State
from training.model import network
from training.model.network import Parameters, Tensor
from training.recipe import Recipe


class Scores(NamedTuple):
    """accuracy 0 to 1; cross_entropy in nats per image."""

    accuracy: float
    cross_entropy: float


@dataclass(frozen=True)
class EvaluationRow:
    """One line of the history. `training` is the mean over the batches since the row before."""

    iteration: int
    training: Scores
    validation: Scores
    test: Scores


def train(
    recipe: Recipe,
    data: Dataset,
    on_evaluation: Callable[[EvaluationRow], None],
    *,
    teacher: TeacherFn | None = None,
    checkpoint_path: Path | None = None,
) -> Parameters:
    """Run the recipe and return the weights to publish: the averaged ones if the recipe averages.

    Args:
        recipe: what to run.
        data: the test part is measured for the history and decides nothing.
        on_evaluation: called with every row of the history as soon as it is there.
        teacher: gives the answers to aim at; without one they are the labels.
        checkpoint_path: a file to keep the state in, row by row; if it is there, the run goes on from it.
    """
    state = optimisers.initial_state(recipe)
    if checkpoint_path and checkpoint_path.exists():
        state = checkpoint.load(checkpoint_path, state)
    lessons, advance = BatchStream(recipe, data.training, teacher), compile_steps(recipe)
    with ThreadPoolExecutor(1) as ahead:
        iteration = int(state.iteration)
        following = ahead.submit(lessons.block_at, iteration) if iteration < recipe.iterations else None
        while following:
            lesson = following.result()
            iteration += len(lesson.labels)
            following = ahead.submit(lessons.block_at, iteration) if iteration < recipe.iterations else None
            state, training = advance(state, lesson)
            result = optimisers.final_parameters(recipe, state)
            on_evaluation(
                EvaluationRow(
                    iteration=iteration,
                    training=Scores(*(float(np.mean(values)) for values in training)),
                    validation=score(result, data.validation, recipe.activation),
                    test=score(result, data.test, recipe.activation),
                )
            )
            if checkpoint_path:
                checkpoint.save(checkpoint_path, state)
    return optimisers.final_parameters(recipe, state)


def compile_steps(recipe: Recipe) -> Callable[[State, BatchBlock], tuple[State, tuple[Tensor, Tensor]]]:
    """A compiled function (state, lesson) -> (state, (accuracies, cross-entropies)).

    The statistics are float32 [K], one of each batch, of its digits and their labels; cross-entropy per image.
    """

    @tf.function(jit_compile=True)
    def steps(state: State, lesson: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
        count = lesson.labels.shape[0]
        accuracies, entropies = tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count)
        for index in tf.range(count):
            batch = BatchBlock(*(part[index] for part in lesson))
            state, (accuracy, entropy) = _step(recipe, state, batch)
            accuracies, entropies = accuracies.write(index, accuracy), entropies.write(index, entropy)
        return state, (accuracies.stack(), entropies.stack())

    def advance(state: State, lesson: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
        return steps(state, BatchBlock(*(tf.constant(part) for part in lesson)))  # type: ignore[no-any-return]

    return advance


def _step(recipe: Recipe, state: State, batch: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
    pixels = network.to_pixels(batch.images)
    with tf.GradientTape() as tape:
        tape.watch(state.parameters)
        logits = network.logits(state.parameters, pixels, recipe.activation)
        loss = _loss(recipe, batch.targets, logits)
    state = optimisers.update(recipe, state, tape.gradient(loss, state.parameters))
    labels = tf.cast(batch.labels, tf.int32)
    of_digits = logits[: recipe.batch_size]
    right = tf.equal(tf.argmax(of_digits, 1, tf.int32), labels)
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, of_digits)
    return state, (tf.reduce_mean(tf.cast(right, tf.float32)), tf.reduce_mean(entropies))


def _loss(recipe: Recipe, targets: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy with the targets at the recipe's softness; that of strangers, with ten equal answers, on top.

    The factor keeps gradients as large as at a softness of 1: Hinton, Vinyals and Dean, "Distilling the
    knowledge in a neural network" (2015), section 2.
    """
    of_digits, of_strangers = logits[: recipe.batch_size], logits[recipe.batch_size :]
    entropies = tf.nn.softmax_cross_entropy_with_logits(targets, of_digits / recipe.distillation_temperature)
    loss = recipe.distillation_temperature**2 * tf.reduce_sum(entropies)
    if recipe.outliers_per_batch:
        evenness = tf.reduce_logsumexp(of_strangers, 1) - tf.reduce_mean(of_strangers, 1)
        loss += recipe.outlier_weight * tf.reduce_sum(evenness)
    return loss if recipe.loss_reduction == "sum" else loss / recipe.batch_size


def score(parameters: Parameters, part: Split, activation: str) -> Scores:
    """Accuracy and cross-entropy of the network on a part, undistorted."""
    right, entropy = _totals(parameters, tf.constant(part.images), tf.constant(part.labels), activation)
    return Scores(int(right) / len(part), float(entropy) / len(part))


@tf.function(jit_compile=True)
def _totals(parameters: Parameters, images: Tensor, labels: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    logits = network.logits(parameters, network.to_pixels(images), activation)
    labels = tf.cast(labels, tf.int32)
    right = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(tf.cast(right, tf.int32)), tf.reduce_sum(entropies)

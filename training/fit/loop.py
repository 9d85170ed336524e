"""The training loop: one block of batches after another, an evaluation after each.

The iterations between two evaluations are one call of one XLA-compiled graph. Meanwhile a thread prepares the next
block.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from training.data.batches import BatchBlock, BatchStream, TeacherFn
from training.data.mnist import Dataset, Split
from training.fit import checkpoint, optimisers
from training.fit.checkpoint import CheckpointError
from training.fit.optimisers import State
from training.model import network
from training.model.network import Parameters
from training.recipe import Recipe
from training.types import EvaluationRow, Scores, Tensor


def train(
    recipe: Recipe,
    data: Dataset,
    on_evaluation: Callable[[EvaluationRow], None],
    *,
    teacher: TeacherFn | None = None,
    checkpoint_path: Path | None = None,
) -> Parameters:
    """Train the recipe and return the final parameters: the EMA weights if the recipe has an `ema_decay`.

    Args:
        recipe: the recipe to train.
        data: the test split is evaluated for the history only; it influences nothing.
        on_evaluation: called after each evaluation.
        teacher: gives logits for distilled targets; None for hard labels.
        checkpoint_path: the state is saved to this file after each evaluation; if the file exists, training resumes
            from it.

    Raises:
        CheckpointError: the checkpoint is unreadable, belongs to another recipe, or cannot be written.
    """
    state = load_state(recipe, checkpoint_path)
    stream, run_block = BatchStream(recipe, data.training, teacher), compile_steps(recipe)
    with ThreadPoolExecutor(1) as prefetcher:
        iteration = int(state.iteration)
        next_block = prefetcher.submit(stream.block_at, iteration) if iteration < recipe.iterations else None
        while next_block:
            block = next_block.result()
            iteration += len(block.labels)
            next_block = prefetcher.submit(stream.block_at, iteration) if iteration < recipe.iterations else None
            state, training = run_block(state, block)
            parameters = optimisers.final_parameters(recipe, state)
            on_evaluation(
                EvaluationRow(
                    iteration=iteration,
                    training=Scores(*(float(np.mean(values)) for values in training)),
                    validation=score(parameters, data.validation, recipe.activation),
                    test=score(parameters, data.test, recipe.activation),
                )
            )
            if checkpoint_path:
                checkpoint.save(checkpoint_path, state)
    return optimisers.final_parameters(recipe, state)


def load_state(recipe: Recipe, checkpoint_path: Path | None) -> State:
    """The state of a checkpoint; the initial state if there is no such file.

    Raises:
        CheckpointError: the checkpoint is unreadable or belongs to another recipe.
    """
    state = optimisers.initial_state(recipe)
    if checkpoint_path is None or not checkpoint_path.exists():
        return state
    state = checkpoint.load(checkpoint_path, state)
    iteration = int(state.iteration)
    evaluated = iteration % recipe.evaluate_every == 0 or iteration == recipe.iterations
    if not (evaluated and 0 <= iteration <= recipe.iterations):
        raise CheckpointError(
            f"{checkpoint_path} is a checkpoint of iteration {iteration}; the recipe ends at {recipe.iterations} and "
            f"is evaluated every {recipe.evaluate_every}"
        )
    return state


def compile_steps(recipe: Recipe) -> Callable[[State, BatchBlock], tuple[State, tuple[Tensor, Tensor]]]:
    """A compiled function (state, block of K batches) -> (state, (accuracies, cross-entropies)).

    The statistics are float32 [K], the means over the digits of each batch with respect to their labels.
    """

    @tf.function(jit_compile=True)
    def steps(state: State, block: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
        count = block.labels.shape[0]
        accuracies, entropies = tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count)
        for index in tf.range(count):
            batch = BatchBlock(*(array[index] for array in block))
            state, (accuracy, entropy) = _step(recipe, state, batch)
            accuracies, entropies = accuracies.write(index, accuracy), entropies.write(index, entropy)
        return state, (accuracies.stack(), entropies.stack())

    def run_block(state: State, block: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
        return steps(state, BatchBlock(*(tf.constant(array) for array in block)))  # type: ignore[no-any-return]

    return run_block


def _step(recipe: Recipe, state: State, batch: BatchBlock) -> tuple[State, tuple[Tensor, Tensor]]:
    pixels = network.to_pixels(batch.images)
    with tf.GradientTape() as tape:
        tape.watch(state.parameters)
        logits = network.logits(state.parameters, pixels, recipe.activation)
        loss = _loss(recipe, batch.targets, logits)
    state = optimisers.update(recipe, state, tape.gradient(loss, state.parameters))
    labels = tf.cast(batch.labels, tf.int32)
    digit_logits = logits[: recipe.batch_size]
    correct = tf.equal(tf.argmax(digit_logits, 1, tf.int32), labels)
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, digit_logits)
    return state, (tf.reduce_mean(tf.cast(correct, tf.float32)), tf.reduce_mean(entropies))


def _loss(recipe: Recipe, targets: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of the digits with their targets, plus that of the outliers with the uniform distribution.

    The digits' logits are divided by the distillation temperature T; the factor T^2 keeps the gradients as large as at
    T = 1: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), section 2.
    """
    digit_logits, outlier_logits = logits[: recipe.batch_size], logits[recipe.batch_size :]
    entropies = tf.nn.softmax_cross_entropy_with_logits(targets, digit_logits / recipe.distillation_temperature)
    loss = recipe.distillation_temperature**2 * tf.reduce_sum(entropies)
    if recipe.outliers_per_batch:
        outlier_entropies = tf.reduce_logsumexp(outlier_logits, 1) - tf.reduce_mean(outlier_logits, 1)
        loss += recipe.outlier_weight * tf.reduce_sum(outlier_entropies)
    return loss if recipe.loss_reduction == "sum" else loss / recipe.batch_size


def score(parameters: Parameters, split: Split, activation: str) -> Scores:
    """Accuracy and cross-entropy of the network on a split, without augmentation."""
    correct, entropy = _totals(parameters, tf.constant(split.images), tf.constant(split.labels), activation)
    return Scores(int(correct) / len(split), float(entropy) / len(split))


@tf.function(jit_compile=True)
def _totals(parameters: Parameters, images: Tensor, labels: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    logits = network.logits(parameters, network.to_pixels(images), activation)
    labels = tf.cast(labels, tf.int32)
    correct = tf.equal(tf.argmax(logits, 1, tf.int32), labels)
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(tf.cast(correct, tf.int32)), tf.reduce_sum(entropies)

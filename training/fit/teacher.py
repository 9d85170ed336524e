"""Small convolutional networks whose averaged answers the five layers learn from.

They never leave the job: what is published is the student. Each has four convolutions, the first and
the third of stride 2, because a 28 x 28 image of a digit has little that half the pixels do not show,
and that is four times as fast.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers
from tqdm import tqdm

from training.data import augment
from training.data.mnist import Dataset, Split
from training.fit import checkpoint
from training.model.network import Tensor
from training.recipe import Recipe

BATCH = 256
LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS = 3e-3, 0.02, 200
DROPOUT = 0.3
BN_MOMENTUM = 0.95  # of batch normalisation's running statistics
INFERENCE_BATCH = 500  # images that are answered at once

Images = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


class Ensemble:
    """Trained networks; called with images uint8 [N, 28, 28] it gives the mean of their logits, float32 [N, 10]."""

    def __init__(self, networks: Sequence[keras.Model]) -> None:
        self._networks = networks

    def __call__(self, images: Images) -> Logits:
        """Answer images."""
        pieces = [images[start : start + INFERENCE_BATCH] for start in range(0, len(images), INFERENCE_BATCH)]
        return np.concatenate([self._answer(tf.constant(piece)).numpy() for piece in pieces])

    @tf.function(reduce_retracing=True)
    def _answer(self, images: Tensor) -> Tensor:
        pixels = _as_pixels(images)
        return tf.add_n([network(pixels, training=False) for network in self._networks]) / len(self._networks)


def train_teachers(recipe: Recipe, data: Dataset, directory: Path) -> Ensemble | None:
    """Train the recipe's teachers, if it has any, one after the other.

    Args:
        recipe: how wide they are, how long they learn, and what they see distorted.
        data: the training part teaches them; their accuracy on the validation part is printed.
        directory: where each keeps its state after every epoch. One that is there is gone on from.
    """
    networks = [_train(recipe, data.training, number, directory) for number in range(len(recipe.teacher_widths))]
    for number, network in enumerate(networks):
        _print_accuracy(
            f"teacher {number}, {recipe.teacher_widths[number]} channels", Ensemble([network]), data.validation
        )
    if len(networks) > 1:
        _print_accuracy("the teachers' mean", Ensemble(networks), data.validation)
    return Ensemble(networks) if networks else None


def build_cnn(width: int, seed: int) -> keras.Model:
    """The network: images float32 [N, 28, 28, 1], 0 to 1, to logits [N, 10]."""
    blocks: list[layers.Layer] = []
    for index, (channels, side, stride) in enumerate(
        ((width, 5, 2), (width, 3, 1), (2 * width, 3, 2), (2 * width, 3, 1))
    ):
        start = keras.initializers.GlorotUniform(seed=seed + index)
        blocks += [
            layers.Conv2D(channels, side, strides=stride, padding="same", use_bias=False, kernel_initializer=start),
            layers.BatchNormalization(momentum=BN_MOMENTUM),
            layers.ReLU(),
        ]
    last = layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(seed=seed + 9))
    return keras.Sequential(
        [layers.Input((28, 28, 1)), *blocks, layers.Flatten(), layers.Dropout(DROPOUT, seed=seed), last]
    )


def _train(recipe: Recipe, part: Split, number: int, directory: Path) -> keras.Model:
    seed = 1000 * (recipe.seed + 1) + 100 * number
    network = build_cnn(recipe.teacher_widths[number], seed)
    steps = len(part) // BATCH
    total = recipe.teacher_epochs * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(total - WARMUP_STEPS, 1), warmup_target=LEARNING_RATE, warmup_steps=WARMUP_STEPS
    )
    optimiser = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY)
    optimiser.build(network.trainable_variables)
    variables = [*network.variables, *optimiser.variables]
    saved = directory / f"teacher-{number}.npz"
    epoch = _restore(variables, saved) if saved.exists() else 0

    @tf.function
    def step(images: Tensor, labels: Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = network(_as_pixels(images), training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimiser.apply_gradients(zip(gradients, network.trainable_variables, strict=True))

    with tqdm(total=total, initial=epoch * steps, desc=f"teacher {number}", leave=False, disable=None) as bar:
        while epoch < recipe.teacher_epochs:
            order = np.random.default_rng([seed, epoch]).permutation(len(part))[: steps * BATCH]
            images = augment.augmented_copy(part.images, recipe, (seed, epoch))
            for batch in order.reshape(steps, BATCH):
                step(tf.constant(images[batch]), tf.constant(part.labels[batch], tf.int32))
                bar.update()
            epoch += 1
            checkpoint.save(saved, [epoch, *(variable.numpy() for variable in variables)])
    return network


def _restore(variables: Sequence[Any], saved: Path) -> int:
    """Set the variables to what was saved; returns how many epochs they have seen."""
    epoch, *values = checkpoint.load(saved, [0, *(variable.numpy() for variable in variables)])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return int(epoch)


def _as_pixels(images: Tensor) -> Tensor:
    return tf.cast(images, tf.float32)[..., None] / 255.0


def _print_accuracy(name: str, teacher: Ensemble, part: Split) -> None:
    print(f"{name}: {np.mean(teacher(part.images).argmax(axis=1) == part.labels):.2%} of the validation part")

"""Forward and backward pass in NumPy, and steps of the compiled training loop to compare with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from training.data.batches import BatchBlock
from training.fit import loop, optimisers
from training.model.network import Parameters
from training.recipe import Recipe

Floats = npt.NDArray[np.floating[Any]]
Arrays = list[Floats]

ACTIVATIONS: dict[str, tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]] = {
    "sigmoid": (special.expit, lambda x: special.expit(x) * (1 - special.expit(x))),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)),
    "gelu": (
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * (1 - special.expit(x))),
    ),
}


def forward(recipe: Recipe, arrays: Arrays, pixels: Floats) -> tuple[Arrays, Arrays]:
    """The inputs and the pre-activations of every layer; the last pre-activations are the logits."""
    inputs: Arrays = [pixels]
    sums: Arrays = []
    for index in range(0, len(arrays), 2):
        sums.append(inputs[-1] @ arrays[index] + arrays[index + 1])
        inputs.append(ACTIVATIONS[recipe.activation][0](sums[-1]))
    return inputs, sums


def backward(recipe: Recipe, arrays: Arrays, inputs: Arrays, sums: Arrays, error: Floats) -> Arrays:
    """The gradient of every array, from the gradient of the logits."""
    gradients: Arrays = []
    for index in reversed(range(len(sums))):
        gradients = [inputs[index].T @ error, error.sum(axis=0), *gradients]
        if index:
            error = (error @ arrays[2 * index].T) * ACTIVATIONS[recipe.activation][1](sums[index - 1])
    return gradients


def gradients(recipe: Recipe, arrays: Arrays, pixels: Floats, labels: Floats) -> tuple[Arrays, Floats, Floats]:
    """For hard labels: the gradient of every array, the logits, and the cross-entropy of each image."""
    inputs, sums = forward(recipe, arrays, pixels)
    entropies = -special.log_softmax(sums[-1], axis=1)[np.arange(len(labels)), labels.astype(int)]
    error = special.softmax(sums[-1], axis=1) - np.eye(10)[labels.astype(int)]
    error = error if recipe.loss_reduction == "sum" else error / len(labels)
    return backward(recipe, arrays, inputs, sums, error), sums[-1], entropies


def flat(parameters: Parameters) -> Arrays:
    """All weights and biases as float64 arrays, in order."""
    return [np.asarray(array, np.float64) for layer in parameters for array in layer]


class Steps:
    """Compiled steps of a small recipe on random images, with the inputs for a reference in NumPy."""

    def __init__(self, recipe: Recipe) -> None:
        random = np.random.default_rng(5)
        batches = (recipe.iterations, recipe.batch_size)
        images = random.integers(0, 256, (*batches, 28, 28), np.uint8)
        outliers = random.integers(0, 256, (recipe.iterations, recipe.outliers_per_batch, 28, 28), np.uint8)
        labels = random.integers(0, 10, batches).astype(np.uint8)
        teacher = special.softmax(random.normal(0, 2, (*batches, 10)), axis=2).astype(np.float32)
        targets = teacher if recipe.teacher_widths else np.eye(10, dtype=np.float32)[labels]
        self.block = BatchBlock(np.concatenate([images, outliers], axis=1), targets, labels)
        begin = optimisers.initial_state(recipe)
        self.initial = flat(begin.parameters)
        self.end, (accuracies, entropies) = loop.compile_steps(recipe)(begin, self.block)
        self.accuracies, self.entropies = np.asarray(accuracies), np.asarray(entropies)
        self.final = flat(optimisers.final_parameters(recipe, self.end))

    def pixels(self, step: int) -> Floats:
        """The inputs of all images of a batch."""
        images = self.block.images[step]
        return np.asarray(images.reshape(len(images), 784) / 255)

    def batch(self, step: int) -> tuple[Floats, Floats]:
        """The inputs and labels of the digits of a batch."""
        labels = self.block.labels[step]
        return self.pixels(step)[: len(labels)], labels.astype(float)

"""Augmentation: a random affine and elastic distortion of each image of a batch, in one bilinear sampling.

Every image has its own rotation, scaling, shear and shift, and its own smooth random displacement field: the elastic
distortion of Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to visual document
analysis" (ICDAR 2003).

Their field is white noise smoothed by a Gaussian. Nearly all of its variance lies in a few dozen of the 784
eigenvectors of its covariance, so the noise is drawn in that subspace and expanded by one matrix product: the same
distribution from a fraction of the random numbers.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.recipe import Recipe
from training.types import Images, Tensor

_SIDE = 28
_CENTRE = (_SIDE - 1) / 2
_DISCARDED_VARIANCE = 1e-3
_CHUNK = 1000  # images per call; fits the processor's cache


def is_enabled(recipe: Recipe) -> bool:
    """Whether the recipe has any augmentation."""
    return any((recipe.rotation, recipe.scaling, recipe.shear, recipe.shift, recipe.elastic_std))


class Draws(NamedTuple):
    """The random numbers that define the distortion of a batch.

    affine float32 [..., N, 6], uniform from -1 to 1: angle, height, width, shear, down, right.
    elastic float32 [..., N, 2, rank], standard normal; rank 0 without elastic distortion.
    """

    affine: Tensor
    elastic: Tensor


def draw(recipe: Recipe, shape: tuple[int, ...], key: tuple[int, int]) -> Draws:
    """Draws for batches of `shape` (the last axis is N); the same key gives the same draws.

    Call it outside of a compiled graph: inside one, XLA recomputes a random number at each use, which costs more than
    the rest of the distortion.
    """
    rank = len(smooth_basis(recipe.elastic_sigma)) if recipe.elastic_std else 0
    affine, elastic = tf.random.split([*key], 2)
    return Draws(
        tf.random.stateless_uniform([*shape, 6], affine, -1.0, 1.0),
        tf.random.stateless_normal([*shape, 2, rank], elastic),
    )


def augmented_copy(images: Images, recipe: Recipe, key: tuple[int, int]) -> Images:
    """A copy of images uint8 [N, 28, 28], each distorted by its own draws; the same key gives the same copy."""
    if not is_enabled(recipe) or not len(images):
        return images
    draws = draw(recipe, (len(images),), key)
    slices = [slice(start, start + _CHUNK) for start in range(0, len(images), _CHUNK)]
    return np.concatenate([_distort_uint8(images[s], Draws(*(values[s] for values in draws)), recipe) for s in slices])


@tf.function(jit_compile=True, reduce_retracing=True)
def _distort_uint8(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    return tf.cast(distort(images, draws, recipe) + 0.5, tf.uint8)


def distort(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Distort each image by its own draws.

    Args:
        images: uint8 or float32 [N, 28, 28], background 0.
        draws: for one batch of N.
        recipe: the maximum of each distortion.

    Returns:
        float32 [N, 28, 28], in the range of the input.
    """
    rows, columns = _affine(draws.affine, recipe)
    if recipe.elastic_std:
        field = recipe.elastic_std * displacement(draws.elastic, recipe.elastic_sigma)
        rows, columns = rows + field[:, 0], columns + field[:, 1]
    return sample(images, rows, columns)


def _affine(draws: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """The source coordinates of each output pixel: rows and columns, float32 [N, 28, 28] each."""
    maximum = [math.radians(recipe.rotation), recipe.scaling, recipe.scaling, recipe.shear]
    maximum += [recipe.shift, recipe.shift]
    values = draws * tf.constant(maximum, tf.float32)
    angle, height, width, shear, down, right = (values[:, i, None, None] for i in range(6))
    y, x = np.meshgrid(*2 * [np.arange(_SIDE, dtype=np.float32) - _CENTRE], indexing="ij")
    cosine, sine = tf.cos(angle), tf.sin(angle)
    sheared = x + shear * y
    rows = (cosine * y - sine * sheared) * (1 + height) + down
    columns = (sine * y + cosine * sheared) * (1 + width) + right
    return rows + _CENTRE, columns + _CENTRE


def displacement(noise: Tensor, sigma: float) -> Tensor:
    """Noise [N, 2, rank] -> smooth random fields float32 [N, 2, 28, 28] of unit variance: rows, columns."""
    basis = smooth_basis(sigma)
    flat = tf.reshape(noise, [-1, len(basis)]) @ tf.constant(basis)
    return tf.reshape(flat, [-1, 2, _SIDE, _SIDE])


def smooth_basis(sigma: float) -> npt.NDArray[np.float32]:
    """B float32 [rank, 784]: white noise [rank] @ B is noise smoothed by a Gaussian of `sigma` pixels.

    B is scaled so that the variance of the field, averaged over its pixels, is 1.
    """
    offsets = np.arange(_SIDE)[:, None] - np.arange(-3 * _SIDE, 4 * _SIDE)[None, :]
    smoothing = np.exp(-0.5 * (offsets / sigma) ** 2)
    values, vectors = np.linalg.eigh(smoothing @ smoothing.T)
    share = np.kron(values, values) / values.sum() ** 2
    order = np.argsort(share)[::-1]
    rank = 1 + int(np.argmax(np.cumsum(share[order]) >= 1 - _DISCARDED_VARIANCE))
    largest = order[:rank]
    basis = np.kron(vectors, vectors).T[largest] * np.sqrt(share[largest] * _SIDE**2)[:, None]
    return np.asarray(basis, np.float32)


def sample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear interpolation of images [N, 28, 28] at rows and columns float32 [N, 28, 28]; 0 outside of the image."""
    padded = _SIDE + 2
    pixels = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1]]), [-1, padded * padded])
    y = tf.clip_by_value(rows + 1, 0.0, padded - 1.0)
    x = tf.clip_by_value(columns + 1, 0.0, padded - 1.0)
    top, left = (tf.minimum(tf.floor(position), padded - 2.0) for position in (y, x))
    corner = tf.cast(top, tf.int32) * padded + tf.cast(left, tf.int32)
    down, right = y - top, x - left

    def gather(offset: int) -> Tensor:
        indices = tf.reshape(corner + offset, [-1, _SIDE * _SIDE])
        values = tf.gather(pixels, indices, batch_dims=1)
        return tf.reshape(tf.cast(values, tf.float32), [-1, _SIDE, _SIDE])

    upper = (1 - right) * gather(0) + right * gather(1)
    lower = (1 - right) * gather(padded) + right * gather(padded + 1)
    return (1 - down) * upper + down * lower

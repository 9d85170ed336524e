"""Random affine and elastic distortion of a batch, in one bilinear sampling.

Every image gets its own rotation, scale, shear and shift, and a smooth random displacement field: the
elastic distortion of Simard, Steinkraus and Platt, "Best practices for convolutional neural networks
applied to visual document analysis" (ICDAR 2003).

Their field is white noise smoothed by a Gaussian. Nearly all of its variance lies in a few dozen of
the 784 eigenvectors of its covariance, so the noise is drawn there and spread by one matrix product:
the same distribution at a fraction of the random numbers.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from training.model.network import Tensor
from training.recipe import Recipe

_SIDE = 28
_CENTRE = (_SIDE - 1) / 2
_DISCARDED_VARIANCE = 1e-3
_CHUNK = 1000  # images: few enough for the caches


def is_enabled(recipe: Recipe) -> bool:
    """Whether the recipe asks for any distortion at all."""
    return any((recipe.rotation, recipe.scaling, recipe.shear, recipe.shift, recipe.elastic_std))


class Draws(NamedTuple):
    """The random numbers behind a batch's distortion.

    affine float32 [..., N, 6], uniform from -1 to 1: angle, height, width, shear, down, right.
    elastic float32 [..., N, 2, rank], standard normal; rank 0 without elastic distortion.
    """

    affine: Tensor
    elastic: Tensor


def draw(recipe: Recipe, shape: tuple[int, ...], key: tuple[int, int]) -> Draws:
    """Draws for batches of `shape` (the last axis is N): the same key gives the same numbers.

    To be called outside of a compiled graph: inside one, XLA computes a random number again wherever it
    is used, which costs more than all the rest of the distortion.
    """
    rank = len(smooth_basis(recipe.elastic_sigma)) if recipe.elastic_std else 0
    affine, elastic = tf.random.split([*key], 2)
    return Draws(
        tf.random.stateless_uniform([*shape, 6], affine, -1.0, 1.0),
        tf.random.stateless_normal([*shape, 2, rank], elastic),
    )


def augmented_copy(images: npt.NDArray[np.uint8], recipe: Recipe, key: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A distorted copy of images uint8 [N, 28, 28]: each with a draw of its own; the same key, the same copy."""
    if not is_enabled(recipe):
        return images
    draws = draw(recipe, (len(images),), key)
    slices = [slice(start, start + _CHUNK) for start in range(0, len(images), _CHUNK)]
    pieces = [_rounded(images[part], Draws(*(values[part] for values in draws)), recipe) for part in slices]
    return np.concatenate(pieces)


@tf.function(jit_compile=True, reduce_retracing=True)
def _rounded(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    return tf.cast(distort(images, draws, recipe) + 0.5, tf.uint8)


def distort(images: Tensor, draws: Draws, recipe: Recipe) -> Tensor:
    """Distort each image on its own, as far as the recipe says.

    Args:
        images: uint8 or float32 [N, 28, 28], background 0.
        draws: of the shape of one batch.
        recipe: how much of each distortion.

    Returns:
        float32 [N, 28, 28], in the range of the input.
    """
    rows, columns = _affine(draws.affine, recipe)
    if recipe.elastic_std:
        field = recipe.elastic_std * displacement(draws.elastic, recipe.elastic_sigma)
        rows, columns = rows + field[:, 0], columns + field[:, 1]
    return sample(images, rows, columns)


def _affine(draws: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Where each output pixel is read from: rows and columns, float32 [N, 28, 28] each."""
    extent = [math.radians(recipe.rotation), recipe.scaling, recipe.scaling, recipe.shear]
    extent += [recipe.shift, recipe.shift]
    values = draws * tf.constant(extent, tf.float32)
    angle, tall, wide, shear, down, right = (values[:, i, None, None] for i in range(6))
    y, x = np.meshgrid(*2 * [np.arange(_SIDE, dtype=np.float32) - _CENTRE], indexing="ij")
    cosine, sine = tf.cos(angle), tf.sin(angle)
    slanted = x + shear * y
    rows = (cosine * y - sine * slanted) * (1 + tall) + down
    columns = (sine * y + cosine * slanted) * (1 + wide) + right
    return rows + _CENTRE, columns + _CENTRE


def displacement(noise: Tensor, smoothness: float) -> Tensor:
    """noise [N, 2, rank] -> smooth random fields float32 [N, 2, 28, 28] of unit variance: rows, columns."""
    basis = smooth_basis(smoothness)
    flat = tf.reshape(noise, [-1, len(basis)]) @ tf.constant(basis)
    return tf.reshape(flat, [-1, 2, _SIDE, _SIDE])


def smooth_basis(sigma: float) -> npt.NDArray[np.float32]:
    """B float32 [rank, 784]: white noise [rank] times B is noise smoothed by a Gaussian of `sigma` pixels.

    Scaled so that the field's variance, averaged over its pixels, is 1.
    """
    offsets = np.arange(_SIDE)[:, None] - np.arange(-3 * _SIDE, 4 * _SIDE)[None, :]
    smoothing = np.exp(-0.5 * (offsets / sigma) ** 2)
    values, vectors = np.linalg.eigh(smoothing @ smoothing.T)
    share = np.kron(values, values) / values.sum() ** 2
    order = np.argsort(share)[::-1]
    rank = 1 + int(np.argmax(np.cumsum(share[order]) >= 1 - _DISCARDED_VARIANCE))
    kept = order[:rank]
    basis = np.kron(vectors, vectors).T[kept] * np.sqrt(share[kept] * _SIDE**2)[:, None]
    return np.asarray(basis, np.float32)


def sample(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read images [N, 28, 28] at rows and columns float32 [N, 28, 28], bilinearly; outside is 0."""
    padded = _SIDE + 2
    pixels = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1]]), [-1, padded * padded])
    y = tf.clip_by_value(rows + 1, 0.0, padded - 1.0)
    x = tf.clip_by_value(columns + 1, 0.0, padded - 1.0)
    top, left = (tf.minimum(tf.floor(place), padded - 2.0) for place in (y, x))
    corner = tf.cast(top, tf.int32) * padded + tf.cast(left, tf.int32)
    down, right = y - top, x - left

    def at(offset: int) -> Tensor:
        place = tf.reshape(corner + offset, [-1, _SIDE * _SIDE])
        value = tf.gather(pixels, place, batch_dims=1)
        return tf.reshape(tf.cast(value, tf.float32), [-1, _SIDE, _SIDE])

    upper = (1 - right) * at(0) + right * at(1)
    lower = (1 - right) * at(padded) + right * at(padded + 1)
    return (1 - down) * upper + down * lower

import numpy as np
import tensorflow as tf

from training.model import quantise


def test_rounding_keeps_each_units_largest_weight_and_moves_none_by_more_than_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(0, [0.01, 1, 30], (784, 3)).astype(np.float32)
    rounded = np.asarray(quantise.quantise_dequantise(tf.constant(weights)))
    largest = np.abs(weights).max(axis=0)
    np.testing.assert_allclose(np.abs(rounded).max(axis=0), largest, rtol=1e-6)
    assert (np.abs(rounded - weights) <= 0.5001 * largest / 127).all()
    steps = rounded / (largest / 127)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert len(np.unique(np.rint(steps))) > 100
    np.testing.assert_allclose(quantise.quantise_dequantise(tf.constant(rounded)), rounded, rtol=1e-6)


def test_what_was_rounded_is_read_as_whole_numbers_and_steps() -> None:
    numbers = np.random.default_rng(0).integers(-126, 127, (784, 4)).astype(np.int8)
    numbers[5] = [127, -127, 127, 0]
    numbers[:, 3] = 0
    steps = np.array([0.003, 1.7, 1e-5, 1], np.float32)
    read = quantise.recover(quantise.quantise_dequantise(tf.constant(numbers * steps)))
    assert read is not None
    np.testing.assert_array_equal(read.values, numbers)
    assert read.values.dtype == np.int8
    assert read.scales.dtype == np.float32
    np.testing.assert_allclose(read.scales[:3], steps[:3], rtol=1e-6)
    assert read.scales[3] > 0


def test_weights_that_were_not_rounded_are_not_whole() -> None:
    weights = np.random.default_rng(0).normal(0, 1, (784, 200)).astype(np.float32)
    rounded = np.array(quantise.quantise_dequantise(tf.constant(weights)))
    assert quantise.recover(weights) is None
    rounded[17, 3] += 0.01 * np.abs(rounded[:, 3]).max() / 127
    assert quantise.recover(rounded) is None

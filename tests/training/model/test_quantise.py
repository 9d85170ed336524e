"""Per-channel symmetric int8 quantisation."""

import numpy as np
import tensorflow as tf

from training.model import quantise


def test_quantisation_keeps_the_largest_weight_of_each_unit_and_moves_others_by_at_most_half_a_step() -> None:
    weights = np.random.default_rng(0).normal(0, [0.01, 1, 30], (784, 3)).astype(np.float32)
    quantised = np.asarray(quantise.quantise_dequantise(tf.constant(weights)))
    largest = np.abs(weights).max(axis=0)
    np.testing.assert_allclose(np.abs(quantised).max(axis=0), largest, rtol=1e-6)
    assert (np.abs(quantised - weights) <= 0.5001 * largest / 127).all()
    steps = quantised / (largest / 127)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert len(np.unique(np.rint(steps))) > 100
    np.testing.assert_allclose(quantise.quantise_dequantise(tf.constant(quantised)), quantised, rtol=1e-6)


def test_recovers_integers_and_scales_of_quantised_weights() -> None:
    values = np.random.default_rng(0).integers(-126, 127, (784, 4)).astype(np.int8)
    values[5] = [127, -127, 127, 0]
    values[:, 3] = 0
    scales = np.array([0.003, 1.7, 1e-5, 1], np.float32)
    recovered = quantise.recover(quantise.quantise_dequantise(tf.constant(values * scales)))
    assert recovered is not None
    np.testing.assert_array_equal(recovered.values, values)
    assert recovered.values.dtype == np.int8
    assert recovered.scales.dtype == np.float32
    np.testing.assert_allclose(recovered.scales[:3], scales[:3], rtol=1e-6)
    assert recovered.scales[3] > 0


def test_recovers_nothing_from_weights_that_are_not_quantised() -> None:
    weights = np.random.default_rng(0).normal(0, 1, (784, 200)).astype(np.float32)
    quantised = np.array(quantise.quantise_dequantise(tf.constant(weights)))
    assert quantise.recover(weights) is None
    quantised[17, 3] += 0.01 * np.abs(quantised[:, 3]).max() / 127
    assert quantise.recover(quantised) is None

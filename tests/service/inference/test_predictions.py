"""Tests Predictions: digits, confidence and uncertainty against NumPy's argmax and max, row by row, and slices."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.errors import InvalidPrediction
from service.inference.predictions import MAX_CONFIDENCE, Predictions

FLOAT32 = st.floats(0, 1, width=32)


def one_hot(digit: int, confidence: float) -> npt.NDArray[np.float32]:
    """Probabilities float32 [10] with `confidence` at `digit`, and the rest spread evenly."""
    row = np.full(10, (1 - confidence) / 9, np.float32)
    row[digit] = confidence
    return row


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.just(10)), elements=FLOAT32), FLOAT32)
def test_every_row_gives_its_most_probable_digit(probabilities: npt.NDArray[np.float32], threshold: float) -> None:
    predictions = Predictions.from_probabilities(probabilities, threshold)
    assert list(predictions.digits) == [int(np.argmax(row)) for row in probabilities]
    assert predictions.confidence.dtype == np.float32
    assert predictions.confidence.tolist() == [float(np.max(row)) for row in probabilities]
    assert list(predictions.uncertain) == [float(np.max(row)) < threshold for row in probabilities]
    assert predictions.probabilities is probabilities


@pytest.mark.parametrize("count", [1, 3])
def test_a_confidence_equal_to_the_threshold_is_certain(count: int) -> None:
    probabilities = np.stack([one_hot(4, 0.5)] * count)
    above = float(np.nextafter(np.float32(0.5), np.float32(1)))
    assert list(Predictions.from_probabilities(probabilities, 0.5).uncertain) == [False] * count
    assert list(Predictions.from_probabilities(probabilities, above).uncertain) == [True] * count


@pytest.mark.parametrize("count", [1, 2, 3])
def test_digits_and_flags_are_plain_python_values(count: int) -> None:
    """orjson and the metrics' label caches take ints and bools, not NumPy scalars."""
    predictions = Predictions.from_probabilities(np.stack([one_hot(9, 0.9)] * count), 0.95)
    assert [type(digit) for digit in predictions.digits] == [int] * count
    assert [type(flag) for flag in predictions.uncertain] == [bool] * count
    assert predictions.confidence.shape == (count,)


def test_equal_probabilities_give_the_lower_digit() -> None:
    tie = np.zeros((2, 10), np.float32)
    tie[:, [3, 7]] = 0.5
    for probabilities in (tie, tie[:1]):
        assert set(Predictions.from_probabilities(probabilities, 0.0).digits) == {3}


@given(st.integers(1, 6), st.data())
def test_a_slice_equals_the_predictions_for_those_rows(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    probabilities = np.stack([one_hot(index % 10, 0.3 + 0.1 * index) for index in range(count)])
    part = Predictions.from_probabilities(probabilities, 0.55).slice(start, stop)
    expected = Predictions.from_probabilities(probabilities[start:stop], 0.55)
    assert list(part.digits) == list(expected.digits)
    assert list(part.uncertain) == list(expected.uncertain)
    assert np.array_equal(part.confidence, expected.confidence)
    assert np.array_equal(part.probabilities, expected.probabilities)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5, 1.001])
def test_a_confidence_that_is_no_probability_is_uncertain_and_found_by_the_check(count: int, wrong: float) -> None:
    """The check runs for uncertain predictions only, so that it costs nothing for the others."""
    probabilities = np.stack([one_hot(4, 0.9)] * count)
    probabilities[-1] = wrong
    predictions = Predictions.from_probabilities(probabilities, 0.0)
    assert list(predictions.uncertain) == [False] * (count - 1) + [True]
    message = rf"^the confidence of prediction {count} is {np.float32(wrong)}\d*, not one from 0 to 1; version 7 of the"
    with pytest.raises(InvalidPrediction, match=message):
        predictions.check("7")


@pytest.mark.parametrize("count", [1, 2])
def test_a_nan_beside_a_number_is_found_too(count: int) -> None:
    probabilities = np.stack([one_hot(4, 0.9)] * count)
    probabilities[0, 8] = np.nan
    predictions = Predictions.from_probabilities(probabilities, 0.0)
    with pytest.raises(InvalidPrediction, match="prediction 1 is nan"):
        predictions.check("1")


@pytest.mark.parametrize("count", [1, 2])
def test_a_confidence_that_was_rounded_over_1_passes(count: int) -> None:
    probabilities = np.zeros((count, 10), np.float32)
    probabilities[:, 3] = np.nextafter(np.float32(1), np.float32(2))
    assert probabilities[0, 3] < MAX_CONFIDENCE
    predictions = Predictions.from_probabilities(probabilities, 0.5)
    assert list(predictions.uncertain) == [False] * count
    predictions.check("1")

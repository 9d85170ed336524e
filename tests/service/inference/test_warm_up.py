"""Tests the warm-up: images and batch sizes of requests, and outputs that are no probabilities for one of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.inference.predictions import Predictions
from service.inference.rejection import ModelRejected
from service.inference.runtimes import MAX_CHUNK
from service.inference.warm_up import warm_up, warm_up_batches
from service.types import Batch, Probabilities

Network = Callable[[Batch], Probabilities]


def even(rows: int, columns: int = 10, total: float = 1.0) -> Probabilities:
    return np.full((rows, columns), total / columns, np.float32)


def run(network: Network) -> None:
    warm_up(lambda batch: Predictions.from_probabilities(network(batch), 0.5))


def with_row(batch: Batch, row: int, values: Probabilities) -> Probabilities:
    """Even probabilities, but for one row."""
    outputs = even(len(batch))
    outputs[row] = values
    return outputs


def has_ink(batch: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """bool [N, 1]: whether an image has a pixel other than 0."""
    return np.asarray(batch.reshape(len(batch), -1).max(axis=1, keepdims=True) > 0)


def test_runs_blank_images_noise_and_a_digit_in_batches_of_one_two_and_more_than_a_chunk() -> None:
    batches: list[Batch] = []

    def record(batch: Batch) -> Probabilities:
        batches.append(batch)
        return even(len(batch))

    run(record)
    assert {len(batch) for batch in batches} == {1, 2, MAX_CHUNK + 1}
    assert {(batch.dtype.name, batch.shape[1:]) for batch in batches} == {("uint8", (28, 28))}
    singles = [batch[0] for batch in batches if len(batch) == 1]
    assert [int(image.max()) for image in singles][:3] == [0, 255, 255]
    _, full, digit, noise = singles
    assert full.min() == 255
    assert np.count_nonzero(digit) == 80
    assert digit[4:24, 12:16].min() == 255
    assert len(np.unique(noise)) > 200
    assert np.array_equal(batches[-1][0], noise)
    assert all(np.array_equal(first, second) for first, second in zip(batches, warm_up_batches().values(), strict=True))


def test_accepts_rounding_errors() -> None:
    run(lambda batch: even(len(batch), total=1.0005))
    run(lambda batch: even(len(batch), total=0.9995))
    rounded_up = np.zeros(10, np.float32)
    rounded_up[3] = np.nextafter(np.float32(1), np.float32(2))
    run(lambda batch: np.stack([rounded_up] * len(batch)))


OUTPUTS: dict[str, tuple[Network, str]] = {
    "sum over 1": (lambda batch: even(len(batch), total=1.01), r"a blank image are not probabilities: \[0\.10"),
    "sum under 1": (lambda batch: even(len(batch), total=0.99), r"a blank image are not probabilities: \[0\.09"),
    "too many rows": (
        lambda batch: even(len(batch) + 1),
        r"a blank image are float32 \[2, 10\], not float32 \[1, 10\]",
    ),
    "too few columns": (
        lambda batch: even(len(batch), 9),
        r"a blank image are float32 \[1, 9\], not float32 \[1, 10\]",
    ),
    "float64": (
        lambda batch: even(len(batch)).astype(np.float64),
        r"a blank image are float64 \[1, 10\], not float32 \[1, 10\]",
    ),
    "rows missing in a second chunk": (
        lambda batch: even(min(len(batch), MAX_CHUNK)),
        r"257 images of noise are float32 \[256, 10\], not float32 \[257, 10\]",
    ),
    "NaN for blank images": (
        lambda batch: even(len(batch)) / batch.max(axis=(1, 2))[:, None].astype(bool),
        r"a blank image are not probabilities: \[inf, ",
    ),
    "NaN for all but blank images": (
        lambda batch: np.where(has_ink(batch), np.float32(np.nan), even(len(batch))),
        r"a full image are not probabilities: \[nan, ",
    ),
    "NaN for noise": (
        lambda batch: np.where(has_ink(np.isin(batch, 77)), np.float32(np.nan), even(len(batch))),
        r"noise are not probabilities: \[nan, ",
    ),
    "NaN in the second row": (
        lambda batch: with_row(batch, -1, even(1)[0] * np.nan if len(batch) == 2 else even(1)[0]),
        r"a digit and noise are not probabilities: \[nan, ",
    ),
    "NaN in the second chunk": (
        lambda batch: with_row(batch, -1, even(1)[0] * np.nan if len(batch) > 2 else even(1)[0]),
        r"257 images of noise are not probabilities: \[nan, ",
    ),
    "a single NaN": (
        lambda batch: with_row(batch, 0, np.array([1, *[0] * 8, np.nan], np.float32)),
        r"a blank image are not probabilities: \[1\.0, .+ nan\]",
    ),
    "negative": (
        lambda batch: with_row(batch, 0, np.array([1.5, -0.5, *[0] * 8], np.float32)),
        r"a blank image are not probabilities: \[1\.5, -0\.5, ",
    ),
}


@pytest.mark.parametrize("case", OUTPUTS)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_rejects_outputs_that_are_not_probabilities(case: str) -> None:
    network, message = OUTPUTS[case]
    with pytest.raises(ModelRejected, match=rf"^the outputs for {message}") as caught:
        run(network)
    assert caught.value.reason == "signature"

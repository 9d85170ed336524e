"""The warm-up of a model: the first call of a batch size is slow, and the outputs are checked before any request.

Images and batch sizes are those of requests: blank images, noise, a digit; one image, a few, more than one chunk. The
result is encoded as a response is.
"""

from collections.abc import Callable

import numpy as np
import orjson

from service.inference.predictions import MAX_CONFIDENCE, Predictions
from service.inference.rejection import ModelRejected
from service.inference.runtimes import MAX_CHUNK
from service.types import IMAGE_SIDE, Batch

SUM_TOLERANCE = 1e-3
"""How far the sum of ten probabilities may be from 1."""


def warm_up(predict: Callable[[Batch], Predictions]) -> None:
    """Run `Model.predict` on every batch of `warm_up_batches`, and check the predictions.

    Raises:
        ModelRejected: the predictions for a batch are not probabilities, or cannot be encoded as JSON.
    """
    for name, batch in warm_up_batches().items():
        check_predictions(name, len(batch), predict(batch))


def warm_up_batches() -> dict[str, Batch]:
    """Batches of 1, 2 and MAX_CHUNK + 1 images, by what they show."""
    noise = np.random.default_rng(0).integers(0, 256, (MAX_CHUNK + 1, IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    blank, full = np.zeros_like(noise[:1]), np.full_like(noise[:1], 255)
    digit = blank.copy()
    digit[0, 4:24, 12:16] = 255  # a one, in MNIST's form
    return {
        "a blank image": blank,
        "a full image": full,
        "a digit": digit,
        "noise": noise[:1],
        "a digit and noise": np.concatenate([digit, noise[:1]]),
        "blank images": np.concatenate([blank, blank]),
        f"{len(noise)} images of noise": noise,
    }


def check_predictions(name: str, count: int, predictions: Predictions) -> None:
    """Check the predictions for `count` images; `name` says what they show.

    Raises:
        ModelRejected: the probabilities are not float32 [count, 10], finite, from 0 to 1 with a sum of 1 in each row.
    """
    probabilities = predictions.probabilities
    if probabilities.shape != (count, 10) or probabilities.dtype != np.float32:
        raise ModelRejected(
            "signature",
            f"the outputs for {name} are {probabilities.dtype} {list(probabilities.shape)}, not float32 [{count}, 10]",
        )
    in_range = ((probabilities >= 0) & (probabilities <= MAX_CONFIDENCE)).all(axis=1)  # False for NaN
    is_valid = in_range & (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if not is_valid.all():
        row = probabilities[int(np.argmin(is_valid))].tolist()
        raise ModelRejected("signature", f"the outputs for {name} are not probabilities: {row}")
    columns = (predictions.digits, predictions.confidence, predictions.uncertain, probabilities)
    orjson.dumps(list(zip(*columns, strict=True)), option=orjson.OPT_SERIALIZE_NUMPY)

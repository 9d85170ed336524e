"""The predictions of images in bulk, as arrays. NumPy is imported when they are made, not before."""

from collections.abc import Sequence
from typing import Any

from digits.errors import InvalidResponse
from digits.results import ImagePredictions

IMAGES_A_REQUEST = 5_000
"""Half of what the service takes by default, and a quarter of its bytes."""


def join_predictions(documents: Sequence[dict[str, Any]]) -> ImagePredictions:
    """Return the predictions of responses to POST /predict with the fields digit and confidence.

    The version is that of the last response: the service may change it between two requests.

    Raises:
        InvalidResponse: a document is not such a response.
    """
    import numpy as np  # noqa: PLC0415 - only callers with an array have it

    try:
        rows = [row for document in documents for row in document["predictions"]]
        digits = np.array([row["digit"] for row in rows], dtype=np.uint8)
        confidences = np.array([row["confidence"] for row in rows], dtype=np.float32)
        return ImagePredictions(digits, confidences, str(documents[-1]["version"]))
    except (KeyError, TypeError) as error:
        raise InvalidResponse(f"the response is none of POST /predict: {error!r}") from error

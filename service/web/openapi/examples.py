"""Examples of requests and responses; tests send the requests, and compare the responses with the schemas."""

from base64 import b64encode
from pathlib import Path
from typing import Any

EXAMPLE_FILE = Path(__file__).parents[1] / "example" / "seven.png"
PICTURE = b64encode(EXAMPLE_FILE.read_bytes()).decode()
"""A 28x28 picture of a seven, a PNG file in base64."""

_STROKES = {row: range(8, 20) if row < 8 else range(17 - (row - 8) // 2, 20 - (row - 8) // 2) for row in range(5, 25)}
PIXELS = [[255 if column in _STROKES.get(row, ()) else 0 for column in range(28)] for row in range(28)]
"""A drawn seven, 28x28 integers from 0 to 255."""

PROBABILITIES = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
PREDICTION: dict[str, Any] = {"digit": 7, "confidence": 1.0, "uncertain": False, "probabilities": PROBABILITIES}

PREDICT_REQUESTS: dict[str, object] = {
    "base64": {"images": [PICTURE]},
    "dataUrl": {"image": f"data:image/png;base64,{PICTURE}"},
    "pixels": {"images": [PIXELS]},
    "keras": {"instances": [[[[value / 255 * 0.99] for value in row] for row in PIXELS]]},
}
PREDICT_RESPONSES: dict[str, object] = {
    "allFields": {"model": "digits", "version": "5", "predictions": [PREDICTION]},
    "fields=digit,confidence": {
        "model": "digits",
        "version": "5",
        "predictions": [{"digit": 7, "confidence": 1.0}],
    },
    "split=digits&fields=digit": {
        "model": "digits",
        "version": "5",
        "numbers": ["24"],
        "predictions": [
            {"digit": 2, "picture": 1, "line": 1, "box": [462, 74, 572, 201]},
            {"digit": 4, "picture": 1, "line": 1, "box": [644, 91, 734, 215]},
        ],
    },
}
FEEDBACK = {"image": PICTURE, "digit": 7, "predicted": 1, "version": "5"}

INFER_REQUESTS: dict[str, object] = {
    "pixels": {"inputs": [{"name": "images", "shape": [1, 28, 28], "datatype": "UINT8", "data": [PIXELS]}]},
    "picture": {"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": [PICTURE]}]},
    "digitAlone": {
        "id": "42",
        "inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": [PICTURE]}],
        "outputs": [{"name": "digit"}],
    },
}
INFER_RESPONSES: dict[str, object] = {
    "digitAlone": {
        "model_name": "digits",
        "model_version": "5",
        "id": "42",
        "outputs": [{"name": "digit", "datatype": "INT64", "shape": [1], "data": [7]}],
    }
}

TENSORFLOW_PREDICT_REQUESTS: dict[str, object] = {
    "rows": {"instances": [PIXELS]},
    "namedRows": {"signature_name": "serving_default", "instances": [{"images": PIXELS}]},
    "columns": {"inputs": {"images": [PIXELS]}},
    "base64": {"instances": [{"b64": PICTURE}]},
}
TENSORFLOW_PREDICT_RESPONSES: dict[str, object] = {
    "rows": {"predictions": [PROBABILITIES]},
    "columns": {"outputs": [PROBABILITIES]},
}
TENSORFLOW_CLASSIFY_REQUESTS: dict[str, object] = {"pixels": {"examples": [{"images": PIXELS}]}}
TENSORFLOW_CLASSIFY_RESPONSES: dict[str, object] = {
    "pixels": {"results": [[[str(digit), probability] for digit, probability in enumerate(PROBABILITIES)]]}
}

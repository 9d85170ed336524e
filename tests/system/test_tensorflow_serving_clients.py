"""Clients of TensorFlow Serving's REST API against a running service: every documented form, and Google's own snippets.

The oracle is the SavedModel, run by TensorFlow. The service with TensorFlow as runtime gives the same numbers, bit for
bit; with LiteRT they differ by less than 1e-5. No client library of the REST API is maintained on PyPI: the official
tensorflow-serving-api is gRPC, and its users of REST send JSON with requests, as here.
"""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests
import tensorflow as tf

from service.types import Batch
from tests.conftest import REPOSITORY
from tests.service.payloads import encode
from tests.system.server import Server, serving
from training.data.mnist import Dataset

Floats = npt.NDArray[np.float32]
Oracle = Callable[[Batch], Floats]

TIMEOUT = 60
MODEL = "/v1/models/digits"


@pytest.fixture(scope="module", params=["tensorflow", "litert"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(runtime=request.param, workers=1) as running:
        running.wait_for_workers(1)
        yield running


@pytest.fixture(scope="module")
def version(server: Server) -> str:
    return str(server.client.get("/readyz").json()["version"])


@pytest.fixture(scope="module")
def predict_with_tensorflow(version: str) -> Oracle:
    model = tf.saved_model.load(str(REPOSITORY / "models" / "digits" / version))
    signature = model.signatures["serving_default"]
    return lambda images: np.asarray(signature(images=tf.constant(images))["probabilities"])


@pytest.fixture(scope="module")
def images(mnist: Dataset) -> Batch:
    """Three images that have the form of MNIST, so that they pass as pictures too."""
    return np.ascontiguousarray(mnist.test.images[:3])


def post(server: Server, path: str, body: object, **options: Any) -> dict[str, Any]:
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    response = requests.post(server.address + path, data=data, timeout=TIMEOUT, **options)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "application/json"
    return dict(response.json())


def check(server: Server, found: object, expected: Floats) -> None:
    numbers = np.array(found, np.float32)
    assert numbers.shape == expected.shape
    if server.client.get("/model").json()["runtime"] == "tensorflow":
        assert np.array_equal(numbers, expected)
    assert np.abs(numbers - expected).max() < 1e-5


def picture(image: Batch) -> dict[str, str]:
    return {"b64": b64encode(encode(image)).decode()}


FORMS: dict[str, Callable[[Batch], dict[str, Any]]] = {
    "row form": lambda images: {"instances": images.tolist()},
    "row form, named": lambda images: {"instances": [{"images": image} for image in images.tolist()]},
    "row form, 784 numbers": lambda images: {"instances": images.reshape(-1, 784).tolist()},
    "row form, 28x28x1": lambda images: {"instances": images[..., None].tolist()},
    "row form, from 0 to 1": lambda images: {"instances": (images / 255.0).tolist()},
    "row form, 28x28x1 from 0 to 1": lambda images: {"instances": (images[..., None] / 255.0).tolist()},
    "row form, base64": lambda images: {"instances": [picture(image) for image in images]},
    "row form, named base64": lambda images: {"instances": [{"images": picture(image)} for image in images]},
    "column form": lambda images: {"inputs": images.tolist()},
    "column form, named": lambda images: {"inputs": {"images": images.tolist()}},
    "column form, named base64": lambda images: {"inputs": {"images": [picture(image) for image in images]}},
    "signature_name": lambda images: {"signature_name": "serving_default", "instances": images.tolist()},
    "empty signature_name": lambda images: {"signature_name": "", "inputs": {"images": images.tolist()}},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_documented_form_is_answered_as_the_saved_model_does(
    server: Server, version: str, images: Batch, predict_with_tensorflow: Oracle, form: str
) -> None:
    document = FORMS[form](images)
    key = "outputs" if "inputs" in document else "predictions"
    for path in (f"{MODEL}:predict", f"{MODEL}/versions/{version}:predict"):
        answer = post(server, path, document)
        assert list(answer) == [key]
        check(server, answer[key], predict_with_tensorflow(images))


def test_a_large_body_and_a_compressed_one(server: Server, mnist: Dataset, predict_with_tensorflow: Oracle) -> None:
    many = np.ascontiguousarray(mnist.test.images[:500])
    body = json.dumps({"instances": many.tolist()}).encode()
    for data, headers in ((body, {}), (gzip.compress(body), {"Content-Encoding": "gzip"})):
        answer = post(server, f"{MODEL}:predict", data, headers=headers)["predictions"]
        found, expected = np.array(answer, np.float32), predict_with_tensorflow(many)
        assert np.abs(found - expected).max() < 1e-5  # a runtime computes chunks, whose size changes the last bits


def test_classify_is_answered_with_labels_and_the_same_scores(
    server: Server, images: Batch, predict_with_tensorflow: Oracle
) -> None:
    pixels, files = images.reshape(-1, 784).tolist(), [picture(image) for image in images]
    for values in (pixels, files):
        answer = post(server, f"{MODEL}:classify", {"examples": [{"images": value} for value in values]})
        assert list(answer) == ["results"]
        assert [[label for label, _ in row] for row in answer["results"]] == [list("0123456789")] * 3
        check(server, [[score for _, score in row] for row in answer["results"]], predict_with_tensorflow(images))


def test_the_snippet_of_the_tutorial_of_fashion_mnist(server: Server, mnist: Dataset) -> None:
    """https://www.tensorflow.org/tfx/tutorials/serving/rest_simple : pixels from 0 to 1, [N, 28, 28, 1]."""
    test_images = (mnist.test.images / 255.0).reshape(-1, 28, 28, 1)
    data = json.dumps({"signature_name": "serving_default", "instances": test_images[0:3].tolist()})
    headers = {"content-type": "application/json"}
    json_response = requests.post(
        f"{server.address}/v1/models/digits:predict", data=data, headers=headers, timeout=TIMEOUT
    )
    predictions = json.loads(json_response.text)["predictions"]
    assert np.array_equal(np.argmax(predictions, axis=1), mnist.test.labels[0:3])


def test_the_snippet_of_the_resnet_client(server: Server) -> None:
    """tensorflow_serving/example/resnet_client.py: a picture in base64, without a content type."""
    content = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
    jpeg_bytes = b64encode(content).decode("utf-8")
    predict_request = f'{{"instances" : [{{"b64": "{jpeg_bytes}"}}]}}'
    response = requests.post(f"{server.address}/v1/models/digits:predict", data=predict_request, timeout=TIMEOUT)
    response.raise_for_status()
    assert np.argmax(response.json()["predictions"][0]) == 7


def test_status_and_metadata(server: Server, version: str) -> None:
    """The examples of https://www.tensorflow.org/tfx/serving/api_rest ."""
    for path in (MODEL, f"{MODEL}/versions/{version}"):
        (status,) = requests.get(server.address + path, timeout=TIMEOUT).json()["model_version_status"]
        assert status == {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    metadata = requests.get(f"{server.address}{MODEL}/metadata", timeout=TIMEOUT).json()
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": version}
    assert [dimension["size"] for dimension in signature["inputs"]["images"]["tensor_shape"]["dim"]] == [
        "-1",
        "28",
        "28",
    ]


REJECTED = [
    (f"{MODEL}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    (f"{MODEL}:predict", {"signature_name": "x", "instances": []}, 400, "not found in signature def"),
    (f"{MODEL}:predict", {"instances": [{"x": 1.0}]}, 400, "the only named input is 'images'"),
    (f"{MODEL}/versions/99:predict", {"instances": []}, 404, "version 99 is not served"),
    ("/v1/models/half:predict", {"instances": [1.0, 5.0]}, 404, "Servable not found for request: Latest(half)"),
    (f"{MODEL}:regress", {"examples": [{"x": 1.0}]}, 400, "Expected regression signature"),
]


@pytest.mark.parametrize(("path", "document", "status", "sentence"), REJECTED)
def test_an_error_has_the_status_of_tensorflow_serving(
    server: Server, path: str, document: object, status: int, sentence: str
) -> None:
    response = requests.post(server.address + path, json=document, timeout=TIMEOUT)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert sentence in response.json()["error"]

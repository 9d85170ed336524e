"""The Open Inference Protocol against clients of others: tritonclient, sync and async, and KServe's client.

The oracle is POST /predict: the same images have the same probabilities, bit for bit.
"""

import asyncio
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import InferOutput
from tritonclient.utils import InferenceServerException

from bench.picture_files import encode
from service.types import Batch
from tests.system.server import Server, serving
from training.data.mnist import Dataset

OCTETS = "application/octet-stream"
ALL_OUTPUTS = ["probabilities", "digit", "confidence", "uncertain"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def images(mnist: Dataset) -> Batch:
    return mnist.test.images[:40]


@pytest.fixture(scope="module")
def expected(server: Server, images: Batch) -> list[dict[str, Any]]:
    """The predictions of /predict."""
    response = httpx.post(f"{server.address}/predict", content=images.tobytes(), headers={"Content-Type": OCTETS})
    return list(response.json()["predictions"])


def probabilities_of(expected: list[dict[str, Any]]) -> npt.NDArray[np.float32]:
    return np.array([row["probabilities"] for row in expected], np.float32)


def input_of(values: npt.NDArray[Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("images", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address.removeprefix("http://")) as connected:
        yield connected


def check(result: triton.InferResult, expected: list[dict[str, Any]]) -> None:
    assert np.array_equal(result.as_numpy("probabilities"), probabilities_of(expected))
    assert result.as_numpy("digit").tolist() == [row["digit"] for row in expected]
    assert np.array_equal(result.as_numpy("confidence"), np.array([row["confidence"] for row in expected], np.float32))
    assert result.as_numpy("uncertain").tolist() == [row["uncertain"] for row in expected]


def test_tritonclient_reads_health_metadata_configuration_index_and_statistics(
    client: triton.InferenceServerClient, images: Batch
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert not client.is_model_ready("letters")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert [output["name"] for output in metadata["outputs"]] == ALL_OUTPUTS
    (version,) = metadata["versions"]
    assert client.get_model_metadata("digits", version) == metadata
    assert client.get_model_config("digits")["input"][0]["data_type"] == "TYPE_UINT8"
    assert client.get_model_repository_index() == [
        {"name": "digits", "version": version, "state": "READY", "reason": ""}
    ]
    client.infer("digits", [input_of(images, "UINT8")])
    (statistics,) = client.get_inference_statistics("digits")["model_stats"]
    assert statistics["inference_count"] >= len(images)
    assert statistics["inference_stats"]["success"]["count"] >= 1


@pytest.mark.parametrize("datatype", ["UINT8", "INT32", "INT64", "FP32"])
@pytest.mark.parametrize("shape", [(-1, 28, 28), (-1, 784), (-1, 28, 28, 1)])
def test_tritonclient_infers_every_datatype_and_shape_in_both_forms(
    client: triton.InferenceServerClient,
    images: Batch,
    expected: list[dict[str, Any]],
    datatype: str,
    shape: tuple[int, ...],
) -> None:
    kind = {"UINT8": np.uint8, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32}[datatype]
    for count, binary in product((1, len(images)), (True, False)):
        values = images[:count].reshape(shape).astype(kind)
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ALL_OUTPUTS]
        check(client.infer("digits", [input_of(values, datatype, binary=binary)], outputs=outputs), expected[:count])


def test_tritonclient_gets_all_outputs_in_binary_without_asking(
    client: triton.InferenceServerClient, images: Batch, expected: list[dict[str, Any]]
) -> None:
    result = client.infer("digits", [input_of(images, "UINT8")], model_version="", request_id="seven")
    check(result, expected)
    assert result.get_response()["id"] == "seven"
    assert all("binary_data_size" in output["parameters"] for output in result.get_response()["outputs"])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("count", [1, 40])
def test_tritonclient_compresses_requests_and_responses(
    client: triton.InferenceServerClient, images: Batch, expected: list[dict[str, Any]], algorithm: str, count: int
) -> None:
    result = client.infer(
        "digits",
        [input_of(images[:count], "UINT8")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    check(result, expected[:count])


@pytest.mark.parametrize("scale", [None, 255])
def test_tritonclient_sends_values_from_0_to_1(
    client: triton.InferenceServerClient, images: Batch, expected: list[dict[str, Any]], scale: int | None
) -> None:
    tensor = input_of((images / 255).astype(np.float32), "FP32")
    if scale:
        tensor._parameters["scale"] = scale
    check(client.infer("digits", [tensor]), expected)


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_gets_the_most_probable_classes(
    client: triton.InferenceServerClient, images: Batch, expected: list[dict[str, Any]], *, binary: bool
) -> None:
    output = triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)
    texts = client.infer("digits", [input_of(images, "UINT8")], outputs=[output]).as_numpy("probabilities")
    assert texts.shape == (len(images), 3)
    for row, prediction in zip(texts, expected, strict=True):
        classes = [(text.decode() if isinstance(text, bytes) else text).split(":") for text in row]
        assert int(classes[0][1]) == prediction["digit"]
        order = np.argsort(prediction["probabilities"])[::-1][:3]
        assert [label for _, _, label in classes] == [str(digit) for digit in order]
        assert float(classes[0][0]) == pytest.approx(prediction["confidence"], abs=1e-6)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_tritonclient_sends_pictures(
    client: triton.InferenceServerClient, images: Batch, expected: list[dict[str, Any]], shape: tuple[int, ...]
) -> None:
    files = np.array([encode(image) for image in images], object).reshape(shape)
    check(client.infer("digits", [input_of(files, "BYTES")]), expected)


def test_tritonclient_raises_the_sentence_of_the_service(client: triton.InferenceServerClient, images: Batch) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'letters'; the model is 'digits'"):
        client.infer("letters", [input_of(images, "UINT8")])
    with pytest.raises(InferenceServerException, match="version 999 is not served"):
        client.infer("digits", [input_of(images, "UINT8")], model_version="999")
    with pytest.raises(InferenceServerException, match=r"expected: \[N, 28, 28\], \[N, 784\] or"):
        client.infer("digits", [input_of(images.reshape(-1, 28), "UINT8")])
    with pytest.raises(InferenceServerException, match=r"a value of 'images' is 511; expected: from 0 to 255"):
        client.infer("digits", [input_of(images.astype(np.float32) + 256, "FP32")])
    with pytest.raises(InferenceServerException, match="the output is 'logits'; the model has probabilities"):
        client.infer("digits", [input_of(images, "UINT8")], outputs=[triton.InferRequestedOutput("logits")])


def test_tritonclient_parses_the_response_to_raw_bytes(
    server: Server, images: Batch, expected: list[dict[str, Any]]
) -> None:
    for count in (1, len(images)):
        headers = {"Content-Type": OCTETS, "Inference-Header-Content-Length": "0"}
        response = httpx.post(
            f"{server.address}/v2/models/digits/infer", content=images[:count].tobytes(), headers=headers
        )
        length = int(response.headers["Inference-Header-Content-Length"])
        result = triton.InferenceServerClient.parse_response_body(response.content, header_length=length)
        check(result, expected[:count])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_the_asynchronous_tritonclient_compresses_requests_and_responses(
    server: Server, images: Batch, expected: list[dict[str, Any]], algorithm: str
) -> None:
    async def infer() -> triton.InferResult:
        async with triton_aio.InferenceServerClient(server.address.removeprefix("http://")) as client:
            return await client.infer(
                "digits",
                [input_of(images, "UINT8")],
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )

    check(asyncio.run(infer()), expected)


def test_tritonclient_sends_the_api_key(images: Batch) -> None:
    with (
        serving(api_key="secret") as running,
        triton.InferenceServerClient(running.address.removeprefix("http://")) as client,
    ):
        assert client.is_server_ready()
        with pytest.raises(InferenceServerException, match="401"):
            client.infer("digits", [input_of(images, "UINT8")])
        key = {"Authorization": "Bearer secret"}
        assert client.infer("digits", [input_of(images, "UINT8")], headers=key).as_numpy("digit").shape == (40,)
        assert client.get_model_metadata("digits", headers=key)["name"] == "digits"


def test_tritonclient_infers_many_requests_at_once(
    server: Server, images: Batch, expected: list[dict[str, Any]]
) -> None:
    async def infer_each() -> None:
        async with triton_aio.InferenceServerClient(server.address.removeprefix("http://")) as client:
            assert await client.is_model_ready("digits")
            requests = [client.infer("digits", [input_of(image[None], "UINT8")]) for image in images]
            for result, row in zip(await asyncio.gather(*requests), expected, strict=True):
                check(result, [row])

    asyncio.run(infer_each())


@pytest.mark.parametrize("binary", [True, False])
def test_the_client_of_kserve_infers(
    server: Server, images: Batch, expected: list[dict[str, Any]], *, binary: bool
) -> None:
    async def infer() -> list[InferOutput]:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        try:
            assert await client.is_server_live(server.address)
            assert await client.is_server_ready(server.address)
            assert await client.is_model_ready(server.address, "digits")
            tensor = InferInput("images", list(images.shape), "UINT8")
            tensor.set_data_from_numpy(images, binary_data=binary)
            request = InferRequest("digits", [tensor], request_id="seven")
            response = await client.infer(server.address, request, model_name="digits")
            assert response.id == "seven"
            return list(response.outputs)
        finally:
            await client.close()

    outputs = {output.name: output.as_numpy() for output in asyncio.run(infer())}
    assert np.array_equal(outputs["probabilities"], probabilities_of(expected))
    assert outputs["digit"].tolist() == [row["digit"] for row in expected]

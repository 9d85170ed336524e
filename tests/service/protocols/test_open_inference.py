"""service/protocols/open_inference*.py: requests, their errors and responses, without a server."""

import gzip
import json
import struct
import zlib
from base64 import b64encode
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError
from service.inference.predictions import Predictions
from service.prediction.body_parser import ParsedBody
from service.prediction.options import PredictOptions
from service.prediction.protocol import FastBody, PredictRequest, PredictResult, RequestHead
from service.protocols import OPEN_INFERENCE
from service.protocols.open_inference_tensors import DATATYPES
from service.settings import Settings
from tests.service.payloads import encode, stroke

SETTINGS = Settings(max_pictures=20)
ONE = stroke()
IMAGES = np.stack([ONE, ONE.T, ONE[::-1]])


def document(values: npt.NDArray[Any], datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "images", "shape": list(values.shape), "datatype": datatype} | more]}


def json_body(values: npt.NDArray[Any], datatype: str = "UINT8", **more: Any) -> bytes:
    return json.dumps(document(values, datatype, data=values.tolist(), **more)).encode()


def binary_body(values: npt.NDArray[Any], datatype: str = "UINT8", **parameters: Any) -> tuple[bytes, bytes]:
    """A body with binary data, and the length of its JSON."""
    data = values.astype(DATATYPES[datatype]).tobytes()
    head = json.dumps(document(values, datatype, parameters={"binary_data_size": len(data)} | parameters)).encode()
    return head + data, str(len(head)).encode()


def request_of(header_length: bytes = b"", query: bytes = b"", accept_encoding: bytes = b"") -> PredictRequest:
    head = RequestHead(accept_encoding=accept_encoding, inference_header_length=header_length)
    return PredictRequest(OPEN_INFERENCE, head, OPEN_INFERENCE.parse_options(query))


def parse(body: bytes, header_length: bytes = b"", query: bytes = b"") -> ParsedBody:
    return OPEN_INFERENCE.parse(body, request_of(header_length, query).body_format, SETTINGS)


def read_fast(body: bytes, header_length: bytes = b"", query: bytes = b"") -> FastBody | None:
    return OPEN_INFERENCE.read_fast(body, request_of(header_length, query), SETTINGS)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("shape", [(-1, 28, 28), (-1, 784), (-1, 28, 28, 1)])
def test_every_datatype_and_shape_gives_the_images_as_they_are(datatype: str, shape: tuple[int, ...]) -> None:
    values = np.minimum(IMAGES, 127).reshape(shape)  # INT8 ends at 127
    body, length = binary_body(values, datatype)
    numbers = values.astype(DATATYPES[datatype])
    for sent, header_length in ((body, length), (json_body(numbers, datatype), b"")):
        assert np.array_equal(parse(sent, header_length).images, values.reshape(-1, 28, 28))
        fast = read_fast(sent, header_length)
        assert fast
        assert fast.images == values.tobytes()


@given(st.integers(1, 20), st.sampled_from(["UINT8", "FP32"]), st.booleans(), st.booleans())
def test_what_the_fast_path_reads_is_what_the_parser_reads(
    count: int,
    datatype: str,
    flat: bool,  # noqa: FBT001
    binary: bool,  # noqa: FBT001
) -> None:
    values = np.random.default_rng(count).integers(0, 256, (count, 784)).astype(DATATYPES[datatype])
    if binary:
        body, length = binary_body(values, datatype)
    else:
        sent = document(values, datatype, data=(values.reshape(-1) if flat else values).tolist()) | {"id": "7"}
        body, length = json.dumps(sent).encode(), b""
    fast, parsed = read_fast(body, length), parse(body, length)
    assert (fast is None) == (count > 16 or len(body) > 1 << 16)
    if fast:
        assert (fast.images, fast.envelope) == (parsed.images.tobytes(), parsed.envelope)


@pytest.mark.parametrize("scale", [None, 255, 255.0])
@pytest.mark.parametrize("binary", [True, False])
def test_values_from_0_to_1_become_pixels(*, scale: float | None, binary: bool) -> None:
    values = (IMAGES / 255).astype(np.float32)
    parameters = {} if scale is None else {"scale": scale}
    body, length = binary_body(values, "FP32", **parameters)
    if not binary:
        body, length = json_body(values, "FP32", parameters=parameters), b""
    assert np.array_equal(parse(body, length).images, IMAGES)


def test_whole_values_of_0_and_1_are_pixels_unless_there_is_a_scale() -> None:
    values = (IMAGES > 127).astype(np.float32)
    assert np.array_equal(parse(*binary_body(values, "FP32")).images, values)
    assert np.array_equal(parse(*binary_body(values, "FP32", scale=255)).images, values * 255)
    assert np.array_equal(parse(*binary_body(values, "UINT8", scale=255)).images, values * 255)


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_pictures_are_read_and_normalised_in_both_forms(shape: list[int]) -> None:
    files = [encode(image) for image in (ONE, 255 - np.pad(ONE, 40), ONE)]
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    entry = {"name": "images", "shape": shape, "datatype": "BYTES"}
    head = json.dumps({"inputs": [entry | {"parameters": {"binary_data_size": len(data)}}]}).encode()
    texts: Any = [b64encode(file).decode() for file in files]
    texts = [[text] for text in texts] if len(shape) == 2 else texts
    binary = parse(head + data, str(len(head)).encode())
    assert np.array_equal(binary.images[0], ONE)
    assert binary.sources
    assert [source.picture for source in binary.sources] == [1, 2, 3]
    assert np.array_equal(parse(json.dumps({"inputs": [entry | {"data": texts}]}).encode()).images, binary.images)
    assert read_fast(head + data, str(len(head)).encode()) is None


def test_images_are_normalised_if_the_query_says_so() -> None:
    body, length = binary_body(255 - IMAGES)
    assert np.array_equal(parse(body, length).images, 255 - IMAGES)
    assert read_fast(body, length, b"normalise=auto") is None
    normalised = parse(body, length, b"normalise=auto")
    assert not np.array_equal(normalised.images, 255 - IMAGES)
    with pytest.raises(NoDigitFound):
        parse(*binary_body(IMAGES * 0), query=b"normalise=auto")


def test_the_query_has_no_other_parameter() -> None:
    assert OPEN_INFERENCE.parse_options(b"") == PredictOptions()
    for query in (b"fields=digit", b"split=digits", b"show=image", b"x=1"):
        with pytest.raises(BadRequest):
            OPEN_INFERENCE.parse_options(query)


def test_only_binary_numbers_are_plain_bulk() -> None:
    body, length = binary_body(IMAGES)
    assert OPEN_INFERENCE.is_plain_bulk(body, request_of(length))
    assert not OPEN_INFERENCE.is_plain_bulk(body, request_of(length, b"normalise=auto"))
    assert not OPEN_INFERENCE.is_plain_bulk(json_body(IMAGES), request_of())
    assert not OPEN_INFERENCE.is_plain_bulk(body, request_of(b"70000"))
    assert not OPEN_INFERENCE.is_plain_bulk(body, request_of(b"many"))
    assert not OPEN_INFERENCE.is_plain_bulk(body.replace(b'"UINT8"', b'"BYTES"'), request_of(length))
    assert not OPEN_INFERENCE.is_plain_bulk(body, request_of(b"9" * 5000))
    assert not OPEN_INFERENCE.is_plain_bulk(body, request_of("²".encode("latin-1")))


def test_no_spelling_of_a_datatype_makes_pictures_plain_bulk() -> None:
    """Plain bulk is parsed in the worker, outside of the processes that decode pictures."""
    data = struct.pack("<I", 4) + b"\x89PNG"
    head = b'{"inputs":[{"name":"images","shape":[1],"datatype":"BYTE\\u0053","parameters":{"binary_data_size":8}}]}'
    assert json.loads(head)["inputs"][0]["datatype"] == "BYTES"
    assert not OPEN_INFERENCE.is_plain_bulk(head + data, request_of(b"%d" % len(head)))


def entry(**changes: Any) -> bytes:
    """A JSON request of one image, with other values of its input; None removes a key."""
    sent = document(ONE[None], data=ONE.reshape(-1).tolist())["inputs"][0] | changes
    return json.dumps({"inputs": [{key: value for key, value in sent.items() if value is not None}]}).encode()


def whole(**changes: Any) -> bytes:
    """A JSON request of one image, with other keys."""
    return json.dumps(document(ONE[None], data=ONE.reshape(-1).tolist()) | changes).encode()


INVALID: dict[bytes, str] = {
    b"": "the JSON cannot be read",
    b"[]": 'the JSON is not an object {"inputs": [...]}',
    b"{}": "inputs has no list; the model has one input, an object with the name 'images'",
    b'{"inputs": []}': "inputs has 0 entries; the model has one input",
    b'{"inputs": [{}, {}]}': "inputs has 2 entries; the model has one input",
    b'{"inputs": [7]}': "inputs has 1 entries; the model has one input",
    entry(name="x"): "the input is 'x'; the model's is 'images'",
    entry(datatype="FP8"): "the datatype of 'images' is 'FP8'; supported: UINT8, UINT16,",
    entry(datatype=["UINT8"]): "the datatype of 'images' is",
    entry(shape=[28, 28]): "the shape of 'images' is [28, 28]; expected: [N, 28, 28], [N, 784] or [N, 28, 28, 1]",
    entry(shape=[0, 28, 28]): "the shape of 'images' is [0, 28, 28]",
    entry(shape=[True, 28, 28]): "the shape of 'images' is [True, 28, 28]",
    entry(shape="1,28,28"): "the shape of 'images' is 1,28,28",
    entry(datatype="BYTES"): "the shape of 'images' is [1, 28, 28]; expected: [N] or [N, 1]",
    entry(datatype="BYTES", shape=[1]): "the data of 'images' is not a list of 1 texts in base64",
    entry(datatype="BYTES", shape=[1], data=["?"]): "base64",
    entry(data=None): "the data of 'images' has other values than numbers",
    entry(data="text"): "the data of 'images' has other values than numbers",
    entry(data=[[1], [2, 3]]): "the data of 'images' is not an array of numbers with equal rows",
    entry(data=[0] * 783): "the data of 'images' has shape [783]; expected: [1, 28, 28], or all values in one list",
    entry(data=[256] + [0] * 783): "a value of 'images' is 256; expected: from 0 to 255",
    entry(data=[-1] + [0] * 783): "a value of 'images' is -1; expected: from 0 to 255",
    entry(data=[10**30] + [0] * 783): "a value of 'images' is 1e+30; expected: from 0 to 255",
    entry(data=["0"] * 784): "the data of 'images' has other values than numbers",
    entry(parameters=[]): "parameters is []; expected: an object",
    entry(parameters={"scale": 0}): "scale is 0; expected: a factor, 255 for values from 0 to 1",
    entry(parameters={"scale": "255"}): "scale is 255; expected: a factor",
    entry(parameters={"scale": 255}): "a value of 'images' is 65025",
    entry(parameters={"binary_data_size": 784}): "'images' has both data and binary_data_size; send one of them",
    entry(parameters={"binary_data_size": 784}, data=None): "Inference-Header-Content-Length is missing",
    entry(parameters={"binary_data_size": -1}, data=None): "binary_data_size is -1; expected: a number of bytes",
    whole(id=7): "id is '7'; expected: a string of at most 1000 characters",
    whole(id="x" * 1001): "expected: a string of at most 1000 characters",
    whole(parameters=7): "parameters is 7; expected: an object",
    whole(outputs=7): "outputs is 7; expected: a list of at most 4 objects",
    whole(outputs=[7]): "the output is 'None'; the model has probabilities, digit, confidence, uncertain",
    whole(outputs=[{"name": ["digit"]}]): "the output is \"['digit']\"; the model has",
    whole(outputs=[{"name": "logits"}]): "the output is 'logits'; the model has probabilities",
    whole(outputs=[{"name": "digit"}] * 5): "expected: a list of at most 4 objects",
    whole(outputs=[{"name": "digit", "parameters": {"classification": 3}}]): "the output 'digit' has no classes",
    whole(outputs=[{"name": "probabilities", "parameters": {"classification": 11}}]): "classification is 11",
}


@pytest.mark.parametrize("body", INVALID, ids=[str(number) for number in range(len(INVALID))])
def test_a_malformed_request_is_rejected_with_a_sentence(body: bytes) -> None:
    with pytest.raises(BadRequest) as error:
        parse(body)
    assert INVALID[body] in str(error.value)
    assert len(str(error.value)) < 300
    assert read_fast(body) is None


def test_too_many_images_are_rejected() -> None:
    with pytest.raises(PayloadTooLarge, match="'images' has 21 images; 20 are allowed"):
        parse(*binary_body(np.zeros((21, 28, 28), np.uint8)))


BODY, LENGTH = binary_body(IMAGES)
STRINGS = json.dumps(document(np.zeros(2), "BYTES", parameters={"binary_data_size": 8})).encode()


@pytest.mark.parametrize(
    ("body", "length", "sentence"),
    [
        (BODY, b"many", "Inference-Header-Content-Length is 'many'; the body has"),
        (BODY, b"0", "Inference-Header-Content-Length is '0'"),
        (BODY, b"1" * 5000, "Inference-Header-Content-Length is '11111111111111111111'"),
        (BODY, str(len(BODY) + 1).encode(), "the body has"),
        (BODY[:-1], LENGTH, "binary_data_size is 2352; 2351 bytes follow the JSON"),
        (BODY + b"\0", LENGTH, "binary_data_size is 2352; 2353 bytes follow the JSON"),
        (entry() + b"\0", str(len(entry())).encode(), "the input has no binary_data_size"),
        (STRINGS + bytes(8), str(len(STRINGS)).encode(), None),
        (STRINGS + b"\xff\0\0\0" + bytes(4), str(len(STRINGS)).encode(), "element 1 of 'images' has 255 bytes; 4"),
        (STRINGS + b"\2\0\0\0" + bytes(4), str(len(STRINGS)).encode(), "ends before element 2 of 2"),
        (STRINGS + b"\4\0\0\0" + bytes(4), str(len(STRINGS)).encode(), "ends before element 2 of 2"),
    ],
)
def test_binary_data_that_does_not_fit_its_description_is_rejected(
    body: bytes, length: bytes, sentence: str | None
) -> None:
    with pytest.raises(RequestError) as error:
        parse(body, length)
    assert sentence is None or sentence in str(error.value)
    assert read_fast(body, length) is None


@pytest.mark.parametrize(("value", "parameters"), [(1e300, {}), (1e37, {"scale": 255})])
def test_a_value_too_large_for_the_arithmetic_is_rejected_without_a_warning(
    value: float, parameters: dict[str, Any]
) -> None:
    body, length = binary_body(np.full((1, 784), value), "FP64", **parameters)
    with pytest.raises(BadRequest, match="a value of 'images' is inf; expected: from 0 to 255"):
        parse(body, length)


def test_binary_values_that_are_no_pixels_are_rejected() -> None:
    for value, shown in ((np.nan, "nan"), (np.inf, "inf"), (-0.5, "-0.5"), (256, "256.0")):
        with pytest.raises(BadRequest, match=f"a value of 'images' is {shown}; expected: from 0 to 255"):
            parse(*binary_body(np.full((1, 784), value, np.float32), "FP32"))


PREDICTIONS = Predictions(
    [2, 9],
    np.array([0.75, 0.5], np.float32),
    [False, True],
    np.array([[0, 0, 0.75, 0.25, 0, 0, 0, 0, 0, 0], [0] * 8 + [0.5, 0.5]], np.float32),
)


def respond(sent: dict[str, Any], accept_encoding: bytes = b"") -> Any:
    envelope = parse(json.dumps(document(ONE[None], data=ONE.reshape(-1).tolist()) | sent).encode()).envelope
    result = PredictResult(request_of(accept_encoding=accept_encoding), "5", PREDICTIONS, envelope=envelope)
    return OPEN_INFERENCE.encode(result)


def test_the_response_has_all_outputs_in_json_by_default() -> None:
    response = respond({"id": "seven"})
    assert (response.status, response.content_type, response.headers) == (200, "application/json", ())
    assert response.body.endswith(b"}\n")
    assert json.loads(response.body) == {
        "model_name": "digits",
        "model_version": "5",
        "id": "seven",
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": [2, 10],
                "data": PREDICTIONS.probabilities.reshape(-1).tolist(),
            },
            {"name": "digit", "datatype": "INT64", "shape": [2], "data": [2, 9]},
            {"name": "confidence", "datatype": "FP32", "shape": [2], "data": [0.75, 0.5]},
            {"name": "uncertain", "datatype": "BOOL", "shape": [2], "data": [False, True]},
        ],
    }


def test_the_response_has_the_outputs_in_the_order_of_the_request_as_it_wants_them() -> None:
    wanted = [{"name": "uncertain"}, {"name": "digit", "parameters": {"binary_data": True}}]
    response = respond({"outputs": wanted})
    ((name, length),) = response.headers
    assert (name, response.content_type) == ("Inference-Header-Content-Length", "application/octet-stream")
    head, data = json.loads(response.body[: int(length)]), response.body[int(length) :]
    assert "id" not in head
    assert head["outputs"] == [
        {"name": "uncertain", "datatype": "BOOL", "shape": [2], "data": [False, True]},
        {"name": "digit", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}},
    ]
    assert np.frombuffer(data, "<i8").tolist() == [2, 9]


def test_the_request_may_want_all_outputs_in_binary_but_one() -> None:
    wanted = [{"name": "confidence"}, {"name": "digit", "parameters": {"binary_data": False}}]
    response = respond({"parameters": {"binary_data_output": True}, "outputs": wanted})
    length = int(dict(response.headers)["Inference-Header-Content-Length"])
    assert np.frombuffer(response.body[length:], "<f4").tolist() == [0.75, 0.5]
    assert json.loads(response.body[:length])["outputs"][1]["data"] == [2, 9]


@pytest.mark.parametrize("binary", [True, False])
def test_the_most_probable_classes_come_first(*, binary: bool) -> None:
    parameters = {"classification": 2, "binary_data": binary}
    response = respond({"outputs": [{"name": "probabilities", "parameters": parameters}]})
    texts = ["0.750000:2:2", "0.250000:3:3", "0.500000:8:8", "0.500000:9:9"]
    if not binary:
        (output,) = json.loads(response.body)["outputs"]
        assert output == {"name": "probabilities", "datatype": "BYTES", "shape": [2, 2], "data": texts}
        return
    length = int(dict(response.headers)["Inference-Header-Content-Length"])
    assert response.body[length:] == b"".join(struct.pack("<I", 12) + text.encode() for text in texts)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip", "gzip"),
        (b"GZIP;q=1.0", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip, deflate, br", None),  # too small, and not asked for
        (b"br", None),
        (b"gzip;q=0", None),
        (b"", None),
    ],
)
def test_a_small_response_is_compressed_for_a_client_that_names_one_coding(accepted: bytes, coding: str | None) -> None:
    response = respond({}, accepted)
    assert dict(response.headers).get("Content-Encoding") == coding
    if coding:
        body = gzip.decompress(response.body) if coding == "gzip" else zlib.decompress(response.body)
        assert body == respond({}).body
        assert dict(response.headers)["Vary"] == "Accept-Encoding"


def test_a_large_response_is_compressed_for_every_client_that_can_read_it() -> None:
    many = Predictions(
        list(PREDICTIONS.digits) * 50,
        np.tile(PREDICTIONS.confidence, 50),
        list(PREDICTIONS.uncertain) * 50,
        np.tile(PREDICTIONS.probabilities, (50, 1)),
    )
    response = OPEN_INFERENCE.encode(PredictResult(request_of(accept_encoding=b"br, deflate, gzip"), "5", many))
    assert dict(response.headers)["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(response.body))["outputs"][1]["shape"] == [100]

"""service/protocols/open_inference*.py: requests, their errors and responses, without a server."""

import gzip
import json
import struct
import tracemalloc
import zlib
from base64 import b64encode
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
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
    assert OPEN_INFERENCE.is_plain_bulk(IMAGES.tobytes(), request_of(b"0"))
    for wrong in (b"70000", b"many", b"1" * 5000, b"7", str(len(body)).encode()):
        assert not OPEN_INFERENCE.is_plain_bulk(body, request_of(wrong))
    padded, length = binary_body(IMAGES, padding="x" * 4096)
    assert not OPEN_INFERENCE.is_plain_bulk(padded, request_of(length))


@pytest.mark.parametrize("name", [b'"BYTES"', rb'"BYTE\u0053"'])
def test_pictures_are_never_plain_bulk(name: bytes) -> None:
    head = b'{"inputs":[{"name":"images","datatype":%s,"shape":[1],"parameters":{"binary_data_size":100}}]}' % name
    assert not OPEN_INFERENCE.is_plain_bulk(head + bytes(100), request_of(str(len(head)).encode()))
    assert read_fast(head + bytes(100), str(len(head)).encode()) is None


def test_a_long_text_among_many_takes_no_memory_beyond_the_body() -> None:
    body = entry(data=["x" * 30_000] + [""] * 783)
    tracemalloc.start()
    try:
        assert read_fast(body) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20  # 90 MB if each text took as much as the longest
    finally:
        tracemalloc.stop()


def test_raw_bytes_without_json_are_images_and_all_outputs_are_binary() -> None:
    body = IMAGES.tobytes()
    parsed, fast = parse(body, b"0"), read_fast(body, b"0")
    assert np.array_equal(parsed.images, IMAGES)
    assert fast
    assert (fast.images, fast.envelope) == (body, parsed.envelope)
    response = OPEN_INFERENCE.encode(PredictResult(request_of(b"0"), "5", PREDICTIONS, envelope=parsed.envelope))
    head = json.loads(response.body[: int(dict(response.headers)["Inference-Header-Content-Length"])])
    assert [output["parameters"]["binary_data_size"] for output in head["outputs"]] == [80, 16, 8, 2]
    with pytest.raises(BadRequest, match="the body without JSON has 783 bytes; expected: a multiple of 784, as UINT8"):
        parse(body[:783], b"0")
    with pytest.raises(PayloadTooLarge, match="'images' has 21 images; 20 are allowed"):
        parse(bytes(21 * 784), b"0")


def test_the_length_of_the_json_may_be_that_of_the_whole_body() -> None:
    body = json_body(IMAGES)
    assert np.array_equal(parse(body, str(len(body)).encode()).images, IMAGES)


@pytest.mark.parametrize("key", ["id", "outputs", "parameters", "inputs"])
def test_deep_nesting_is_rejected(key: str) -> None:
    deep = "[" * 900 + "]" * 900
    with pytest.raises(BadRequest):
        parse(json.dumps(document(ONE[None], data=[]) | {key: None}).replace("null", deep).encode())
    for name in ("name", "datatype", "shape", "data", "parameters"):
        sent = document(ONE[None])
        sent["inputs"][0][name] = None
        with pytest.raises(BadRequest) as error:
            parse(json.dumps(sent).replace("null", deep).encode())
        assert len(str(error.value)) < 300


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
    entry(data=None): "the data of 'images' is None; expected: an array",
    entry(data="text"): "the data of 'images' is text; expected: an array",
    entry(data=[[[1], [2, 3]]]): "the data of 'images' has other rows than its shape; expected: rows as in [1, 28, 28]",
    entry(data=[[[0] * 28] * 27 + [[0] * 29]]): "the data of 'images' has other rows than its shape",
    entry(data=[0] * 783): "the data of 'images' has 783 values; the shape [1, 28, 28] has 784, nested as it is or in",
    entry(data=[]): "the data of 'images' has 0 values; the shape [1, 28, 28] has 784",
    entry(data=[True] * 784): "the data of 'images' has other values than numbers",
    entry(data=[0.5] * 783 + [False]): "the data of 'images' has other values than numbers",
    entry(data=[None] * 784): "the data of 'images' has other values than numbers",
    entry(data=[1e308] * 784): "a value of 'images' is 1e+308; expected: from 0 to 255",
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
    whole(outputs=[{"name": "probabilities", "parameters": {"classification": -1}}]): "classification is -1",
    whole(outputs=[{"name": "probabilities", "parameters": {"classification": "3"}}]): "classification is 3; expected",
}


@pytest.mark.parametrize("body", INVALID, ids=[str(number) for number in range(len(INVALID))])
def test_a_malformed_request_is_rejected_with_a_sentence(body: bytes) -> None:
    with pytest.raises(BadRequest) as error:
        parse(body)
    assert INVALID[body] in str(error.value)
    assert len(str(error.value)) < 300
    assert read_fast(body) is None


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-300, 2**64)
    | st.floats()
    | st.sampled_from(["images", "UINT8", "BYTES", ""]),
    lambda values: (
        st.lists(values, max_size=4) | st.dictionaries(st.sampled_from(["name", "scale"]), values, max_size=2)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["name", "datatype", "shape", "data", "parameters", "id", "outputs", "inputs"]), JSON_VALUES)
def test_any_value_of_any_key_is_read_or_rejected(key: str, value: Any) -> None:
    sent: dict[str, Any] = document(ONE[None], data=ONE.reshape(-1).tolist())
    (sent if key in ("id", "outputs", "inputs") else sent["inputs"][0])[key] = value
    body = orjson.dumps(sent)
    parsed = None
    with suppress(RequestError):  # any other exception would be a 500
        parsed = parse(body)
    fast = read_fast(body)
    assert fast is None or (parsed and fast.images == parsed.images.tobytes())
    assert parsed is None or orjson.loads(orjson.dumps(parsed.envelope)).keys() == (parsed.envelope or {}).keys()


def test_too_many_images_are_rejected() -> None:
    with pytest.raises(PayloadTooLarge, match="'images' has 21 images; 20 are allowed"):
        parse(*binary_body(np.zeros((21, 28, 28), np.uint8)))


BODY, LENGTH = binary_body(IMAGES)
STRINGS = json.dumps(document(np.zeros(2), "BYTES", parameters={"binary_data_size": 8})).encode()


@pytest.mark.parametrize(
    ("body", "length", "sentence"),
    [
        (BODY, b"many", "Inference-Header-Content-Length is 'many'; the body has"),
        (BODY, b"0", "the body without JSON has"),
        (
            BODY[: int(LENGTH)],
            LENGTH,
            "binary_data_size is 2352; no bytes follow the JSON, or Inference-Header-Content",
        ),
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


def test_binary_values_that_are_no_pixels_are_rejected() -> None:
    for value, shown in ((np.nan, "nan"), (np.inf, "inf"), (-0.5, "-0.5"), (256, "256"), (65024, "65024")):
        for datatype in ("FP16", "FP32", "FP64"):
            with pytest.raises(BadRequest, match=f"a value of 'images' is {shown}; expected: from 0 to 255"):
                parse(*binary_body(np.full((1, 784), value), datatype))


@pytest.mark.parametrize(("value", "datatype"), [(1e300, "FP64"), (-1e300, "FP64"), (1e38, "FP32"), (65000, "FP16")])
@pytest.mark.parametrize("scale", [1, 255])
def test_values_that_overflow_cause_no_warning(value: float, datatype: str, scale: int) -> None:
    with pytest.raises(BadRequest, match="expected: from 0 to 255"):
        parse(*binary_body(np.full((1, 784), value), datatype, scale=scale))


def test_a_scale_applies_to_integers_too() -> None:
    values = np.full((1, 784), 2, np.int64)
    assert set(parse(*binary_body(values, "INT64", scale=100.4)).images.flat) == {201}
    assert set(parse(*binary_body(values, "FP32", scale=0.3)).images.flat) == {1}


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


def test_more_classes_than_there_are_give_all_ten() -> None:
    response = respond({"outputs": [{"name": "probabilities", "parameters": {"classification": 1000}}]})
    (output,) = json.loads(response.body)["outputs"]
    assert (output["shape"], len(output["data"])) == ([2, 10], 20)


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

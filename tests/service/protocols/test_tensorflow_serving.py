"""service/protocols/tensorflow_serving.py: bodies and responses of :predict and :classify, without a server."""

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BadRequest, NoDigitFound, PayloadTooLarge, RequestError
from service.inference.predictions import Predictions
from service.prediction.body_parser import ParsedBody
from service.prediction.protocol import PredictRequest, PredictResult, RequestHead
from service.protocols import find_endpoint, parse_body
from service.settings import Settings
from tests.service.payloads import encode, stroke

ONE = stroke()
TWO = np.ascontiguousarray(ONE.T)
PICTURE = b64encode(encode(ONE)).decode()
PIXELS, OTHER_PIXELS = ONE.tolist(), TWO.tolist()
BLANK = np.zeros((28, 28), np.uint8).tolist()
SETTINGS = Settings()
KEYS = st.sampled_from(["instances", "inputs", "examples", "images", "b64", "signature_name", "context"])
PREDICTIONS = Predictions(
    [1, 0],
    np.array([0.75, 0.5], np.float32),
    [False, True],
    np.array([[0, 0.75, 0.2, 0.05, 0, 0, 0, 0, 0, 0], [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.5]], np.float32),
)


def request(method: str = "predict", query: bytes = b"", content_type: bytes = b"application/json") -> PredictRequest:
    endpoint = find_endpoint(f"/v1/models/digits:{method}")
    assert endpoint
    return endpoint.parse_request(RequestHead(content_type), query)


def parse(document: object, method: str = "predict", query: bytes = b"", **limits: Any) -> ParsedBody:
    """Parse a document by the general parser, and check that the fast path gives the same or leaves it alone."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    asked, limited = request(method, query), Settings(**limits)
    fast = asked.protocol.read_fast(body, asked, limited)
    try:
        parsed = parse_body(body, asked.body_format, limited)
    except RequestError:
        assert fast is None
        raise
    if fast is not None:
        assert (fast.images, fast.envelope) == (parsed.images.tobytes(), parsed.envelope)
    return parsed


ROW, COLUMN = {"is_columnar": False}, {"is_columnar": True}
FORMS: dict[str, tuple[object, object]] = {
    "row, 28x28": ({"instances": [PIXELS, OTHER_PIXELS]}, ROW),
    "row, 784": ({"instances": [ONE.ravel().tolist(), TWO.ravel().tolist()]}, ROW),
    "row, 28x28x1": ({"instances": np.stack([ONE, TWO])[..., None].tolist()}, ROW),
    "row, from 0 to 1": ({"instances": (np.stack([ONE, TWO]) / 255).tolist()}, ROW),
    "row, floats of whole numbers": ({"instances": np.stack([ONE, TWO]).astype(float).tolist()}, ROW),
    "row, named": ({"instances": [{"images": PIXELS}, {"images": OTHER_PIXELS}]}, ROW),
    "row, base64": ({"instances": [{"b64": PICTURE}, OTHER_PIXELS]}, ROW),
    "row, named base64": ({"instances": [{"images": {"b64": PICTURE}}, {"images": OTHER_PIXELS}]}, ROW),
    "row, a data URL": ({"instances": [f"data:image/png;base64,{PICTURE}", OTHER_PIXELS]}, ROW),
    "column, the tensor": ({"inputs": [PIXELS, OTHER_PIXELS]}, COLUMN),
    "column, named": ({"inputs": {"images": [PIXELS, OTHER_PIXELS]}}, COLUMN),
    "column, base64": ({"inputs": {"images": [{"b64": PICTURE}, OTHER_PIXELS]}}, COLUMN),
    "signature": ({"signature_name": "serving_default", "instances": [PIXELS, OTHER_PIXELS]}, ROW),
    "empty signature": ({"signature_name": "", "inputs": [PIXELS, OTHER_PIXELS]}, COLUMN),
    "unknown keys": ({"parameters": {"x": 1}, "instances": [PIXELS, OTHER_PIXELS]}, ROW),
}


@pytest.mark.parametrize("form", FORMS)
def test_reads_every_form_of_a_prediction(form: str) -> None:
    document, envelope = FORMS[form]
    parsed = parse(document)
    assert np.array_equal(parsed.images, [ONE, TWO])
    assert parsed.envelope == envelope


@pytest.mark.parametrize("document", [{"inputs": PIXELS}, {"inputs": {"images": PIXELS}}, {"inputs": {"b64": PICTURE}}])
def test_reads_a_single_image_in_column_form(document: object) -> None:
    assert np.array_equal(parse(document).images, [ONE])


@pytest.mark.parametrize(
    "image", [PIXELS, ONE.ravel().tolist(), {"b64": PICTURE}, (ONE / 255).tolist()], ids=["28x28", "784", "b64", "0..1"]
)
def test_reads_every_form_of_a_classification(image: object) -> None:
    parsed = parse({"examples": [{"images": image}, {"images": image}]}, "classify")
    assert np.array_equal(parsed.images, [ONE, ONE])
    assert parsed.envelope is None


@pytest.mark.parametrize("image", [BLANK, np.full((28, 28), 255).tolist(), (ONE // 12).tolist()])
def test_predicts_an_image_without_contrast_as_tensorflow_serving_does(image: list[list[int]]) -> None:
    asked = request()
    assert np.array_equal(parse({"instances": [image]}).images, [image])
    assert asked.protocol.read_fast(json.dumps({"instances": [image]}).encode(), asked, SETTINGS)


def test_rejects_whole_zeros_and_ones() -> None:
    with pytest.raises(NoDigitFound, match=r"picture 2 of 2: .* the pixels are 0 and 1; white is 255"):
        parse({"instances": [PIXELS, (ONE > 99).astype(int).tolist()]})


def test_a_picture_is_normalised_and_a_blank_one_rejected() -> None:
    inverted = b64encode(encode(255 - ONE)).decode()
    assert parse({"instances": [{"b64": inverted}]}).images.max() == 255
    with pytest.raises(NoDigitFound):
        parse({"instances": [{"b64": b64encode(encode(np.zeros((28, 28), np.uint8))).decode()}]})


def test_normalise_applies_to_pixels() -> None:
    assert parse({"instances": [(255 - ONE).tolist()]}, query=b"normalise=auto").images[0, 0, 0] == 0
    assert parse({"instances": [(255 - ONE).tolist()]}).images[0, 0, 0] == 255


@pytest.mark.parametrize("query", [b"fields=digit", b"split=digits", b"show=image", b"normalise=x", b"verbose=1"])
def test_rejects_other_parameters(query: bytes) -> None:
    with pytest.raises(BadRequest):
        request(query=query)


@pytest.mark.parametrize("content_type", [b"", b"application/x-www-form-urlencoded", b"text/plain"])
def test_ignores_the_content_type(content_type: bytes) -> None:
    asked, body = request(content_type=content_type), json.dumps({"instances": [PIXELS]}).encode()
    fast = asked.protocol.read_fast(body, asked, SETTINGS)
    assert fast
    assert fast.images == ONE.tobytes()
    assert np.array_equal(parse_body(body, asked.body_format, SETTINGS).images, [ONE])


ERRORS: list[tuple[object, str]] = [
    (b"", 'the body has 0 bytes; send {"instances"'),
    (b"{", "the JSON cannot be read: "),
    (b"instances = [1, 2]", "the JSON cannot be read: "),
    (encode(ONE), "the body is a file, PNG; send "),
    (b"@digits.json", "the body is the text 'digits.json', not the file"),
    ([PIXELS], 'the JSON is an array; send {"instances"'),
    ({}, "Missing 'inputs' or 'instances' key; the JSON object has the keys none"),
    ({"images": [PIXELS]}, "Missing 'inputs' or 'instances' key; the JSON object has the keys 'images'"),
    ({"instances": [PIXELS], "inputs": [PIXELS]}, "expecting only one of 'inputs' or 'instances' keys"),
    ({"instances": []}, "instances has 0 entries"),
    ({"instances": 7}, "instances is 7; expected"),
    ({"instances": [PIXELS, 7]}, "picture 2 of 2: the image is 7; expected"),
    ({"instances": [[1, 2]]}, "the image has 1 rows of 2 numbers"),
    ({"instances": [{"flatten_input": PIXELS}]}, "the JSON object has the keys 'flatten_input'; the only named input"),
    ({"instances": [PIXELS, {"images": PIXELS, "x": 1}]}, "picture 2 of 2: the JSON object has the keys 'images', 'x'"),
    ({"instances": [{}]}, "the JSON object has the keys none"),
    ({"instances": [{"b64": 7}]}, "'b64' is 7; expected: base64"),
    ({"instances": [{"b64": "*"}]}, "the base64 cannot be read"),
    ({"inputs": {"x": [PIXELS]}}, "the JSON object has the keys 'x'; the only named input is 'images'"),
    ({"signature_name": 7, "instances": [PIXELS]}, "'signature_name' key must be a string value; it is 7"),
    ({"signature_name": "x", "instances": [PIXELS]}, "Serving signature name: 'x' not found in signature def"),
]


@pytest.mark.parametrize(("document", "sentence"), ERRORS, ids=[sentence for _, sentence in ERRORS])
def test_an_error_says_what_to_send(document: object, sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(document)
    assert sentence in str(caught.value)


CLASSIFY_ERRORS: list[tuple[object, str]] = [
    ({"instances": [PIXELS]}, "When method is classify, key 'examples' is expected; the JSON object has the keys"),
    ({"examples": [{"images": PIXELS}], "context": {"x": 1}}, "the JSON has a context"),
    ({"examples": []}, "examples has 0 entries"),
    ({"examples": [{"x": 1.0}]}, "the JSON object has the keys 'x'; the only named input is 'images'"),
]


@pytest.mark.parametrize(("document", "sentence"), CLASSIFY_ERRORS, ids=[sentence for _, sentence in CLASSIFY_ERRORS])
def test_an_error_of_classify_says_what_to_send(document: object, sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(document, "classify")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("document", [{"instances": [PIXELS] * 3}, {"inputs": {"images": [PIXELS] * 3}}])
def test_limits_the_images_of_a_request(document: object) -> None:
    with pytest.raises(PayloadTooLarge, match="has 3 entries; 2 are allowed"):
        parse(document, max_pictures=2)
    assert len(parse(document, max_pictures=3).images) == 3


def test_many_named_pictures_pass_the_limit_on_objects() -> None:
    document = {"instances": [{"images": {"b64": PICTURE}}] * 8000}
    assert len(json.dumps(document)) > 1 << 20
    assert len(parse(document, max_pictures=8000).images) == 8000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(PIXELS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("method", ["predict", "classify"])
@settings(max_examples=300, deadline=None, derandomize=True)
@given(document=VALUES | st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_json_is_parsed_or_rejected_with_one_sentence(method: str, document: object) -> None:
    result = parse_or_error(document, method)
    if isinstance(result, ParsedBody):
        assert result.images.shape[1:] == (28, 28)
    else:
        assert 400 <= result.status < 500
        assert 0 < len(str(result)) < 300
        assert str(result).isprintable()


def parse_or_error(document: object, method: str) -> ParsedBody | RequestError:
    try:
        return parse(document, method)
    except RequestError as error:
        return error


def test_leaves_many_images_and_fractions_to_the_general_parser() -> None:
    asked = request()
    for document in ({"instances": [PIXELS] * 17}, {"instances": [(ONE / 255).tolist()]}):
        body = json.dumps(document, separators=(",", ":")).encode()
        assert len(body) < 1 << 16
        assert asked.protocol.read_fast(body, asked, SETTINGS) is None
        assert not asked.protocol.is_plain_bulk(body, asked)


def encoded(method: str, envelope: dict[str, Any] | None) -> bytes:
    asked = request(method)
    return asked.protocol.encode(PredictResult(asked, "5", PREDICTIONS, envelope=envelope)).body


def test_row_form_is_answered_with_predictions() -> None:
    assert encoded("predict", ROW) == (
        b'{"predictions":[[0.0,0.75,0.2,0.05,0.0,0.0,0.0,0.0,0.0,0.0],[0.5,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.5]]}\n'
    )


def test_column_form_is_answered_with_outputs() -> None:
    assert encoded("predict", COLUMN) == encoded("predict", ROW).replace(b"predictions", b"outputs")


def test_classify_is_answered_with_labels_and_scores() -> None:
    rows = json.loads(encoded("classify", None))["results"]
    assert [len(row) for row in rows] == [10, 10]
    assert rows[0][:4] == [["0", 0.0], ["1", 0.75], ["2", 0.2], ["3", 0.05]]
    assert rows[1][9] == ["9", 0.5]


def test_the_path_may_name_a_version() -> None:
    for method in ("predict", "classify"):
        endpoint = find_endpoint(f"/v1/models/digits/versions/12:{method}")
        assert endpoint
        assert (endpoint.version, endpoint.route) == ("12", f"/v1/models/digits/versions/<version>:{method}")
    for path in (
        "/v1/models/digits",
        "/v1/models/digits:regress",
        "/v1/models/x:predict",
        "/v1/models/digits/:predict",
    ):
        assert find_endpoint(path) is None

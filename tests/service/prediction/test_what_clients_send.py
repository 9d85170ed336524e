"""Tests bodies as clients send them: read whatever their type is, or refused with a sentence that says what to send."""

import gzip
import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from urllib.parse import quote_from_bytes, urlencode

import numpy as np
import pytest

from service.errors import RequestError
from service.imaging.reader import NormaliseOptions, read_picture
from service.prediction.body_parser import SUPPORTED_TYPES, is_plain_bulk, parse_body
from service.settings import Settings
from service.types import Batch
from tests.service.payloads import FORM, encode, form, idx3, json_of, npy, pad_png, stroke
from training.data.mnist import Dataset

ONE, TWO = stroke(), np.maximum(stroke(), np.eye(28, dtype=np.uint8) * 90)
PNG, JPEG = encode(ONE), encode(255 - np.kron(ONE, np.ones((4, 4), np.uint8)), kind="JPEG")
BASE64 = b64encode(PNG).decode()
JSON, OCTETS, TEXT = "application/json", "application/octet-stream", "text/plain"
URL_ENCODED = "application/x-www-form-urlencoded"
LIMITS = Settings(max_pictures=50)


def images_of(body: bytes, content_type: str) -> Batch:
    return parse_body(body, content_type, LIMITS).images


def message_of(body: bytes, content_type: str) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        parse_body(body, content_type, LIMITS)
    return caught.value.status, str(caught.value)


WRONG_TYPES = ["", OCTETS, URL_ENCODED, TEXT, JSON, FORM, "multipart/form-data", "application/x-npy", "image/heic", "x"]


@pytest.mark.parametrize("content_type", WRONG_TYPES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_a_picture_is_told_by_its_first_bytes(kind: str, content_type: str) -> None:
    file = encode(np.kron(255 - ONE, np.ones((4, 4), np.uint8)), kind=kind)
    (digit,) = read_picture(file, LIMITS, NormaliseOptions())
    assert np.array_equal(images_of(file, content_type), [digit.image])
    assert not is_plain_bulk(file, content_type, NormaliseOptions())


@pytest.mark.parametrize("images", [1, 2])
def test_a_picture_of_a_multiple_of_784_bytes_is_not_read_as_pixels(images: int) -> None:
    for file in (pad_png(PNG, 784 * images), JPEG.ljust(784 * 3, b"\0")):
        assert len(file) % 784 == 0
        (digit,) = read_picture(file, LIMITS, NormaliseOptions())
        assert np.array_equal(images_of(file, OCTETS), [digit.image])
        assert not is_plain_bulk(file, OCTETS, NormaliseOptions())


@pytest.mark.parametrize("content_type", WRONG_TYPES)
def test_arrays_are_told_by_their_first_bytes(content_type: str) -> None:
    for body in (npy(ONE[None]), idx3(ONE[None])):
        if content_type == "application/x-npy" and body.startswith(b"\0"):
            continue
        assert np.array_equal(images_of(body, content_type), [ONE])
        assert is_plain_bulk(body, content_type, NormaliseOptions())
        assert not is_plain_bulk(body, content_type, NormaliseOptions("auto"))


def test_raw_pixels_are_read_with_their_type_only(mnist: Dataset) -> None:
    body = mnist.test.images[:50].tobytes()
    assert np.array_equal(images_of(body, OCTETS), mnist.test.images[:50])
    assert is_plain_bulk(body, OCTETS, NormaliseOptions())
    assert message_of(body, "") == (415, f"the content type is missing; supported: {SUPPORTED_TYPES}")
    assert message_of(body, URL_ENCODED)[0] == 400


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (gzip.compress(json_of(ONE)), "gzip"),
        (b"\0\0\0\x18ftypheic" + bytes(772), "HEIC"),
        (b"\0\0\0\x20ftypisom" + bytes(772), "MP4"),
        (b"PK\x03\x04" + bytes(780), "ZIP"),
        (encode(ONE, kind="PDF"), "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
@pytest.mark.parametrize("content_type", [OCTETS, "", "image/heic", URL_ENCODED, JSON])
def test_files_of_other_formats_are_named(body: bytes, name: str, content_type: str) -> None:
    for sent in (body, body.ljust(784 * 5, b"\0")):
        status, message = message_of(sent, content_type)
        assert status == 415
        assert message.startswith(f"the file is {name}, which is not read as a picture; ")
        assert not is_plain_bulk(sent, content_type, NormaliseOptions())
    assert message_of(form(body), FORM) == message_of(body, "")
    assert message_of(json_of(body), JSON) == message_of(body, "")


def test_gzip_without_its_header_names_the_header() -> None:
    assert message_of(gzip.compress(json_of(ONE)), JSON)[1].endswith(
        "unpack it, or send it with the header Content-Encoding: gzip"
    )


@pytest.mark.parametrize(
    "content_type", ["", TEXT, URL_ENCODED, OCTETS, "text/json", "application/ld+json", "image/png"]
)
def test_json_is_told_by_its_first_bytes(content_type: str) -> None:
    for body in (json_of(ONE), b"\n { \n" + json_of(PNG)[1:] + b"\n"):
        assert np.array_equal(images_of(body, content_type), [ONE])
        assert not is_plain_bulk(body, content_type, NormaliseOptions())


def test_json_of_a_multiple_of_784_bytes_is_not_read_as_pixels() -> None:
    body = json_of(ONE)
    assert np.array_equal(images_of(body.ljust(len(body) + -len(body) % 784), OCTETS), [ONE])


@pytest.mark.parametrize("content_type", ["", TEXT, OCTETS, URL_ENCODED, "multipart/form-data"])
def test_a_form_is_told_by_its_first_bytes(content_type: str) -> None:
    """Its boundary is on its first line; clients that set the header Content-Type by hand leave it out."""
    assert np.array_equal(images_of(form(PNG, encode(TWO)), content_type)[0], ONE)
    assert len(images_of(form(PNG, encode(TWO)), content_type)) == 2


# JSON -----------------------------------------------------------------------------------------------------------------

DATA_URL = f"data:image/png;base64,{BASE64}"
TEXTS = {
    "plain": BASE64,
    "data URL": DATA_URL,
    "data URL with parameters": f"Data:image/png;name=a.png;Base64,{BASE64}",
    "line breaks": encodebytes(PNG).decode(),
    "CRLF": encodebytes(PNG).decode().replace("\n", "\r\n"),
    "URL-safe": urlsafe_b64encode(PNG).decode(),
    "without padding": BASE64.rstrip("="),
    "data URL, URL-safe, without padding": f"data:image/png;base64,{urlsafe_b64encode(PNG).decode().rstrip('=')}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_base64_is_read_in_every_form(name: str) -> None:
    text = TEXTS[name]
    documents: list[object] = [
        {"images": [text]},
        {"images": text},
        {"image": text},
        {"image": [text]},
        {"instances": [{"b64": text}]},
        {"images": [{"b64": text}]},
        {"images": {"b64": text}},
        {"instances": [{"image": {"b64": text}}]},
        {"signature_name": "serving_default", "instances": [{"b64": text}]},
        [text],
        text,
    ]
    for document in documents:
        assert np.array_equal(images_of(json.dumps(document).encode(), JSON), [ONE]), document


@pytest.mark.parametrize("content_type", [TEXT, "", "image/png", URL_ENCODED, JSON])
def test_base64_alone_is_told_by_its_first_bytes(content_type: str) -> None:
    for text in (BASE64, DATA_URL, encodebytes(PNG).decode()):
        assert np.array_equal(images_of(text.encode(), content_type), [ONE])
    jpeg = b64encode(JPEG)
    assert np.array_equal(images_of(jpeg, content_type), images_of(JPEG, ""))


ARRANGEMENTS = {
    "28x28": (28, 28),
    "784": (784,),
    "28x28x1": (28, 28, 1),
    "1x28x28": (1, 28, 28),
    "784x1": (784, 1),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
@pytest.mark.parametrize("dtype", [int, float])
def test_pixels_are_read_in_every_arrangement(name: str, dtype: type) -> None:
    shape = ARRANGEMENTS[name]
    one, two = (image.reshape(shape).astype(dtype).tolist() for image in (ONE, TWO))
    for document in ({"images": [one]}, {"image": one}, {"images": one}, {"instances": [one]}, [one], one):
        assert np.array_equal(images_of(json.dumps(document).encode(), JSON), [ONE])
    for document in ({"images": [one, two]}, {"instances": [{"image": one}, {"images": two}]}, [one, two]):
        assert np.array_equal(images_of(json.dumps(document).encode(), JSON), [ONE, TWO])
    many = {"images": [one] * 28}
    assert np.array_equal(images_of(json.dumps(many).encode(), JSON), [ONE] * 28)


def test_fractions_from_0_to_1_are_multiplied_by_255() -> None:
    """As tutorials of Keras send images: float32 of a division by 255."""
    images = np.stack([ONE, TWO])
    scaled = images.astype(np.float32) / np.float32(255)
    for shape in ARRANGEMENTS.values():
        body = json.dumps({"instances": scaled.reshape(2, *shape).tolist()}).encode()
        assert np.array_equal(images_of(body, JSON), images)


def test_the_request_decides_whether_white_is_1() -> None:
    """An image of zeros and ones beside one with fractions is scaled; beside one of 0 to 255 it is not."""
    binary = (ONE > 0).astype(int)
    assert np.array_equal(images_of(json_of(binary, ONE / 255), JSON), [binary * 255, ONE])
    status, message = message_of(json_of(ONE, binary), JSON)
    assert (status, message.partition(": ")[0]) == (422, "picture 2 of 2")


@pytest.mark.parametrize("dtype", [int, float])
def test_whole_zeros_and_ones_are_not_touched(dtype: type) -> None:
    body = json_of((ONE > 0).astype(dtype))
    advice = "white is 255, or 1 if there are fractions"
    expected = f"no digit to read: the pixels differ by 1 at most; a stroke needs 32; {advice}"
    assert message_of(body, JSON) == (422, expected)
    with pytest.raises(RequestError):
        parse_body(body, JSON, LIMITS, NormaliseOptions("auto"))


def test_fractions_above_1_are_rounded() -> None:
    values = np.clip(ONE * 0.7 + 0.3, 0, 255)
    assert np.array_equal(images_of(json_of(values), JSON), [np.rint(values)])
    assert message_of(json_of(values, ONE / 255), JSON)[0] == 422


# Forms ----------------------------------------------------------------------------------------------------------------


def part(disposition: str, content: bytes = b"") -> bytes:
    return f"--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


def whole(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


EMPTY_FILE = part('name="b"; filename=""')


def test_empty_file_fields_are_ignored() -> None:
    """Browsers send one for an input without a choice."""
    file = part('name="a"; filename="a.png"', PNG)
    for body in (whole(file, EMPTY_FILE), whole(EMPTY_FILE, file, part("name=b; filename="))):
        assert np.array_equal(images_of(body, FORM), [ONE])
    expected = "the form has 0 file parts; send each picture as one, with curl by -F file=@digit.png"
    assert message_of(whole(EMPTY_FILE, EMPTY_FILE), FORM) == (400, expected)
    named = part('name="b"; filename="b.png"')
    assert message_of(whole(file, named), FORM) == (400, "picture 2 of 2: the picture has 0 bytes")


@pytest.mark.parametrize("text", [*TEXTS.values(), BASE64.replace("+", " ")])
def test_base64_in_a_form_is_read_if_there_is_no_file(text: str) -> None:
    token = part('name="token"', b"secret")
    field = part('name="image"', text.encode())
    assert np.array_equal(images_of(whole(token, field, EMPTY_FILE), FORM), [ONE])
    other = part('name="file"; filename="a.png"', encode(TWO))
    assert len(images_of(whole(field, other), FORM)) == 1
    assert np.array_equal(images_of(whole(part('name="x"', DATA_URL.encode())), FORM), [ONE])


def test_the_bytes_of_a_file_in_a_field_are_read() -> None:
    """curl -F 'image=<x.png' sends them so."""
    assert np.array_equal(images_of(whole(part('name="image"', PNG)), FORM), [ONE])


@pytest.mark.parametrize("text", [*TEXTS.values()])
@pytest.mark.parametrize("key", ["image", "images", "file", "data"])
def test_base64_in_a_url_encoded_form_is_read(text: str, key: str) -> None:
    for body in (urlencode({"token": "a=b", key: text}), f"token=&{key}={text}"):
        assert np.array_equal(images_of(body.encode(), URL_ENCODED), [ONE]), body


def test_the_bytes_of_a_file_in_a_url_encoded_form_are_read() -> None:
    """curl --data-urlencode image@x.png sends them so; Python's urlencode writes spaces as plus signs."""
    for encoded in (quote_from_bytes(PNG).encode(), urlencode({"image": PNG}).encode().partition(b"=")[2]):
        assert np.array_equal(images_of(b"image=" + encoded, URL_ENCODED), [ONE])


def test_plus_signs_that_arrive_as_spaces_are_read() -> None:
    base64 = b64encode(encode(TWO)).decode()
    assert "+" in base64
    for text in (base64, base64.replace("+", " "), base64.replace("+", "%20"), base64.replace("+", "%2B")):
        assert np.array_equal(images_of(f"image={text}".encode(), URL_ENCODED), images_of(encode(TWO), ""))


def test_several_fields_are_several_pictures() -> None:
    body = urlencode([("images[]", BASE64), ("images[]", b64encode(encode(TWO)))]).encode()
    assert len(images_of(body, URL_ENCODED)) == 2
    bad = urlencode([("image", BASE64), ("image", "!")]).encode()
    assert message_of(bad, URL_ENCODED)[1].startswith("picture 2 of 2: the base64 cannot be read: ")


# Slips ----------------------------------------------------------------------------------------------------------------


def strip_line_ends(file: bytes) -> bytes:
    """What curl's -d sends of a file: no line ends and zeros; older versions cut each line at a zero."""
    return file.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("content_type", [URL_ENCODED])
def test_a_picture_without_its_line_ends_is_named(kind: str, content_type: str) -> None:
    file = encode(np.kron(255 - ONE, np.ones((4, 4), np.uint8)), kind=kind)
    lines = b"".join(line.partition(b"\0")[0].replace(b"\r", b"") for line in file.split(b"\n"))
    for stripped in (strip_line_ends(file), lines):
        found = "the body is a picture whose line ends and zeros are missing, as curl sends it by -d"
        assert message_of(stripped, content_type) == (400, f"{found}; send it by --data-binary @FILE or -F file=@FILE")


@pytest.mark.parametrize("content_type", [URL_ENCODED, "image/png", JSON, TEXT, "", OCTETS])
@pytest.mark.parametrize("text", ["x.png", "@x.png", "x.png\n"])
def test_a_file_name_as_the_body_is_named(text: str, content_type: str) -> None:
    advice = "with curl, send the file by --data-binary @x.png or -F file=@x.png"
    assert message_of(text.encode(), content_type) == (400, f"the body is the text 'x.png', not the file; {advice}")


def test_a_file_name_in_a_field_is_named() -> None:
    expected = "the form has the text 'my pictures/x.JPG' where a file belongs; with curl, send the file by "
    field = part('name="digit"', b"my pictures/x.JPG")
    assert message_of(whole(field), FORM) == (400, expected + "-F digit=@my pictures/x.JPG")
    assert message_of(b"image=@my+pictures/x.JPG", URL_ENCODED) == (400, expected + "-F image=@my pictures/x.JPG")


def test_an_empty_body_says_what_to_send() -> None:
    for content_type in ("", JSON, FORM, URL_ENCODED, OCTETS):
        assert message_of(b"", content_type) == (
            400,
            "the body has 0 bytes; send a picture, with curl for example by -F file=@digit.png",
        )

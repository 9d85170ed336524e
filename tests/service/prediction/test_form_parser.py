"""Tests the form parser against werkzeug's public one, its limits, and malformed forms."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from service.errors import BadRequest, PayloadTooLarge, RequestError
from service.prediction.form_parser import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    infer_boundary,
    parse_fields,
    parse_form,
    read_field,
)

FILE = b'Content-Disposition: form-data; name="a"; filename="a.png"'


def part(head: bytes, content: bytes = b"x", newline: bytes = b"\r\n") -> bytes:
    return b"--edge" + newline + head + 2 * newline + content + newline


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--edge--\r\n"


def files_of(body: bytes) -> list[bytes]:
    """The contents of the files as werkzeug parses them."""
    environ = {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), "REQUEST_METHOD": "POST"}
    environ["CONTENT_TYPE"] = "multipart/form-data; boundary=edge"
    _, _, files = parse_form_data(environ)
    parts = [file for name in files for file in files.getlist(name)]
    contents = [file.stream.read() for file in parts]
    for file in parts:
        file.close()
    return contents


@pytest.mark.parametrize(
    ("head", "is_file"),
    [
        (FILE, True),
        (b"content-disposition: FORM-DATA; Name=a; FileName=a.png", True),
        (b'Content-Disposition:form-data;name="a";filename=""', True),
        (b'Content-Disposition: form-data; filename="a;b\\".png"; name="a"', True),
        (b"Content-Disposition: form-data; name=a; filename*=UTF-8''%C3%A9.png", True),
        (b'Content-Disposition: form-data; name="a"', False),
        (b'Content-Disposition: form-data; name="a; filename=b"', False),
        (b'Content-Disposition: form-data; name="filename=b"', False),
        (b'Content-Disposition: form-data; name="a"; xfilename="b"', False),
        (b"Content-Type: image/png\r\n" + FILE + b"\r\nX-Other: filename=1", True),
        (b'X-Other: a\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: a; filename=b', False),
        (b'Content-Disposition: form-data;\r\n name="a";\r\n filename="a.png"', True),
        ('Content-Disposition: form-data; name="a"; filename="é.png"'.encode(), True),
    ],
)
def test_a_part_with_a_file_name_is_a_file(head: bytes, is_file: bool) -> None:  # noqa: FBT001
    body = form(part(head, b"content"), part(FILE, b"other"))
    expected = [b"content", b"other"] if is_file else [b"other"]
    assert parse_form(body, b"edge", 2) == expected
    assert read_field(body, b"edge", b"a", 2) == (b"" if is_file or b'"a"' not in head else b"content")
    assert files_of(body) == expected


@pytest.mark.parametrize(
    ("disposition", "is_ignored"),
    [
        (b'form-data; name="a"; filename=""', True),
        (b'form-data; filename=""; name="a"', True),
        (b"form-data; name=a; FileName=", True),
        (b"form-data; filename = ; name=a", True),
        (b'form-data; name="a"; filename="a.png"', False),
        (b'form-data; name="a"; filename=a', False),
        (b'form-data; name="; filename="; filename="a"', False),
    ],
)
def test_a_file_without_name_and_content_is_ignored(disposition: bytes, is_ignored: bool) -> None:  # noqa: FBT001
    """Browsers send it for an input without a choice."""
    head = b"Content-Disposition: " + disposition
    assert parse_form(form(part(head, b""), part(FILE)), b"edge", 9) == ([b"x"] if is_ignored else [b"", b"x"])
    assert parse_form(form(part(head, b"y"), part(FILE)), b"edge", 9) == [b"y", b"x"]


def test_fields_that_are_not_files_have_their_names() -> None:
    fields = [b'name="a"', b"name=b", 'name="é"'.encode(), b'title="c"']
    parts = [part(b"Content-Disposition: form-data; " + field, b"%d" % number) for number, field in enumerate(fields)]
    assert parse_fields(form(part(FILE), *parts), b"edge", 9) == [("a", b"0"), ("b", b"1"), ("é", b"2"), ("", b"3")]


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"--edge\r\nContent", b"edge"),
        (b"--edge \t\nContent", b"edge"),
        (b"--" + b"a" * 70 + b"\r\n", b"a" * 70),
        (b"preamble\r\n--edge\r\n", b""),
        (b"", b""),
    ],
)
def test_the_boundary_is_that_of_the_first_line(body: bytes, boundary: bytes) -> None:
    assert infer_boundary(body) == boundary


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(max_size=60) | st.sampled_from([b"\r\n", b"--", b"\r\n-", b"\r\n--edg"]), st.booleans())
    )
)
def test_contents_are_those_that_werkzeug_parses(parts: list[tuple[bytes, bool]]) -> None:
    assume(not any(b"\r\n--edge" in b"\r\n" + content for content, _ in parts))
    field = b'Content-Disposition: form-data; name="a"'
    body = form(*(part(FILE if is_file else field, content) for content, is_file in parts))
    assert parse_form(body, b"edge", 1000) == files_of(body) == [content for content, is_file in parts if is_file]


@pytest.mark.parametrize(
    "body",
    [
        b"a preamble\r\n" + form(part(FILE)),
        b"\r\n" + form(part(FILE)),
        form(part(FILE)) + b"an epilogue\r\n--edge\r\n",
        form(part(FILE))[:-2],
        form(part(FILE)).replace(b"--edge\r\n", b"--edge \t\r\n", 1),
        form(part(FILE, newline=b"\n")),
        b"a preamble\n" + form(part(FILE, newline=b"\n")),
    ],
    ids=["preamble", "empty line", "epilogue", "no last line end", "padding", "LF", "preamble and LF"],
)
def test_what_surrounds_the_parts_is_ignored(body: bytes) -> None:
    assert parse_form(body, b"edge", 1) == [b"x"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "its closing boundary is missing"),
        (b"--edge", "its closing boundary is missing"),
        (part(FILE), "its closing boundary is missing"),
        (b"--other--\r\n", "its closing boundary is missing"),
        (form(part(FILE), part(b"Content-Type: image/png")), "part 2 has no header Content-Disposition"),
        (form(part(FILE), b"--edge\r\n\r\ncontent\r\n"), "part 2 has no header Content-Disposition"),
        (form(b"--edge\r\n" + FILE + b"\r\n"), "part 1 has no end of its headers"),
        (form(b"--edgewise\r\n" + FILE + b"\r\n\r\n\r\n"), "there is text after the boundary of part 1"),
    ],
)
def test_rejects_a_malformed_form(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_form(body, b"edge", 10)
    assert str(caught.value) == f"the form cannot be read: {message}"


def test_the_limits_are_exact() -> None:
    assert len(parse_form(form(*[part(FILE)] * 7), b"edge", 7)) == 7
    with pytest.raises(PayloadTooLarge, match=r"^the form has more than 6 parts, which is the limit$"):
        parse_form(form(*[part(FILE)] * 7), b"edge", 6)
    headers = [FILE, *[b"a: b"] * 15]
    assert parse_form(form(part(b"\r\n".join(headers))), b"edge", 1) == [b"x"]
    with pytest.raises(PayloadTooLarge, match=r"^part 1 of the form has more than 16 headers, which is the limit$"):
        parse_form(form(part(b"\r\n".join([*headers, b"a: b"]))), b"edge", 1)
    long = FILE + b"\r\na: "
    assert parse_form(form(part(long + b"b" * (4094 - len(long)))), b"edge", 1) == [b"x"]
    for size in (4095, 10_000):
        with pytest.raises(PayloadTooLarge, match=r"^the headers of part 1 of the form have more than 4096 bytes"):
            parse_form(form(part(long + b"b" * (size - len(long)))), b"edge", 1)
    assert (MAX_HEADERS, MAX_HEADER_BYTES) == (16, 4096)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"--edge", b"--edge--", b"\r\n", b"\n", FILE, b"x", b" ", b"\xff", b"--", b"a: b"])))
def test_any_body_is_parsed_or_rejected(pieces: list[bytes]) -> None:
    with suppress(RequestError):
        assert isinstance(parse_form(b"".join(pieces), b"edge", 2), list)

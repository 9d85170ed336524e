"""Fields of a body application/x-www-form-urlencoded, and their pictures.

The format is that of https://url.spec.whatwg.org/#application/x-www-form-urlencoded. A picture is a field with base64,
a data URL, or the percent-encoded bytes of the file, as curl's --data-urlencode sends them. Many clients do not
percent-encode base64: its plus signs arrive as spaces.
"""

import numpy as np

from service.errors import BadRequest, PayloadTooLarge
from service.imaging.file_signatures import identify_file
from service.prediction.base64_text import decode_base64
from service.prediction.client_slips import check_field

PICTURE_FIELDS = frozenset({"image", "images", "file", "files", "picture", "data"})
"""Names of fields that hold a picture; others are ignored."""
_EXAMPLE = "send image=... with the base64 of a picture, or the picture alone as a body of type image/png"

_HEX_VALUES = np.full(256, 255, np.uint8)
_HEX_VALUES[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_HEX_VALUES[np.frombuffer(b"abcdef", np.uint8)] = np.arange(10, 16)
_HEX_VALUES[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)


def parse_url_encoded(body: bytes, max_fields: int) -> list[tuple[str, bytes]]:
    """The names of PICTURE_FIELDS in a body, and their contents, in order.

    Raises:
        BadRequest: there are none.
        PayloadTooLarge: the body has more than `max_fields` fields.
    """
    fields = body.split(b"&", max_fields)
    if len(fields) > max_fields:
        raise PayloadTooLarge(f"the form has more than {max_fields} fields, which is the limit")
    pairs = [field.partition(b"=") for field in fields if field]
    names = [percent_decode(name[:300]).decode("utf-8", "replace") for name, _, _ in pairs]
    found = [
        (name, percent_decode(content)) for name, (_, _, content) in zip(names, pairs, strict=True) if _is_picture(name)
    ]
    if not found:
        known = ", ".join(repr(name[:30]) for name in names[:4]) or "none"
        raise BadRequest(f"the URL-encoded form has the fields {known}; {_EXAMPLE}")
    return found


def _is_picture(name: str) -> bool:
    return name.removesuffix("[]") in PICTURE_FIELDS


def percent_decode(text: bytes) -> bytes:
    """Decode %XX and + in constant time for each byte; a percent sign that begins no such sequence stays."""
    if b"%" not in text:
        return text.replace(b"+", b" ")
    characters = np.frombuffer(text.replace(b"+", b" ") + b"  ", np.uint8)
    high, low = _HEX_VALUES[characters[1:-1]], _HEX_VALUES[characters[2:]]
    is_escape = (characters[:-2] == ord("%")) & (high < 16) & (low < 16)
    decoded, keep = characters.copy(), np.ones(len(characters), bool)
    decoded[:-2][is_escape] = (high << 4 | low)[is_escape]
    keep[1:-1] &= ~is_escape
    keep[2:] &= ~is_escape
    keep[-2:] = False
    return decoded[keep].tobytes()


def decode_field(name: str, content: bytes) -> bytes:
    """The file of a picture in the content of a field.

    Raises:
        BadRequest: the content is neither a file nor base64.
    """
    if identify_file(content):
        return content
    check_field(name, content)
    try:
        return decode_base64(content.decode("ascii"), space="+")
    except UnicodeDecodeError:
        raise BadRequest(f"the field {name[:50]!r} of the form is neither a picture nor base64") from None

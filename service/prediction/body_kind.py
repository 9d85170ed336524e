"""The kind of a request body: by its first bytes, and only if they decide nothing by its content type.

Clients send a wrong type or none: curl's --data-binary sends application/x-www-form-urlencoded, libraries send
application/octet-stream. A file that starts with the signature of a format is never raw pixels.
"""

import re
from enum import Enum, auto

from service.imaging.file_signatures import ARRAY_FORMATS, PICTURE_FORMATS, identify_file
from service.prediction.base64_text import is_base64_file

NPY_TYPE = "application/x-npy"
URL_ENCODED_TYPE = "application/x-www-form-urlencoded"
_FORM_TYPE = "multipart/form-data"
_ARRAY_TYPES = frozenset({"application/octet-stream", NPY_TYPE})
_JSON_TYPES = frozenset({"application/json", "text/json", "application/x-json"})
_HEAD_BYTES = 1024
"""Of a body, in which the first headers of a form are looked for."""
_TEXT_STARTS = frozenset(b"{- \t\r\n")
"""The first bytes of JSON objects and forms."""
_JSON_OBJECT = re.compile(rb'\s*\{\s*"')
_JSON_START = re.compile(rb'\s*(?:\{\s*["}]|\[\s*[\[\]{"\d.])')
_FORM_HEAD = re.compile(rb"--[^\r\n]{1,70}\r?\n(?:[^\r\n]+\r?\n)*?content-disposition\s*:", re.IGNORECASE)


class BodyKind(Enum):
    """How a body is parsed."""

    PICTURE = auto()
    ARRAY = auto()
    """An IDX3 file, a .npy array, or raw pixels."""
    JSON = auto()
    FORM = auto()
    URL_ENCODED = auto()
    BASE64 = auto()
    OTHER_FILE = auto()
    """A file of a format that is not read."""
    UNKNOWN = auto()


def detect_kind(body: bytes, media_type: str) -> BodyKind:
    """Detect the kind of a body that is not empty; `media_type` in small letters, "" without one."""
    if name := identify_file(body):
        if name in PICTURE_FORMATS:
            return BodyKind.PICTURE
        return BodyKind.ARRAY if name in ARRAY_FORMATS else BodyKind.OTHER_FILE
    if media_type in _ARRAY_TYPES:
        return _detect_among_pixels(body)
    if body.startswith(b"--") and _FORM_HEAD.match(body[:_HEAD_BYTES]):
        return BodyKind.FORM
    if is_base64_file(body):
        return BodyKind.BASE64
    return _detect_by_type(body, media_type)


def _detect_among_pixels(body: bytes) -> BodyKind:
    """Pixels may have any values: only what starts and ends like another kind is one."""
    if body[0] not in _TEXT_STARTS:
        return BodyKind.ARRAY
    if _JSON_OBJECT.match(body[:_HEAD_BYTES]) and body[-_HEAD_BYTES:].rstrip().endswith(b"}"):
        return BodyKind.JSON
    if body.startswith(b"--") and _FORM_HEAD.match(body[:_HEAD_BYTES]):
        return BodyKind.FORM
    return BodyKind.ARRAY


def _detect_by_type(body: bytes, media_type: str) -> BodyKind:
    if media_type == _FORM_TYPE:
        return BodyKind.FORM
    if media_type in _JSON_TYPES or media_type.endswith("+json") or _JSON_START.match(body[:_HEAD_BYTES]):
        return BodyKind.JSON
    if media_type.startswith("image/"):
        return BodyKind.PICTURE
    return BodyKind.URL_ENCODED if media_type == URL_ENCODED_TYPE else BodyKind.UNKNOWN

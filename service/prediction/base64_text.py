"""Base64 as clients send it: plain, URL-safe, with line breaks, without padding, or in a data URL.

The alphabets are those of RFC 4648, the line breaks those of RFC 2045, data URLs those of RFC 2397: canvas.toDataURL()
of a browser gives one.
"""

import binascii
from base64 import b64decode

from service.errors import BadRequest
from service.imaging.file_signatures import identify_file

_DATA_URL = "data:"
_MAX_DATA_URL_HEAD = 256
"""Characters before the comma of a data URL."""
_SIGNATURE_TEXT = 32
"""Characters of base64 that hold the signature of a file."""
_URL_SAFE = str.maketrans("-_", "+/")


def decode_base64(text: str, *, space: str = "") -> bytes:
    """Decode base64, or the base64 of a data URL.

    Args:
        text: the base64. Line breaks in it are ignored, and its padding may be missing.
        space: the character that a space stands for.

    Raises:
        BadRequest: it has other characters or a wrong length, or the data URL has no base64.
    """
    if text[:5].lower() == _DATA_URL:
        text = _strip_data_url_head(text)
    try:
        return b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one
        pass
    cleaned = "".join(text.strip("\r\n\t").replace(" ", space).split()).translate(_URL_SAFE).rstrip("=")
    try:
        return b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"the base64 cannot be read: {error}") from None


def is_base64_file(text: bytes) -> bool:
    """Whether a text is a data URL, or starts like the base64 of a file whose format is known."""
    if text[:5].lower() == _DATA_URL.encode():
        return True
    try:
        return identify_file(b64decode(text[:_SIGNATURE_TEXT], validate=True)) is not None
    except ValueError:
        return False


def _strip_data_url_head(text: str) -> str:
    head, comma, content = text[:_MAX_DATA_URL_HEAD].partition(",")
    if not comma or not head.lower().rstrip().endswith(";base64"):
        raise BadRequest("the data URL has no base64; expected: data:image/png;base64,...")
    return text[len(text[:_MAX_DATA_URL_HEAD]) - len(content) :]

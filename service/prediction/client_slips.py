"""Slips of clients, curl's above all: bodies that are not what their sender means, and what to type instead."""

import re

from service.errors import BadRequest
from service.prediction.body_kind import URL_ENCODED_TYPE, BodyKind

EMPTY_BODY = "the body has 0 bytes; send a picture, with curl for example by -F file=@digit.png"

_MAX_NAME_BYTES = 300
_FILE_NAME = re.compile(
    rb"@?([^\x00-\x1f\x7f-\xff\"'<>|{}\[\]=&]{1,255}\."
    rb"(?:png|jpe?g|gif|bmp|webp|tiff?|heic|heif|avif|svg|pdf|npy|npz|gz|json|txt|raw|bin))\s*",
    re.IGNORECASE,
)
_REMOVED_BY_CURL = (b"\n", b"\0", b"\r")
"""curl's -d leaves out line ends, and zeros or what follows them on a line."""
_PREFIXES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*", b"MM*")
"""What remains of the signatures of pictures."""


def find_file_name(text: bytes) -> str | None:
    """The name of the file, if a text is one, as `x.png` or `@x.png`."""
    found = _FILE_NAME.fullmatch(text) if len(text) <= _MAX_NAME_BYTES else None
    return found[1].decode()[:100] if found else None


def check_slips(body: bytes, media_type: str, kind: BodyKind) -> None:
    """Check a body that is not empty for the slips that leave no trace of the picture.

    Raises:
        BadRequest: it is the name of a file, or a picture without its line ends.
    """
    if name := find_file_name(body):
        raise BadRequest(
            f"the body is the text {name!r}, not the file; with curl, send the file by --data-binary @{name} "
            f"or -F file=@{name}"
        )
    is_picture = kind is BodyKind.PICTURE or media_type == URL_ENCODED_TYPE
    if is_picture and body.startswith(_PREFIXES) and not any(character in body for character in _REMOVED_BY_CURL):
        raise BadRequest(
            "the body is a picture whose line ends and zeros are missing, as curl sends it by -d; "
            "send it by --data-binary @FILE or -F file=@FILE"
        )


def check_field(name: str, content: bytes) -> None:
    """Check the content of a field of a form that should have a picture.

    Raises:
        BadRequest: it is the name of a file.
    """
    if path := find_file_name(content):
        field = name[:50] or "file"
        raise BadRequest(
            f"the form has the text {path!r} where a file belongs; with curl, send the file by -F {field}=@{path}"
        )

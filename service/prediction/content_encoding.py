"""Content-Encoding of a request body (RFC 9110, section 8.4): undoes gzip and deflate, bounded after inflation.

The compressed data is inflated piece by piece, and no more than one byte over the limit: a body of some kilobytes can
claim gigabytes. A gzip body may have several members (RFC 1952, section 2.2). By deflate, RFC 9110 means the zlib
format (RFC 1950); some clients send the bare one (RFC 1951), which is read too.
"""

import zlib
from collections.abc import Callable

from service.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

SUPPORTED_CODINGS = "gzip, deflate, identity"
MAX_CODINGS = 3
"""Codings of one body; clients apply one."""
MAX_GZIP_MEMBERS = 1000
"""Of one gzip body; programs that compress in blocks of 64 KiB write 256 members for 16 MiB."""

_PIECE_BYTES = 1 << 16
_GZIP, _ZLIB, _RAW_DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
"""Values of `wbits` that select a format in zlib."""


def decode_body(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Undo the content codings of a complete body.

    Args:
        body: the complete body; an empty one has no codings.
        content_encoding: the value of Content-Encoding, "" without one: a list of codings in the order in which they
            were applied, which are undone from the last to the first. Their names are case-insensitive.
        max_bytes: the limit on the body after each coding is undone.

    Raises:
        UnsupportedMediaType: a coding is none of SUPPORTED_CODINGS.
        BadRequest: there are more than MAX_CODINGS, or the compressed data is damaged, truncated or followed by others.
        PayloadTooLarge: the inflated body is over the limit, or has more than MAX_GZIP_MEMBERS.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    codings = [name for name in names if name and name != "identity"]
    for name in codings:
        if name not in _DECODERS:
            raise UnsupportedMediaType(f"the content encoding is {name[:50]!r}; supported: {SUPPORTED_CODINGS}")
    if len(codings) > MAX_CODINGS:
        raise BadRequest(f"the body has {len(codings)} content encodings; {MAX_CODINGS} are allowed")
    if not body:
        return body
    for name in reversed(codings):
        body = _DECODERS[name](body, max_bytes)
    return body


def _inflate_gzip(body: bytes, max_bytes: int) -> bytes:
    return _inflate(body, "gzip", _GZIP, MAX_GZIP_MEMBERS, max_bytes)


def _inflate_deflate(body: bytes, max_bytes: int) -> bytes:
    has_zlib_header = body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    return _inflate(body, "deflate", _ZLIB if has_zlib_header else _RAW_DEFLATE, 1, max_bytes)


def _inflate(body: bytes, coding: str, wbits: int, max_members: int, max_bytes: int) -> bytes:
    """Inflate a body of one or more members."""
    inflated, size, members = [], 0, 1
    data, place, inflater = memoryview(body), 0, zlib.decompressobj(wbits)
    while place < len(data):
        if inflater.eof:
            if max_members == 1 or body[place : place + 1] != b"\x1f":
                raise BadRequest(f"the {coding} data of the body is followed by other bytes")
            if members == max_members:
                limit = f"{max_members} members, which is the limit"
                raise PayloadTooLarge(f"the {coding} data of the body has more than {limit}")
            members, inflater = members + 1, zlib.decompressobj(wbits)
        piece = data[place : place + _PIECE_BYTES]
        try:
            output = inflater.decompress(piece, max_bytes - size + 1)
        except zlib.error:
            raise BadRequest(_describe_damage(coding, place)) from None
        size += len(output)
        if size > max_bytes:
            raise PayloadTooLarge(f"the body has more than {max_bytes} bytes after inflation; {max_bytes} are allowed")
        inflated.append(output)
        place += len(piece) - len(inflater.unused_data)
    if not inflater.eof:
        raise BadRequest(f"the {coding} data of the body is truncated: it has no end within {len(body)} bytes")
    return inflated[0] if len(inflated) == 1 else b"".join(inflated)


def _describe_damage(coding: str, place: int) -> str:
    if place == 0:
        return f"the body is not {coding} data, or damaged; without compression, leave out Content-Encoding: {coding}"
    return f"the {coding} data of the body is damaged, or followed by other bytes"


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _inflate_gzip,
    "x-gzip": _inflate_gzip,
    "deflate": _inflate_deflate,
}

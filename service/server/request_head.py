"""What RFC 9110 and RFC 9112 demand of the head of a request, beyond what a parser needs to find its end."""

import re
from collections.abc import Iterable
from typing import NamedTuple

Headers = Iterable[tuple[bytes, bytes]]

HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(?::\d*)?|\[[0-9A-Fa-f:.]+\](?::\d*)?", re.ASCII)
"""A host and an optional port (RFC 3986, section 3.2)."""
ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
"""Methods whose body a route may read. The body of any other request has no meaning (RFC 9110, section 9.3)."""

MISSING_HOST = "the header Host is missing; HTTP/1.1 requires it"
NO_WEBSOCKET = "the service has no WebSocket; send the request without the header Upgrade"
TWO_KEYS = "the header Authorization comes more than once"
TWO_LENGTHS = "the request has both Transfer-Encoding and Content-Length; send one of them"


class InvalidHead(Exception):
    """A request that is rejected for its head, before its body is read; the message is one sentence for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Target(NamedTuple):
    """A request target in absolute form: `http://HOST/PATH?QUERY`."""

    host: bytes
    origin_form: bytes
    """The path, and the query if there is one."""


def check_head(method: bytes, version: tuple[int, int], headers: Headers) -> None:
    """Check the headers of a request.

    Args:
        method: in the letters of the request.
        version: major and minor version of HTTP.
        headers: names in small letters.

    Raises:
        InvalidHead: Host is missing (HTTP/1.1) or invalid, or comes twice (RFC 9112, section 3.2); so does
            Authorization; the body has a transfer coding that is not chunked (RFC 9112, section 6.1); or the request
            is a WebSocket handshake (RFC 6455, section 4.2.2).
    """
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    _check_host(found.get(b"host", []), version)
    if len(found.get(b"authorization", ())) > 1:
        raise InvalidHead(400, TWO_KEYS)
    if b"transfer-encoding" in found:
        _check_transfer_coding(b", ".join(found[b"transfer-encoding"]), has_length=b"content-length" in found)
    if b"upgrade" in found and method == b"GET" and _is_websocket(found[b"upgrade"], found.get(b"connection", [])):
        raise InvalidHead(403, NO_WEBSOCKET)


def is_valid_host(value: bytes) -> bool:
    """Whether a value of the header Host is a host name or an address, and optionally a port."""
    return HOST.fullmatch(value) is not None


def parse_absolute_form(target: bytes) -> Target | None:
    """Split a request target in absolute form (RFC 9112, section 3.2.2); None if it has another form.

    Raises:
        InvalidHead: the target is a URL of another scheme, or its host is invalid.
    """
    if target[:1] == b"/" or b"://" not in target:
        return None
    match = ABSOLUTE_FORM.fullmatch(target)
    if match is None or not is_valid_host(match[1]):
        shown = target[:100].decode("ascii", "replace")
        raise InvalidHead(400, f"the request target is {shown!r}; expected: a path, or http:// with a host and a path")
    return Target(match[1], match[2] if match[2][:1] == b"/" else b"/" + match[2])


def _check_host(values: list[bytes], version: tuple[int, int]) -> None:
    if not values and version >= (1, 1):
        raise InvalidHead(400, MISSING_HOST)
    if len(values) > 1:
        raise InvalidHead(400, "the header Host comes more than once")
    if values and not is_valid_host(values[0]):
        shown = values[0][:100].decode("latin-1")
        raise InvalidHead(400, f"the header Host is {shown!r}; expected: a host name or an address, and maybe a port")


def _check_transfer_coding(codings: bytes, *, has_length: bool) -> None:
    if has_length:
        raise InvalidHead(400, TWO_LENGTHS)
    if codings.strip().lower() != b"chunked":
        raise InvalidHead(501, f"the transfer coding is {codings[:100].decode('latin-1')!r}; supported: chunked")


def _is_websocket(upgrade: list[bytes], connection: list[bytes]) -> bool:
    """Without the option `upgrade` in Connection, Upgrade has no meaning (RFC 9110, section 7.8)."""
    return b"upgrade" in _tokens(connection) and b"websocket" in _tokens(upgrade)


def _tokens(values: list[bytes]) -> set[bytes]:
    """The members of a list header in small letters, without their versions."""
    return {member.strip().lower().partition(b"/")[0] for value in values for member in value.split(b",")}

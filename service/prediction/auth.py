"""The API key: `Authorization: Bearer KEY` (RFC 6750), or for browsers the password of HTTP Basic (RFC 7617)."""

import binascii
import hmac
from base64 import b64decode

from service.errors import Unauthorised

WRONG_KEY = "the header Authorization is not `Bearer KEY` with the right key"
TWO_HEADERS = "the request has two Authorization headers; send one, with `Bearer KEY`"


class ApiKey:
    """The key that protected routes require; an empty one protects nothing. It has no comma: see Settings."""

    def __init__(self, key: str) -> None:
        self._key = key.encode("utf-8", "surrogateescape") or None
        self._usual_header = b"Bearer " + (self._key or b"")

    def check(self, authorization: bytes, *, allow_basic: bool = False) -> None:
        """Check the value of the Authorization header.

        The scheme is case-insensitive, and followed by one or more spaces (RFC 9110, sections 11.1 and 11.4). Servers
        join the values of two headers by a comma, which neither a key nor base64 contains.

        Args:
            authorization: the value of the header; b"" without one.
            allow_basic: whether the password of HTTP Basic is accepted as the key, with any user name.

        Raises:
            Unauthorised: the key is missing or wrong, or there are two headers.
        """
        if self._key is None or hmac.compare_digest(authorization, self._usual_header):
            return
        if b"," in authorization:
            raise Unauthorised(TWO_HEADERS)
        scheme, _, credentials = authorization.partition(b" ")
        match scheme.lower():
            case b"bearer":
                self.check_key(credentials.lstrip(b" "))
            case b"basic" if allow_basic:
                self.check_key(_decode_password(credentials.lstrip(b" ")))
            case _:
                raise Unauthorised(WRONG_KEY)

    def check_key(self, key: bytes) -> None:
        """Check a key, in constant time.

        Raises:
            Unauthorised: it is the wrong one.
        """
        if self._key is not None and not hmac.compare_digest(key, self._key):
            raise Unauthorised(WRONG_KEY)


def _decode_password(credentials: bytes) -> bytes:
    """The password in the credentials of Basic; b"", which is no key, if they have none."""
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""

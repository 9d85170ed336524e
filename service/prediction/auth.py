"""The API key: `Authorization: Bearer KEY`, or for browsers the password of HTTP Basic (RFC 7617)."""

import binascii
import hmac
from base64 import b64decode

from service.errors import Unauthorised


class ApiKey:
    """The key that protected routes require; an empty one protects nothing."""

    def __init__(self, key: str) -> None:
        self._expected = f"Bearer {key}".encode() if key else None

    def check(self, authorization: bytes) -> None:
        """Check the value of the Authorization header, in constant time.

        Raises:
            Unauthorised: the key is missing or wrong.
        """
        if self._expected is not None and not hmac.compare_digest(authorization, self._expected):
            raise Unauthorised("the header Authorization is not `Bearer KEY` with the right key")


def basic_to_bearer(authorization: bytes) -> bytes:
    """The header Authorization with the password of Basic as the key of Bearer; other schemes unchanged."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return authorization
    try:
        _, _, password = b64decode(encoded, validate=True).partition(b":")
    except binascii.Error:
        return authorization
    return b"Bearer " + password

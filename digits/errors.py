"""The exceptions of the client: everything that it raises on purpose is a DigitsError."""

from collections.abc import Mapping


class DigitsError(Exception):
    """A prediction could not be had.

    Attributes:
        sentence: what went wrong, in one sentence; the service's own where it sent one.
        status: the HTTP status of the response, or None without a response.
        retry_after: the seconds that the service asked to wait, or None.
    """

    def __init__(self, sentence: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.status, self.retry_after = sentence, status, retry_after

    def __reduce__(self) -> tuple[type["DigitsError"], tuple[str, int | None, float | None]]:
        return type(self), (self.sentence, self.status, self.retry_after)


class InvalidSource(DigitsError, ValueError):
    """A picture could not be read on this side: no such file, or an array of another shape or type."""


class InvalidAddress(DigitsError, ValueError):
    """The address of the service is no URL of HTTP."""


class Unreachable(DigitsError):
    """No response: the connection failed, was closed early or timed out, and so did every further attempt."""


class InvalidResponse(DigitsError):
    """The response is not one of the service's: something else listens at the address."""


class RequestRejected(DigitsError):
    """The service refused the request (status 4xx): sending it again would not help."""


class Unauthorised(RequestRejected):
    """The key is missing or wrong (status 401 or 403)."""


class PictureRejected(RequestRejected):
    """The picture is too large, of a format that is not read, or shows no digit (status 400, 413, 415 or 422)."""


class Busy(DigitsError):
    """The service was too busy, or had no model yet (status 429 or 503), for longer than the client waits."""


class ServiceFailed(DigitsError):
    """The service, or a proxy in front of it, failed (another status 5xx)."""


CLASSES: Mapping[int, type[DigitsError]] = {
    400: PictureRejected,
    401: Unauthorised,
    403: Unauthorised,
    413: PictureRejected,
    415: PictureRejected,
    422: PictureRejected,
    429: Busy,
    503: Busy,
}


def error_of_status(status: int, sentence: str, retry_after: float | None = None) -> DigitsError:
    """Return the exception for a status that is no success."""
    if status in CLASSES:
        return CLASSES[status](sentence, status, retry_after)
    kind = RequestRejected if 400 <= status < 500 else ServiceFailed if status >= 500 else InvalidResponse
    return kind(sentence, status, retry_after)

"""What a call of the client can raise, besides ValueError, TypeError and OSError for what it is given.

DigitsError
    ServiceUnreachable      no connection, or no response within the timeout
    InvalidResponse         a response, but none of Digits
    RequestRejected         400 to 499: the request is wrong
        Unauthorised        401, 403: the key is missing or wrong
    TooBusy                 429, after all retries
    ServiceFailed           500 to 599
        NotReady            503, after all retries
"""


class DigitsError(Exception):
    """A call has failed.

    Attributes:
        sentence: what is wrong; the service's own sentence, if it sent one.
        status: status of the response; None without a response.
        retry_after: seconds after which the service asks to try again; None if it does not say.
    """

    def __init__(self, sentence: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence, self.status, self.retry_after = sentence, status, retry_after

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.sentence, self.status, self.retry_after)


class ServiceUnreachable(DigitsError):
    """There is no connection to the service, or no response within the timeout."""


class InvalidResponse(DigitsError):
    """The response is none of Digits; the address may be that of another server."""


class RequestRejected(DigitsError):
    """The service rejects the request, for example because a picture cannot be read."""


class Unauthorised(RequestRejected):
    """The key is missing or wrong."""


class TooBusy(DigitsError):
    """The service has as many requests in flight as it accepts."""


class ServiceFailed(DigitsError):
    """The service, or a proxy before it, has failed."""


class NotReady(ServiceFailed):
    """No model is loaded, the service is stopping, or a proxy does not reach it."""


def error_class(status: int) -> type[DigitsError]:
    """The class of the error for a status from 400 to 599."""
    by_status: dict[int, type[DigitsError]] = {401: Unauthorised, 403: Unauthorised, 429: TooBusy, 503: NotReady}
    return by_status.get(status, ServiceFailed if status >= 500 else RequestRejected)

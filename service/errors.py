"""What a client did wrong, as exceptions that carry the HTTP status and one sentence for the answer."""


class RequestError(Exception):
    """A request that cannot be answered as it is. The message is one sentence for the client."""

    status = 400


class BadRequest(RequestError):
    """The body is not what its type says (400)."""


class Unauthorised(RequestError):
    """No key, or a wrong one (401)."""

    status = 401


class RequestTimeout(RequestError):
    """A body that takes too long to arrive (408)."""

    status = 408


class PayloadTooLarge(RequestError):
    """A body, a picture or a batch over its limit (413)."""

    status = 413


class UnsupportedMediaType(RequestError):
    """A type that is not read here (415)."""

    status = 415


class NoDigitFound(RequestError):
    """A picture that decodes, but that no digit can be read from (422)."""

    status = 422


class TooManyRequests(RequestError):
    """More requests at once than the worker takes (429)."""

    status = 429


class ModelNotReady(RequestError):
    """No model is loaded, or the service is stopping (503)."""

    status = 503


class InsufficientStorage(RequestError):
    """As much is kept as is to be (507)."""

    status = 507

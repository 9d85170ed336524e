"""Errors of a request: each carries its HTTP status, a reason for the metrics, and one sentence for the client."""


class RequestError(Exception):
    """A request that is rejected. The message is one sentence for the client.

    `status` is the HTTP status of the response, `reason` the value of the label `reason` in
    `digits_rejected_total`.
    """

    status = 400
    reason = "bad_request"


class BadRequest(RequestError):
    """The body or the query string is malformed (400)."""


class Unauthorised(RequestError):
    """The API key is missing or wrong (401)."""

    status = 401
    reason = "unauthorised"


class Forbidden(RequestError):
    """The request comes from a web page of another site (403)."""

    status = 403
    reason = "forbidden"


class NotFound(RequestError):
    """There is no such model or version (404)."""

    status = 404
    reason = "not_found"


class RequestTimeout(RequestError):
    """The body does not arrive in time (408)."""

    status = 408
    reason = "request_timeout"


class PayloadTooLarge(RequestError):
    """A body, a picture or a batch is over its limit (413)."""

    status = 413
    reason = "payload_too_large"


class UnsupportedMediaType(RequestError):
    """The content type or the picture format is not supported (415)."""

    status = 415
    reason = "unsupported_media_type"


class NoDigitFound(RequestError):
    """The picture decodes, but no digit can be found on it (422)."""

    status = 422
    reason = "no_digit"


class ParserTimeout(RequestError):
    """Parsing the body takes more time than is allowed (422)."""

    status = 422
    reason = "parser_timeout"


class ParserCrashed(RequestError):
    """The body ended the process that parsed it (422)."""

    status = 422
    reason = "parser_crashed"


class TooManyRequests(RequestError):
    """The worker has as many requests in flight as it accepts (429)."""

    status = 429
    reason = "too_many_requests"


class InvalidPrediction(RequestError):
    """The model returned no probabilities for this picture, although it did in the warm-up (500)."""

    status = 500
    reason = "invalid_prediction"


class ModelNotReady(RequestError):
    """No model is loaded, or the service is stopping (503)."""

    status = 503
    reason = "model_not_ready"


class OutOfMemory(RequestError):
    """The service has no memory for the request, which may be valid (503)."""

    status = 503
    reason = "out_of_memory"

    def __init__(self, message: str = "the service has no memory left for this request; send it again") -> None:
        super().__init__(message)


class InsufficientStorage(RequestError):
    """The feedback directory holds as many files as it may (507)."""

    status = 507
    reason = "insufficient_storage"

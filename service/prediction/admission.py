"""Admission of predict requests: API key, body size, requests in flight, and the count of what is rejected.

Every route that predicts uses it: the Flask view, the ASGI application, the connection's fast path, the form.

    admission.check(authorization, content_length)    before the body is read
    with admission.limiter:                           while the request is parsed, predicted and encoded
    with admission.slow_limiter:                      besides, while a request is that the fast path does not read
    admission.reject(error)                           for every RequestError and MemoryError of a predict request
"""

import logging
import math

from service.errors import OutOfMemory, RequestError
from service.monitoring.metrics import Metrics
from service.prediction import body_parser
from service.prediction.auth import ApiKey
from service.prediction.concurrency import ConcurrencyLimiter
from service.responses import HttpResponse, response_for
from service.settings import Settings

log = logging.getLogger(__name__)


class Admission:
    """Decides which predict requests one worker accepts. Thread-safe."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self.api_key = ApiKey(settings.api_key)
        self.limiter = ConcurrencyLimiter(settings.max_in_flight)
        # However many slow requests wait for a parser, they leave half of the limit to the cheap ones.
        self.slow_limiter = ConcurrencyLimiter(math.ceil(settings.max_in_flight / 2), "slow requests")

    def check(self, authorization: bytes, content_length: int) -> None:
        """Check the API key and the declared size of the body, 0 if none is declared.

        Raises:
            Unauthorised: the key is missing or wrong.
            PayloadTooLarge: the body is over the limit.
        """
        self.api_key.check(authorization)
        body_parser.check_body_size(content_length, self._settings)

    def reject(self, error: RequestError | MemoryError) -> HttpResponse:
        """Count a rejected predict request, and return its response; a MemoryError is no fault of the client: 503."""
        if isinstance(error, MemoryError):
            log.error("out of memory in a predict request: %s", error)
            error = OutOfMemory()
        self._metrics.prediction_rejected(error.reason)
        return response_for(error)

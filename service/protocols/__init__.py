"""The protocols of predict requests, one in each file, and the routes that speak them."""

import re
from functools import lru_cache
from typing import NamedTuple

from service.prediction.body_parser import ParsedBody
from service.prediction.content_encoding import decode_body
from service.prediction.protocol import BodyFormat, InferenceProtocol, PredictRequest, RequestHead
from service.protocols.native import NativeProtocol
from service.protocols.open_inference import OpenInferenceProtocol
from service.protocols.tensorflow_serving import ClassifyProtocol, PredictProtocol
from service.settings import Settings

NATIVE, OPEN_INFERENCE = NativeProtocol(), OpenInferenceProtocol()
TENSORFLOW_SERVING, TENSORFLOW_SERVING_CLASSIFY = PredictProtocol(), ClassifyProtocol()
PROTOCOLS: dict[str, InferenceProtocol] = {
    protocol.name: protocol for protocol in (NATIVE, OPEN_INFERENCE, TENSORFLOW_SERVING, TENSORFLOW_SERVING_CLASSIFY)
}

ROUTES: dict[str, InferenceProtocol] = {
    "/predict": NATIVE,
    "/v2/models/digits/infer": OPEN_INFERENCE,
    "/v2/models/digits/versions/<version>/infer": OPEN_INFERENCE,
    "/v1/models/digits:predict": TENSORFLOW_SERVING,
    "/v1/models/digits/versions/<version>:predict": TENSORFLOW_SERVING,
    "/v1/models/digits:classify": TENSORFLOW_SERVING_CLASSIFY,
    "/v1/models/digits/versions/<version>:classify": TENSORFLOW_SERVING_CLASSIFY,
}
"""The routes of predict requests, all of them POST, as Flask's rules: `<version>` stands for one segment."""

_PATTERNS = {
    route: re.compile(re.escape(route).replace("<version>", "(?P<version>[^/:]+)"), re.ASCII) for route in ROUTES
}


class Endpoint(NamedTuple):
    """A route of predict requests, and the version that the path names, if any."""

    route: str
    protocol: InferenceProtocol
    version: str | None = None

    def parse_request(self, head: RequestHead, query: bytes) -> PredictRequest:
        """Parse the head of a request; `query` is the raw query string.

        Raises:
            BadRequest: the query string is malformed.
        """
        return PredictRequest(self.protocol, head, self.protocol.parse_options(query), self.version)


@lru_cache(maxsize=256)
def find_endpoint(path: str) -> Endpoint | None:
    """The endpoint of a path; None: it is not a route of predict requests."""
    for route, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(path):
            return Endpoint(route, ROUTES[route], match.groupdict().get("version"))
    return None


def parse_body(body: bytes, body_format: BodyFormat, settings: Settings) -> ParsedBody:
    """Parse a complete body by its protocol.

    Raises:
        RequestError: the body is malformed, too large or of an unsupported type, or a picture has no digit.
        MemoryError: the process may not allocate what parsing takes.
    """
    if body_format.content_encoding:
        body = decode_body(body, body_format.content_encoding, settings.max_body_bytes)
    return PROTOCOLS[body_format.protocol].parse(body, body_format, settings)

"""A transport of httpx that responds as a script says, and as the service does where the script has ended."""

import re
from collections.abc import Sequence

import httpx

Outcome = httpx.Response | type[httpx.TransportError]

PROBABILITIES = [0.01] * 9 + [0.91]
PREDICTION = {"digit": 9, "confidence": 0.91, "uncertain": False, "probabilities": PROBABILITIES}
PARTS = re.compile(rb"\r\n\r\n(.*?)\r\n--", re.DOTALL)


def reject(status: int, sentence: str = "it is wrong", **headers: str) -> httpx.Response:
    """A response with an error."""
    return httpx.Response(status, json={"error": sentence}, headers=headers)


def predictions(*digits: int) -> httpx.Response:
    """A response of /predict."""
    rows = [PREDICTION | {"digit": digit} for digit in digits]
    return httpx.Response(200, json={"model": "digits", "version": "7", "predictions": rows})


def pictures_of(request: httpx.Request) -> list[bytes]:
    """The pictures in a request."""
    body = request.content
    return PARTS.findall(body) if request.headers["Content-Type"].startswith("multipart/") else [body]


class ScriptedService(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """`script` has the outcomes of the next requests; after these every picture is the digit that its last byte names.

    A picture that ends with another byte is rejected with 422.
    """

    def __init__(self, *script: Outcome) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request of the synchronous client."""
        request.read()
        self.requests.append(request)
        if not self.script:
            return self._predict(pictures_of(request))
        outcome = self.script.pop(0)
        if isinstance(outcome, httpx.Response):
            return outcome
        raise outcome("it broke", request=request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request of the asynchronous client."""
        await request.aread()
        return self.handle_request(request)

    def _predict(self, pictures: Sequence[bytes]) -> httpx.Response:
        if not all(picture[-1:].isdigit() for picture in pictures):
            return reject(422, "there is no digit")
        return predictions(*(int(picture[-1:]) for picture in pictures))


def png(digit: object) -> bytes:
    """What begins like a PNG, and is predicted as this digit."""
    return b"\x89PNG" + str(digit).encode()

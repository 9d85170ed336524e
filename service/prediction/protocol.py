"""What the protocols of the service have in common: a request, its result, and the interface between them.

head, query  ->  InferenceProtocol.parse_options  ->  PredictRequest
body         ->  read_fast or parse               ->  images      ->  model  ->  PredictResult  ->  encode

service/protocols has the protocols, one in each file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

from service.imaging.reader import DEFAULT_OPTIONS, NormaliseOptions
from service.inference.predictions import Predictions
from service.prediction.body_parser import ParsedBody, Source
from service.prediction.options import PredictOptions
from service.responses import HttpResponse
from service.settings import Settings

MODEL_NAME = "digits"


class RequestHead(NamedTuple):
    """The headers of a predict request that matter, as they were sent; b"" for a missing one.

    inference_header_length: the header Inference-Header-Content-Length of the Open Inference Protocol.
    """

    content_type: bytes = b""
    content_length: int = 0
    authorization: bytes = b""
    content_encoding: bytes = b""
    accept_encoding: bytes = b""
    inference_header_length: bytes = b""

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Choose among the headers of a request, whose names are in small letters; values of one name are joined."""
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _FIELDS:
                found[name] = found[name] + b"," + value if name in found else value
        return cls(
            found.get(b"content-type", b""),
            int(found.get(b"content-length", 0)),
            found.get(b"authorization", b""),
            found.get(b"content-encoding", b""),
            found.get(b"accept-encoding", b""),
            found.get(b"inference-header-content-length", b""),
        )


_FIELDS = frozenset(
    {
        b"content-type",
        b"content-length",
        b"authorization",
        b"content-encoding",
        b"accept-encoding",
        b"inference-header-content-length",
    }
)


class BodyFormat(NamedTuple):
    """How a body is to be parsed: what a parser process is told, besides the body and the settings.

    protocol: the name of the protocol. The next three are the headers of the request; "" for a missing one. options:
    how pictures are normalised.
    """

    protocol: str
    content_type: str
    content_encoding: str = ""
    inference_header_length: str = ""
    options: NormaliseOptions = DEFAULT_OPTIONS


class FastBody(NamedTuple):
    """A body parsed on the fast path: N x 784 bytes, and the envelope as in `ParsedBody`."""

    images: bytes
    envelope: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """A predict request without its body. `version`: the one that its path names; None: the current one."""

    protocol: "InferenceProtocol"
    head: RequestHead
    options: PredictOptions
    version: str | None = None

    @property
    def body_format(self) -> BodyFormat:
        """How the body is to be parsed."""
        head = self.head
        return BodyFormat(
            self.protocol.name,
            head.content_type.decode("latin-1"),
            head.content_encoding.decode("latin-1"),
            head.inference_header_length.decode("latin-1"),
            self.options.normalise,
        )


class PredictResult(NamedTuple):
    """The result of one request: the predictions of one version, and what was parsed of the body.

    `body` is None on the fast path, whose responses need neither images nor boxes. `envelope`: as in `ParsedBody`.
    """

    request: PredictRequest
    version: str
    predictions: Predictions
    body: ParsedBody | None = None
    envelope: Mapping[str, Any] | None = None

    @property
    def sources(self) -> Sequence[Source]:
        """The sources of the images; none on the fast path, and for a bulk body that was not normalised."""
        return (self.body and self.body.sources) or ()


class InferenceProtocol(Protocol):
    """One protocol of predict requests. Without state.

    `name` identifies it to a parser process.
    """

    name: str

    def parse_options(self, query: bytes) -> PredictOptions:
        """Parse the raw query string.

        Raises:
            BadRequest: it has a parameter or a value that the protocol does not have.
        """

    def read_fast(self, body: bytes, request: PredictRequest, settings: Settings) -> FastBody | None:
        """Parse a body that is cheap enough for the event loop; None: use `parse`, which raises errors too.

        The body has no Content-Encoding. For every body that this reads, `parse` gives the same images.
        """

    def is_plain_bulk(self, body: bytes, request: PredictRequest) -> bool:
        """Whether `parse` takes constant time: the images are in the body as they are, without a Content-Encoding."""

    def parse(self, body: bytes, body_format: BodyFormat, settings: Settings) -> ParsedBody:
        """Parse a body whose Content-Encoding has been removed.

        Raises:
            RequestError: the body is malformed, too large or of an unsupported type, or a picture has no digit.
            MemoryError: the process may not allocate what parsing takes.
        """

    def encode(self, result: PredictResult) -> HttpResponse:
        """Encode the response.

        Raises:
            RequestError: the response that the client wants cannot be made.
        """

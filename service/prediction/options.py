"""The query string of a predict request.

?fields=digit,confidence       only these fields of each prediction
?normalise=auto|always|never   see service/imaging/reader.py; without it, bulk images pass unchanged
?split=digits                  one prediction for each digit, with the numbers of its picture and line, and its box
?show=image                    adds the 28x28 image that the model was given, as a PNG in base64
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Self

from werkzeug.wrappers import Request

from service.errors import BadRequest
from service.imaging.reader import DEFAULT_OPTIONS, NORMALISE_MODES, NormaliseOptions

FIELDS = ("digit", "confidence", "uncertain", "probabilities")


class PredictOptions(NamedTuple):
    """The checked query string."""

    fields: Sequence[str] = FIELDS
    normalise: NormaliseOptions = DEFAULT_OPTIONS
    include_image: bool = False

    @property
    def allows_fast_path(self) -> bool:
        """Whether images are read by the default rules, and the response needs neither their pixels nor their boxes."""
        return not (self.normalise.normalise or self.normalise.split or self.include_image)

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Check the arguments of a query string; unknown parameters are ignored.

        Raises:
            BadRequest: a value is not one of those allowed.
        """
        if not arguments:
            return cls()
        mode = _one_of("normalise", arguments["normalise"], NORMALISE_MODES) if "normalise" in arguments else None
        split = "split" in arguments and _one_of("split", arguments["split"], ("digits",)) == "digits"
        if split and mode == "never":
            raise BadRequest("split=digits normalises every digit; it cannot be used with normalise=never")
        include_image = "show" in arguments and _one_of("show", arguments["show"], ("image",)) == "image"
        fields = parse_fields(arguments["fields"]) if "fields" in arguments else FIELDS
        return cls(fields, NormaliseOptions(mode, split), include_image)


@lru_cache(maxsize=256)
def parse_query(query: bytes) -> PredictOptions:
    """Parse a raw query string; cached, since clients vary it little.

    Raises:
        BadRequest: a value is not one of those allowed, or the bytes are not UTF-8.
    """
    try:
        arguments = Request({"QUERY_STRING": query.decode("latin-1")}).args
    except UnicodeDecodeError:
        raise BadRequest("the query string is not UTF-8; percent-encode its bytes") from None
    return PredictOptions.from_arguments(arguments)


def parse_fields(fields: str) -> Sequence[str]:
    """Parse a comma-separated choice of FIELDS; returned in the order of FIELDS.

    Raises:
        BadRequest: a field is unknown.
    """
    wanted = fields.split(",")
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise BadRequest(f"fields has {unknown[0][:50]!r}; allowed: {', '.join(FIELDS)}")
    return [name for name in FIELDS if name in wanted]


def _one_of(key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BadRequest(f"{key} is {value[:50]!r}; allowed: {', '.join(allowed)}")
    return value

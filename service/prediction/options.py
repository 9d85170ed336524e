"""The query string of a predict request.

?fields=digit,confidence       only these fields of each prediction
?normalise=auto|always|never   see service/imaging/reader.py; without it, bulk images pass unchanged
?split=digits                  one prediction for each digit, with the numbers of its picture and line, and its box
?show=image                    adds the 28x28 image that the model was given, as a PNG in base64

Each name may be there once, and no other one. normalize is normalise.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple, Self

from werkzeug.wrappers import Request

from service.errors import BadRequest
from service.imaging.reader import DEFAULT_OPTIONS, NORMALISE_MODES, NormaliseOptions

PARAMETERS = ("fields", "normalise", "split", "show")
SYNONYMS = {"normalize": "normalise"}
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
        """Check the arguments of a query string, each with one of PARAMETERS.

        Raises:
            BadRequest: a value is not one of those allowed.
        """
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
        BadRequest: a name or a value is not one of those allowed, a name is there twice, or the bytes are not UTF-8.
    """
    if not query:
        return PredictOptions()
    try:
        pairs = Request({"QUERY_STRING": query.decode("latin-1")}).args.items(multi=True)
    except UnicodeDecodeError:
        raise BadRequest("the query string is not UTF-8; percent-encode its bytes") from None
    return PredictOptions.from_arguments(_collect_arguments(pairs))


def _collect_arguments(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The arguments by their names; SYNONYMS are replaced."""
    found: dict[str, str] = {}
    for name, value in pairs:
        if SYNONYMS.get(name, name) not in PARAMETERS:
            raise BadRequest(_describe_unknown(name))
        if name in found:
            raise BadRequest(f"the query has {name} twice; send it once")
        found[name] = value
    for synonym, name in SYNONYMS.items():
        if synonym not in found:
            continue
        value = found.pop(synonym)
        if found.setdefault(name, value) != value:
            raise BadRequest(f"the query has {name}={found[name][:50]} and {synonym}={value[:50]}; send one of them")
    return found


def _describe_unknown(name: str) -> str:
    similar = get_close_matches(name.lower()[:50], (*PARAMETERS, *SYNONYMS), n=1)
    advice = f"did you mean {SYNONYMS.get(similar[0], similar[0])}? " if similar else ""
    return f"the query has the name {name[:50]!r}; {advice}allowed: {', '.join(PARAMETERS)}"


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

"""The manifest of a version: read, checked against the schema of what the service uses, and kept as JSON.

A manifest may come from another tool, so other keys are allowed, with any value. A key of the schema with a wrong type
or value rejects the version: nothing that reads a `Manifest` checks it again.
"""

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from service.inference.rejection import ModelRejected
from service.inference.version_files import UnusableFile, read_file

MANIFEST = "manifest.json"
MAX_BYTES = 256 << 10
"""Maximum size of a manifest; the trainer writes 6 KB. Parsing one of 4 MB would hold up the requests for a second."""
MAX_FILES = 1000
"""Maximum number of files that a manifest lists; the trainer writes 18."""
MAX_BINS = 1000
"""Maximum number of bins of the confidence histogram; the trainer writes 20."""
MAX_DIGITS = 100
"""Maximum length of a number: 128-bit seeds have 39 digits; a double, which clients read, has 17."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""A number from 0 to 1."""


class Thresholds(Struct, frozen=True):
    """Predictions with a confidence below `confidence` are uncertain."""

    confidence: Share = 0.0


class Scores(Struct, frozen=True):
    """The metrics that the web page shows."""

    test_accuracy: Share | None = None


class Reference(Struct, frozen=True):
    """Predictions on the test set: shares of the ten digits, and the confidence histogram, as shares of the bins."""

    class_shares: Annotated[tuple[Share, ...], Meta(min_length=10, max_length=10)]
    confidence_edges: Annotated[tuple[float, ...], Meta(min_length=2, max_length=MAX_BINS + 1)]
    confidence_histogram: Annotated[tuple[Share, ...], Meta(min_length=1, max_length=MAX_BINS)]

    def __post_init__(self) -> None:
        """Check what the types do not."""
        bins, edges = len(self.confidence_histogram), len(self.confidence_edges)
        if edges != bins + 1:
            raise ValueError(f"`confidence_edges` has {edges} numbers; the {bins} bins need {bins + 1}")


class Manifest(Struct, frozen=True):
    """What the service reads of a manifest."""

    version: int | str
    files: Annotated[dict[str, str], Meta(max_length=MAX_FILES)]
    """SHA-256 in hexadecimal of each file, by its path in the version."""
    thresholds: Thresholds = Thresholds()
    metrics: Scores = Scores()
    reference: Reference | None = None


class ManifestFile(NamedTuple):
    """A manifest, and the whole of it as JSON, without white space."""

    manifest: Manifest
    content: bytes


def read_manifest(version: Path) -> ManifestFile | None:
    """Read the manifest in the directory of a version; None if there is none.

    Raises:
        ModelRejected: it cannot be read, is not JSON, or does not match the schema or the directory.
        OSError: the file cannot be read.
    """
    path = version / MANIFEST
    try:
        document = _parse(read_file(path, MAX_BYTES))
        content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        manifest = msgspec.convert(document, Manifest)
    except FileNotFoundError:
        if os.path.lexists(path):
            raise ModelRejected("manifest", f"{MANIFEST} is a link to a missing file") from None
        return None
    except UnusableFile as error:
        raise ModelRejected("manifest", f"{MANIFEST} {error}") from None
    except msgspec.ValidationError as error:
        raise ModelRejected("manifest", f"{MANIFEST} does not match the schema: {error}") from None
    except UnicodeEncodeError:
        raise ModelRejected("manifest", f"{MANIFEST} has a lone surrogate in a string") from None
    except RecursionError:
        raise ModelRejected("manifest", f"{MANIFEST} is nested too deeply") from None
    except ValueError as error:
        raise ModelRejected("manifest", f"{MANIFEST} is not JSON: {error}") from None
    if str(manifest.version) != version.name:
        stated = ascii(manifest.version)[:50]
        raise ModelRejected("manifest", f"{MANIFEST} states version {stated}; its directory is {version.name}")
    return ManifestFile(manifest, content)


def _parse(content: bytes) -> Any:
    """Parse JSON as RFC 8259 has it, with the names of every object unique and every number finite."""
    return json.loads(
        content.decode("utf-8-sig"),
        object_pairs_hook=_object,
        parse_constant=_reject_constant,
        parse_int=_integer,
        parse_float=_float,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name {ascii(name)[:50]} occurs twice in an object")
    return found


def _reject_constant(constant: str) -> None:
    """Python's json reads NaN and Infinity."""
    raise ValueError(f"{constant} is not a number")


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; {MAX_DIGITS} are allowed")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:50]} is over the range of a double")
    return number

"""All settings, read once from DIGITS_* variables into a frozen dataclass.

Every field is the variable of the same name in capitals: `max_pictures` is DIGITS_MAX_PICTURES.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

PREFIX = "DIGITS_"
FOREIGN_VARIABLES = {"DIGITS_DATA", "DIGITS_DOCS_URL", "DIGITS_KEY", "DIGITS_URL"}
"""Variables with this prefix that the service ignores: training reads DIGITS_DATA, Prometheus DIGITS_DOCS_URL,
the client DIGITS_KEY and DIGITS_URL."""

RUNTIMES = ("auto", "tensorflow", "litert")
LOG_LEVELS = ("debug", "info", "warning", "error")
KEY = re.compile(r"([^\s,\x00-\x1f\x7f]([^,\x00-\x1f\x7f]*[^\s,\x00-\x1f\x7f])?)?")
"""An API key. A comma joins the values of two headers; white space around the value of a header is removed."""

ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
"""An origin as a browser sends it (RFC 6454, section 6.2): scheme, host and port."""
PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9_.~-]+)+", re.ASCII)
"""A path of unreserved characters (RFC 3986, section 2.3), without a slash at its end."""
MAX_PREFIX_LENGTH = 200


class SettingError(ValueError):
    """A variable has a value that is not allowed, or is not a setting (`value` None: it may be a secret)."""

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        found = "not a setting" if value is None else repr(value)
        super().__init__(f"{variable} is {found}; allowed: {allowed}")
        self.variable, self.value, self.allowed = variable, value, allowed


@dataclass(frozen=True)
class Range:
    """Numbers from `minimum` to `maximum`, both included."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class Text:
    """Text for which `is_valid` returns true. An error shows `description`, and the text unless it is a secret."""

    is_valid: Callable[[str], object]
    description: str
    is_secret: bool = False


def split_list(text: str) -> list[str]:
    """Split a list whose entries are separated by commas, white space or both."""
    return text.replace(",", " ").split()


def is_path_prefix(text: str) -> bool:
    """Whether text is a path prefix: "/digits", "/a/b"."""
    return len(text) <= MAX_PREFIX_LENGTH and PATH_PREFIX.fullmatch(text) is not None


def _are_origins(text: str) -> bool:
    return text.strip() == "*" or all(ORIGIN.fullmatch(origin) for origin in split_list(text))


def _are_networks(text: str) -> bool:
    try:
        return text.strip() == "*" or all(ip_network(network) for network in split_list(text))
    except ValueError:
        return False


def _setting(default: Any, description: str, allowed: Range | tuple[str, ...] | Text | None = None, **more: Any) -> Any:
    return field(default=default, metadata={"description": description, "allowed": allowed}, **more)


def cores() -> int:
    """Count the cores that this process may run on, by its CPU affinity where the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. Defaults and descriptions are the table of settings in the documents, which a test compares."""

    model_dir: Path = _setting(Path("models/digits"), "directory of the published versions")
    runtime: str = _setting(
        "auto", "`litert`, `tensorflow`, or `auto`: LiteRT if the version has a TFLite model, else TensorFlow", RUNTIMES
    )
    model_poll_seconds: float = _setting(1.0, "seconds between two scans for a new version", Range(0.05, 3600))
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8000, "port to listen on; 0 picks a free one", Range(0, 65535))
    workers: int = _setting(cores(), "worker processes; by default one per core", Range(1, 256))
    threads: int = _setting(4, "worker threads for bulk bodies, and for other routes with a body", Range(1, 256))
    shutdown_timeout_seconds: int = _setting(
        30, "seconds that requests in flight have to finish after SIGTERM", Range(1, 3600)
    )
    receive_timeout_seconds: int = _setting(30, "seconds within which a request has to be received", Range(1, 3600))
    send_timeout_seconds: int = _setting(30, "seconds within which a client has to read a response", Range(1, 3600))
    max_body_bytes: int = _setting(16 << 20, "maximum size of a request body in bytes", Range(1, 1 << 30))
    max_pictures: int = _setting(10_000, "maximum number of pictures in one request", Range(1, 1_000_000))
    max_pixels: int = _setting(
        25_000_000,
        "maximum number of pixels of one picture; of a JPEG, as decoded at a reduced scale",
        Range(784, 1 << 30),
    )
    max_request_pixels: int = _setting(
        100_000_000,
        "maximum number of pixels of all pictures in one request, as their files state them",
        Range(784, 1 << 34),
    )
    max_side: int = _setting(16_384, "maximum width and height of one picture in pixels", Range(28, 1 << 16))
    max_in_flight: int = _setting(
        40,
        "maximum predict requests in flight per worker, at most half of them with pictures; more get 429",
        Range(1, 65536),
    )
    picture_processes: int = _setting(
        2, "maximum processes per worker that parse pictures and other slow bodies", Range(1, 256)
    )
    picture_seconds: float = _setting(
        2.0, "seconds of CPU time that parsing one request may take, and a fifth of the wall time", Range(0.05, 3600)
    )
    picture_memory_bytes: int = _setting(
        256 << 20, "bytes of memory that parsing one request may take", Range(16 << 20, 1 << 40)
    )
    api_key: str = _setting(
        "",
        "key that the routes for predictions, feedback, models and the report require; if empty, none is required",
        Text(KEY.fullmatch, "text without commas, control characters and white space around it", is_secret=True),
        repr=False,
    )
    cors_origins: str = _setting(
        "",
        "origins whose web pages may use the service, separated by commas or spaces, or `*` for all; if empty, none",
        Text(_are_origins, "origins such as https://example.org or http://localhost:3000, or * for all"),
    )
    prefix: str = _setting(
        "",
        "path under which a proxy publishes the service, such as `/digits`",
        Text(lambda text: not text or is_path_prefix(text), "a path such as /digits, without a slash at its end"),
    )
    trusted_proxies: str = _setting(
        "127.0.0.1,::1",
        "addresses or networks of proxies whose `X-Forwarded-Proto` and `X-Forwarded-Prefix` are believed, or `*` for "
        "every client",
        Text(_are_networks, "addresses such as 10.0.0.7 and networks such as 10.0.0.0/8, or * for every client"),
    )
    feedback_dir: Path | None = _setting(
        None, "directory where feedback is stored; without it, `/feedback` does not exist"
    )
    feedback_max_files: int = _setting(10_000, "maximum number of stored feedback files", Range(1, 1_000_000))
    metrics_dir: Path | None = _setting(
        None, "directory where workers share metrics; under gunicorn by default a new temporary one"
    )
    log_level: str = _setting("info", "minimum level of logged messages", LOG_LEVELS)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the DIGITS_* variables.

        Raises:
            SettingError: a variable of this prefix is unknown, or its value is not allowed.
        """
        known = {PREFIX + item.name.upper(): item for item in fields(cls)}
        values: dict[str, Any] = {}
        for variable, text in environment.items():
            if not variable.startswith(PREFIX) or variable in FOREIGN_VARIABLES:
                continue
            if variable not in known:
                raise SettingError(variable, None, ", ".join(known))
            values[known[variable].name] = _parse(variable, text, known[variable])
        return cls(**values)


def _parse(variable: str, text: str, item: Any) -> object:
    allowed = item.metadata["allowed"]
    if isinstance(allowed, tuple):
        if text not in allowed:
            raise SettingError(variable, text, ", ".join(allowed))
        return text
    if isinstance(allowed, Text):
        if not allowed.is_valid(text):
            raise SettingError(variable, "(hidden)" if allowed.is_secret else text, allowed.description)
        return text
    if isinstance(allowed, Range):
        return _number(variable, text, item.type, allowed)
    if item.type is str:
        return text
    if not text:
        raise SettingError(variable, text, "a path")
    return Path(text)


def _number(variable: str, text: str, kind: type[int] | type[float], allowed: Range) -> float:
    sentence = f"{'an integer' if kind is int else 'a number'} from {allowed.minimum} to {allowed.maximum}"
    try:
        number = kind(text)
    except ValueError:
        raise SettingError(variable, text, sentence) from None
    if not allowed.minimum <= number <= allowed.maximum:
        raise SettingError(variable, text, sentence)
    return number

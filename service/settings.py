"""All settings, read once from DIGITS_* variables into a frozen dataclass.

Every field is the variable of the same name in capitals: `max_pictures` is DIGITS_MAX_PICTURES.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

PREFIX = "DIGITS_"
FOREIGN_VARIABLES = {"DIGITS_DATA"}
"""Variables of this prefix that others read: where training finds MNIST."""

RUNTIMES = ("auto", "tensorflow", "litert")
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingError(ValueError):
    """A variable whose value is not allowed, or that is no setting (`value` None: it may be a secret)."""

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        found = "no setting" if value is None else repr(value)
        super().__init__(f"{variable} is {found}; allowed: {allowed}")
        self.variable, self.value, self.allowed = variable, value, allowed


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both allowed."""

    minimum: float
    maximum: float


def _setting(default: Any, description: str, allowed: Range | tuple[str, ...] | None = None, **more: Any) -> Any:
    return field(default=default, metadata={"meaning": description, "allowed": allowed}, **more)


def cores() -> int:
    """The cores that this process may use; a container's share of them where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be set; the README's table is checked against this class."""

    model_dir: Path = _setting(Path("models/digits"), "the model directory")
    runtime: str = _setting("auto", "`auto` takes the plan where there is one", RUNTIMES)
    model_poll_seconds: float = _setting(1.0, "seconds between two looks for a new version", Range(0.05, 3600))
    host: str = _setting("127.0.0.1", "the address to listen on")
    port: int = _setting(8000, "the port to listen on; 0 takes a free one", Range(0, 65535))
    workers: int = _setting(cores(), "worker processes; one a core unless set", Range(1, 256))
    threads: int = _setting(4, "threads a worker, for what takes more than a moment", Range(1, 256))
    shutdown_timeout_seconds: int = _setting(
        30, "how long requests in flight may take to finish at a stop", Range(1, 3600)
    )
    receive_timeout_seconds: int = _setting(30, "how long a request may take to arrive", Range(1, 3600))
    max_body_bytes: int = _setting(16 << 20, "the largest request body", Range(1, 1 << 30))
    max_pictures: int = _setting(10_000, "the most pictures in one request", Range(1, 1_000_000))
    max_pixels: int = _setting(25_000_000, "the most pixels in one picture", Range(784, 1 << 30))
    max_side: int = _setting(16_384, "the most pixels along a side of one picture", Range(28, 1 << 16))
    max_in_flight: int = _setting(40, "requests that one worker answers at once; more get 429", Range(1, 65536))
    api_key: str = _setting(
        "", "the key that `/predict`, `/feedback`, `/model` and `/report/` ask for; empty asks for none", repr=False
    )
    feedback_dir: Path | None = _setting(None, "where feedback is kept; without it, there is none")
    feedback_max_files: int = _setting(10_000, "the most pieces of feedback that are kept", Range(1, 1_000_000))
    metrics_dir: Path | None = _setting(None, "where workers share metrics; gunicorn's default is a fresh directory")
    log_level: str = _setting("info", "the least level that is logged", LOG_LEVELS)

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
    if isinstance(allowed, Range):
        return _number(variable, text, item.type, allowed)
    if item.type is str:
        return text
    if not text:
        raise SettingError(variable, text, "a path")
    return Path(text)


def _number(variable: str, text: str, kind: type[int] | type[float], allowed: Range) -> float:
    sentence = f"a {'whole ' if kind is int else ''}number from {allowed.minimum} to {allowed.maximum}"
    try:
        number = kind(text)
    except ValueError:
        raise SettingError(variable, text, sentence) from None
    if not allowed.minimum <= number <= allowed.maximum:
        raise SettingError(variable, text, sentence)
    return number

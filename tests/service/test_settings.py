"""Tests the settings: every variable, exact ranges, errors that name variable and value, and the documented table."""

import os
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from service.settings import FOREIGN_VARIABLES, SettingError, Settings, cores
from tests.conftest import REPOSITORY


def test_every_setting_is_read_from_its_variable() -> None:
    expected = Settings(
        model_dir=Path("/srv/models"),
        runtime="litert",
        model_poll_seconds=0.5,
        host="::1",
        port=0,
        workers=256,
        threads=1,
        shutdown_timeout_seconds=3600,
        receive_timeout_seconds=9,
        send_timeout_seconds=8,
        max_body_bytes=1,
        max_pictures=7,
        max_pixels=784,
        max_request_pixels=785,
        max_side=28,
        max_in_flight=2,
        picture_processes=3,
        picture_seconds=0.5,
        picture_memory_bytes=1 << 30,
        api_key="a key with spaces",
        cors_origins="https://example.org, http://localhost:3000",
        prefix="/tools/digits",
        trusted_proxies="10.0.0.0/8 ::1",
        feedback_dir=Path("/srv/feedback"),
        feedback_max_files=12,
        metrics_dir=Path("/dev/shm/metrics"),  # noqa: S108 - a value only
        log_level="debug",
    )
    environment = {f"DIGITS_{item.name.upper()}": str(getattr(expected, item.name)) for item in fields(Settings)}
    read = Settings.from_environment(environment | {"PATH": "/bin", "DIGITS_DATA": "data/mnist"})
    assert read == expected
    assert not [item.name for item in fields(Settings) if getattr(read, item.name) == getattr(Settings(), item.name)]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_settings_are_frozen_and_do_not_show_the_key() -> None:
    settings = Settings(api_key="a secret")
    assert "a secret" not in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("DIGITS_PORT", "65536", "an integer from 0 to 65535"),
        ("DIGITS_PORT", "-1", "an integer from 0 to 65535"),
        ("DIGITS_PORT", "http", "an integer from 0 to 65535"),
        ("DIGITS_PORT", "", "an integer from 0 to 65535"),
        ("DIGITS_PORT", "80.0", "an integer from 0 to 65535"),
        ("DIGITS_WORKERS", "0", "an integer from 1 to 256"),
        ("DIGITS_MAX_PIXELS", "783", "an integer from 784 to 1073741824"),
        ("DIGITS_MODEL_POLL_SECONDS", "nan", "a number from 0.05 to 3600"),
        ("DIGITS_MODEL_POLL_SECONDS", "inf", "a number from 0.05 to 3600"),
        ("DIGITS_MODEL_POLL_SECONDS", "0", "a number from 0.05 to 3600"),
        ("DIGITS_RUNTIME", "onnx", "auto, tensorflow, litert"),
        ("DIGITS_RUNTIME", "LiteRT", "auto, tensorflow, litert"),
        ("DIGITS_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("DIGITS_MODEL_DIR", "", "a path"),
        ("DIGITS_METRICS_DIR", "", "a path"),
        ("DIGITS_FEEDBACK_DIR", "", "a path"),
        ("DIGITS_FEEDBACK_MAX_FILES", "0", "an integer from 1 to 1000000"),
    ],
)
def test_rejects_a_value_that_is_not_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value) == f"{variable} is {value!r}; allowed: {allowed}"
    assert (caught.value.variable, caught.value.value, caught.value.allowed) == (variable, value, allowed)


RANGES: dict[str, tuple[float, int]] = {
    "model_poll_seconds": (0.05, 3600),
    "port": (0, 65535),
    "workers": (1, 256),
    "threads": (1, 256),
    "shutdown_timeout_seconds": (1, 3600),
    "receive_timeout_seconds": (1, 3600),
    "send_timeout_seconds": (1, 3600),
    "max_body_bytes": (1, 1 << 30),
    "max_pictures": (1, 1_000_000),
    "max_pixels": (784, 1 << 30),
    "max_request_pixels": (784, 1 << 34),
    "max_side": (28, 65536),
    "max_in_flight": (1, 65536),
    "picture_processes": (1, 256),
    "picture_seconds": (0.05, 3600),
    "picture_memory_bytes": (16 << 20, 1 << 40),
    "feedback_max_files": (1, 1_000_000),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges_include_their_ends_only(name: str) -> None:
    minimum, maximum = RANGES[name]
    for value in (minimum, maximum):
        read = Settings.from_environment({f"DIGITS_{name.upper()}": str(value)})
        assert getattr(read, name) == value
        assert type(getattr(read, name)) is type(getattr(Settings(), name))
    step = 1 if isinstance(minimum, int) else 0.001
    for value in (minimum - step, maximum + step):
        with pytest.raises(SettingError, match=rf"(integer|number) from {minimum} to {maximum}$"):
            Settings.from_environment({f"DIGITS_{name.upper()}": str(value)})


def test_every_number_has_a_tested_range() -> None:
    assert RANGES.keys() == {item.name for item in fields(Settings) if item.type in (int, float)}


def test_the_cores_are_those_of_the_cpu_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


def test_the_defaults() -> None:
    defaults = {item.name: item.default for item in fields(Settings)}
    assert defaults.pop("workers") == cores()
    assert defaults == {
        "model_dir": Path("models/digits"),
        "runtime": "auto",
        "model_poll_seconds": 1.0,
        "host": "127.0.0.1",
        "port": 8000,
        "threads": 4,
        "shutdown_timeout_seconds": 30,
        "receive_timeout_seconds": 30,
        "send_timeout_seconds": 30,
        "max_body_bytes": 16_777_216,
        "max_pictures": 10_000,
        "max_pixels": 25_000_000,
        "max_request_pixels": 100_000_000,
        "max_side": 16_384,
        "max_in_flight": 40,
        "picture_processes": 2,
        "picture_seconds": 2.0,
        "picture_memory_bytes": 268_435_456,
        "api_key": "",
        "cors_origins": "",
        "prefix": "",
        "trusted_proxies": "127.0.0.1,::1",
        "feedback_dir": None,
        "feedback_max_files": 10_000,
        "metrics_dir": None,
        "log_level": "info",
    }


def test_an_unknown_variable_is_named_without_its_value() -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"DIGITS_API_KYE": "a secret"})
    names = ", ".join(f"DIGITS_{item.name.upper()}" for item in fields(Settings))
    assert str(caught.value) == f"DIGITS_API_KYE is not a setting; allowed: {names}"
    assert caught.value.value is None


@pytest.mark.parametrize("key", ["a,b", ",", " a", "a ", " ", "a\n", "a\tb", "\x7f", "a\u3000"])
def test_rejects_a_key_that_a_header_cannot_carry_without_showing_it(key: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"DIGITS_API_KEY": key})
    allowed = "text without commas, control characters and white space around it"
    assert str(caught.value) == f"DIGITS_API_KEY is '(hidden)'; allowed: {allowed}"


@pytest.mark.parametrize("key", ["", "a", "a b", "schlüssel", "Zm9v==", "a;b"])
def test_accepts_other_keys(key: str) -> None:
    assert Settings.from_environment({"DIGITS_API_KEY": key}).api_key == key


LISTS = {
    "DIGITS_CORS_ORIGINS": (
        [
            "",
            "*",
            " * ",
            "https://example.org",
            "http://[::1]:8000,https://a.example  https://B.example",
            "http://x:1,",
        ],
        ["example.org", "https://", "https://a/", "https://a/path", "*, https://a", "https://*.a", "null", "ftp://a"],
        "origins such as https://example.org or http://localhost:3000, or * for all",
    ),
    "DIGITS_PREFIX": (
        ["", "/digits", "/a/b.c/~d_e-f", "/" + "x" * 199],
        ["/", "digits", "/digits/", "//a", "/a//b", "/a b", "/ä", "/a?b", "/..", "/a/.", "/a/../b", "/" + "x" * 200],
        "a path such as /digits, without a slash at its end",
    ),
    "DIGITS_TRUSTED_PROXIES": (
        ["", "*", "10.0.0.7", "10.0.0.0/8, fd00::/8 ::1"],
        ["proxy", "10.0.0", "10.0.0.1/8", "*,10.0.0.7", "10.0.0.7:80"],
        "addresses such as 10.0.0.7 and networks such as 10.0.0.0/8, or * for every client",
    ),
}
"""Accepted and rejected values, and what an error says is allowed."""


@pytest.mark.parametrize("variable", LISTS)
def test_checks_origins_prefixes_and_networks(variable: str) -> None:
    accepted, rejected, allowed = LISTS[variable]
    for value in accepted:
        assert getattr(Settings.from_environment({variable: value}), variable.removeprefix("DIGITS_").lower()) == value
    for value in rejected:
        with pytest.raises(SettingError) as caught:
            Settings.from_environment({variable: value})
        assert str(caught.value) == f"{variable} is {value!r}; allowed: {allowed}"


def test_other_variables_are_ignored() -> None:
    """DIGITS_DATA is read by training, DIGITS_DOCS_URL by Prometheus, DIGITS_KEY and DIGITS_URL by the client."""
    variables = ("PATH", "digits_port", "DIGITS_DATA", "DIGITS_DOCS_URL", "DIGITS_KEY", "DIGITS_URL", "XDIGITS_A")
    foreign = dict.fromkeys(variables, "x")
    assert Settings.from_environment(foreign) == Settings()


def test_the_documents_have_a_table_of_all_settings() -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    lines = [line for document in documents for line in document.read_text().splitlines()]
    rows = [line.split(" | ") for line in lines if line.startswith("| `DIGITS_")]
    assert len({row[0] for row in rows}) == len(rows)
    table = {row[0].strip("| `"): (row[1], row[2].removesuffix(" |")) for row in rows}
    assert table.keys() == {f"DIGITS_{item.name.upper()}" for item in fields(Settings)} | FOREIGN_VARIABLES
    for item in fields(Settings):
        default = "the cores" if item.name == "workers" else f"`{item.default}`" if item.default else "none"
        assert table[f"DIGITS_{item.name.upper()}"] == (default, item.metadata["description"])

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from service.settings import FOREIGN_VARIABLES, SettingError, Settings
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
        max_body_bytes=1,
        max_pictures=7,
        max_pixels=784,
        max_side=28,
        max_in_flight=2,
        api_key="key of many words",
        feedback_dir=Path("/srv/feedback"),
        feedback_max_files=12,
        metrics_dir=Path("/dev/shm/metrics"),  # noqa: S108 - a value, not a file
        log_level="debug",
    )
    environment = {f"DIGITS_{item.name.upper()}": str(getattr(expected, item.name)) for item in fields(Settings)}
    read = Settings.from_environment(environment | {"PATH": "/bin", "DIGITS_DATA": "data/mnist"})
    assert read == expected
    assert not [item.name for item in fields(Settings) if getattr(read, item.name) == getattr(Settings(), item.name)]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_settings_are_frozen_and_keep_the_key_out_of_logs() -> None:
    settings = Settings(api_key="a secret")
    assert "a secret" not in repr(settings)
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("DIGITS_PORT", "65536", "a whole number from 0 to 65535"),
        ("DIGITS_PORT", "-1", "a whole number from 0 to 65535"),
        ("DIGITS_PORT", "http", "a whole number from 0 to 65535"),
        ("DIGITS_PORT", "", "a whole number from 0 to 65535"),
        ("DIGITS_PORT", "80.0", "a whole number from 0 to 65535"),
        ("DIGITS_WORKERS", "0", "a whole number from 1 to 256"),
        ("DIGITS_MAX_PIXELS", "783", "a whole number from 784 to 1073741824"),
        ("DIGITS_MODEL_POLL_SECONDS", "nan", "a number from"),
        ("DIGITS_MODEL_POLL_SECONDS", "inf", "to 3600"),
        ("DIGITS_MODEL_POLL_SECONDS", "0", "a number from"),
        ("DIGITS_RUNTIME", "onnx", "auto, tensorflow, litert"),
        ("DIGITS_RUNTIME", "LiteRT", "auto, tensorflow, litert"),
        ("DIGITS_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("DIGITS_MODEL_DIR", "", "a path"),
        ("DIGITS_METRICS_DIR", "", "a path"),
        ("DIGITS_FEEDBACK_DIR", "", "a path"),
        ("DIGITS_FEEDBACK_MAX_FILES", "0", "a whole number from 1 to 1000000"),
    ],
)
def test_a_bad_value_is_a_sentence_that_names_it(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({variable: value})
    assert str(caught.value).startswith(f"{variable} is {value!r}; allowed: ")
    assert allowed in str(caught.value)


def test_an_unknown_variable_is_named_without_its_value() -> None:
    with pytest.raises(SettingError, match=r"^DIGITS_API_KYE is no setting; allowed: .*DIGITS_API_KEY") as caught:
        Settings.from_environment({"DIGITS_API_KYE": "a secret"})
    assert "a secret" not in str(caught.value)


def test_the_readme_tells_every_setting() -> None:
    rows = [line.split(" | ") for line in (REPOSITORY / "README.md").read_text().splitlines() if "| `DIGITS_" in line]
    table = {row[0].strip("| `"): (row[1], row[2].removesuffix(" |")) for row in rows}
    assert table.keys() == {f"DIGITS_{item.name.upper()}" for item in fields(Settings)} | FOREIGN_VARIABLES
    for item in fields(Settings):
        default = "the cores" if item.name == "workers" else f"`{item.default}`" if item.default else "none"
        assert table[f"DIGITS_{item.name.upper()}"] == (default, item.metadata["meaning"])

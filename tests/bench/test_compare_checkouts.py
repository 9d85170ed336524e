"""bench/compare_checkouts.py: statistics of its table, settings of each checkout, and a round with two checkouts."""

import math
from pathlib import Path

import pytest

from bench import compare_checkouts
from bench.compare_checkouts import CONNECTIONS, Case, Checkout, Pair, format_row, select_settings
from bench.load_generator import LoadResult

PNG = Case("PNG", "image/png", b"picture", "", 16)


def load(rate: float, *, p99_ms: float = 1.0, failed: int = 0) -> LoadResult:
    return LoadResult(succeeded=int(10 * rate), failed=failed, seconds=10, p50_ms=0.5, p99_ms=p99_ms)


def test_ratio_is_this_rate_divided_by_the_other() -> None:
    assert Pair(load(150), load(100)).ratio == 1.5


def test_ratio_without_a_successful_response_is_not_a_number() -> None:
    assert math.isnan(Pair(load(150), load(0)).ratio)


def test_row_has_the_median_of_paired_ratios_and_not_the_ratio_of_medians() -> None:
    pairs = [
        Pair(load(1000, p99_ms=2.0, failed=1), load(500, p99_ms=4.0)),
        Pair(load(3000, p99_ms=3.0), load(2000, p99_ms=5.0, failed=2)),
        Pair(load(2000, p99_ms=9.0, failed=3), load(2500, p99_ms=6.0)),
    ]
    assert format_row(PNG, pairs) == (
        "| PNG, 16 | 2,000 | 2,000 | 1.500 | 0.800 to 2.000 | 3.00 | 5.00 | 4 | 2 |"  # medians' ratio is 1.000
    )


def test_header_has_a_column_for_each_cell_of_a_row() -> None:
    row = format_row(PNG, [Pair(load(1), load(1))])
    assert [line.count("|") for line in compare_checkouts.HEADER.splitlines()] == [row.count("|")] * 2


def test_default_cases_are_four_bodies_at_three_numbers_of_connections_and_five_pictures_at_two() -> None:
    cases = compare_checkouts.default_cases()
    assert [case.connections for case in cases] == [*CONNECTIONS] * 4 + [1, 16] * 5
    assert len({case.body for case in cases}) == 9
    assert {case.name for case in cases if case.query == "?split=digits"} == {"page 2000x1500"}


def test_unknown_settings_are_removed_and_returned() -> None:
    environment = {"PATH": "/bin", "DIGITS_WORKERS": "1", "DIGITS_NEW": "2", "DIGITS_DATA": "/data", "DIGITS_ABC": "3"}
    selected, unknown = select_settings(environment, ["DIGITS_WORKERS", "DIGITS_PORT"])
    assert selected == {"PATH": "/bin", "DIGITS_WORKERS": "1", "DIGITS_DATA": "/data"}
    assert unknown == ["DIGITS_ABC", "DIGITS_NEW"]


def test_directory_that_is_not_a_checkout_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is not a checkout of the service"):
        Checkout.open(tmp_path)


CONFIG = """
import os

wsgi_app = "service.app:app"
bind = f"127.0.0.1:{os.environ['DIGITS_PORT']}"
loglevel = os.environ["DIGITS_LOG_LEVEL"]
control_socket_disable = True
"""
APP = """
import os
from pathlib import Path

assert "DIGITS_NEW" not in os.environ


def app(environ, start_response):
    environ["wsgi.input"].read()
    Path("requests").write_text(environ["CONTENT_TYPE"])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"{}"]
"""
SETTINGS = """
from dataclasses import make_dataclass

Settings = make_dataclass("Settings", ["port", "log_level"])
"""


@pytest.fixture
def checkouts(tmp_path: Path) -> list[Path]:
    """Two checkouts, each with a service that writes the type of the last request into its working directory."""
    paths = [tmp_path / "this", tmp_path / "other"]
    for path in paths:
        (path / "service").mkdir(parents=True)
        (path / "service" / "__init__.py").touch()
        for name, text in {"__init__": "", "settings": SETTINGS, "gunicorn.conf": CONFIG, "app": APP}.items():
            (path / "service" / f"{name}.py").write_text(text)
    return paths


def test_a_round_puts_load_on_the_service_of_each_checkout(
    checkouts: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIGITS_NEW", "1")
    case = Case("bulk", "application/octet-stream", b"images", "?fields=digit", 1)
    this, other = map(Checkout.open, checkouts)
    (pair,) = compare_checkouts.measure_round(this, other, [case], 1)
    assert capsys.readouterr().out.count("DIGITS_NEW is not a setting of") == 2
    assert [(path / "requests").read_text() for path in checkouts] == ["application/octet-stream"] * 2
    assert pair.this.succeeded > 0
    assert pair.other.succeeded > 0

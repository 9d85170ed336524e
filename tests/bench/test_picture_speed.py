"""bench/picture_speed.py: its table, and a measurement in a process of its own."""

import json
from pathlib import Path

import pytest

from bench import picture_speed
from tests.service.payloads import encode, stroke


def test_row_has_ratios_to_decoding_and_to_the_other_checkout() -> None:
    assert picture_speed.format_row("canvas 280", (0.5, 2.0)) == "| canvas 280 | 0.50 | 2.00 | 4.0 |"
    row = picture_speed.format_row("page?split=digits", (2, 5), (2.5, 25))
    assert row == "| page, split=digits | 2.00 | 5.00 | 2.5 | 25.00 | 10.0 | 5.0 |"


def test_each_file_has_the_time_to_decode_and_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(picture_speed, "ROUND_SECONDS", 0.001)
    files = [tmp_path / name for name in ("seven", "page?split=digits")]
    for file in files:
        file.write_bytes(encode(255 - stroke()))
    picture_speed.measure_files([str(file) for file in files])
    speeds = json.loads(capsys.readouterr().out)
    assert list(speeds) == [file.name for file in files]
    assert all(0 < decode < read for decode, read in speeds.values())


def test_checkout_is_measured_by_its_own_service(tmp_path: Path) -> None:
    package = tmp_path / "service" / "imaging"
    package.mkdir(parents=True)
    (tmp_path / "service" / "settings.py").write_text("class Settings: pass\n")
    (package / "reader.py").write_text(
        "import pathlib\n"
        "class NormaliseOptions:\n    def __init__(self, split): assert split\n"
        "def read_picture(data, settings, options): pathlib.Path('bytes').write_text(str(len(data)))\n"
    )
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "request_bodies.py").touch()
    file = tmp_path / "page?split=digits"
    file.write_bytes(encode(255 - stroke()))
    speeds = picture_speed.measure_checkout(tmp_path, [file])
    assert list(speeds) == [file.name]
    assert (tmp_path / "bytes").read_text() == str(file.stat().st_size)

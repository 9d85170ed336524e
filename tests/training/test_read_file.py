"""Files are read whole or not at all, without blocking."""

import os
from pathlib import Path

import pytest

from training.read_file import read_json, read_regular_file


def test_reads_up_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert read_regular_file(path, 8) == b"12345678"
    with pytest.raises(OSError, match=f"File of 8 bytes; allowed are 7: '{path}'"):
        read_regular_file(path, 7)


def test_rejects_what_is_no_regular_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=f"(Not a regular file|Is a directory): '{path}'"):
            read_regular_file(path, 100)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "\ufeff{}"])
def test_json_that_cannot_be_parsed_is_a_value_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"nested too deeply|line 1 column"):
        read_json(path)
    path.write_text('{"a": [1]}')
    assert read_json(path) == {"a": [1]}

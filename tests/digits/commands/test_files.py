"""The arguments of `digits predict`: files as named, folders sorted, each picture once."""

import os
from pathlib import Path

import click
import pytest

from digits.commands.files import find_pictures


def test_folders_are_searched_and_each_picture_is_found_once(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "deep/c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    named = f"{tmp_path}/notes.txt"
    found = find_pictures([named, str(tmp_path), f"{tmp_path}/a.jpg", "-"])
    assert found == [named, *(f"{tmp_path}/{name}" for name in ("a.jpg", "b.PNG", "deep/c.webp")), "-"]


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert find_pictures([f"{tmp_path}/pipe"]) == [f"{tmp_path}/pipe"]


@pytest.mark.parametrize(
    ("argument", "sentence"), [("nothing.png", "no file or folder nothing.png"), ("", "has no pictures")]
)
def test_what_cannot_be_found_is_named(tmp_path: Path, argument: str, sentence: str) -> None:
    with pytest.raises(click.UsageError, match=sentence):
        find_pictures([argument or str(tmp_path)])

"""Debian packages: one that is downloaded into a cache with a relative path is unpacked there."""

import hashlib
from pathlib import Path

import pytest

from training.evaluation import debian_packages
from training.evaluation.debian_packages import DebianPackage

CONTENT_SHA256 = hashlib.sha256(b"content\n").hexdigest()
PACKAGE = DebianPackage("fonts-one", "1.0", CONTENT_SHA256, "usr/share/one", CONTENT_SHA256)
TOOLS = {
    "apt-get": "echo content > fonts-one_1.0_all.deb",
    "dpkg-deb": 'mkdir -p "$3/usr/share" && cp "$2" "$3/usr/share/one"',
}


def test_downloads_into_a_cache_with_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    for name, command in TOOLS.items():
        script = tmp_path / "bin" / name
        script.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{command}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(debian_packages, "ROOT", tmp_path / "root")
    monkeypatch.chdir(tmp_path)
    assert debian_packages.locate(PACKAGE, Path("cache")) == Path("cache/fonts-one/usr/share/one")
    assert Path("cache/fonts-one/usr/share/one").read_text() == "content\n"

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from training.data.glyphs import Images
from training.evaluation import ood_sets
from training.evaluation.ood_sets import OodSet, OodSetUnavailable

FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "cmtt10.ttf"
PLACE = "usr/share/digits-test/file"

Tool = Callable[[str, str], None]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Puts a shell script on a PATH that has nothing else but the shell's usual tools."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))

    def put(name: str, script: str) -> None:
        (directory / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (directory / name).chmod(0o755)

    return put


def working(tool: Tool) -> None:
    """An apt-get whose packages hold one file, with the package's name in it."""
    tool("apt-get", 'for name; do :; done; echo "$name" > "${name}_1_all.deb"')
    tool("dpkg-deb", f'mkdir -p "$3/{Path(PLACE).parent}" && cp "$2" "$3/{PLACE}"')


def test_a_package_is_fetched_once(tool: Tool, tmp_path: Path) -> None:
    working(tool)
    cache = tmp_path / "cache"
    found = ood_sets.debian_package_path("fonts-one", PLACE, cache)
    assert found == cache / "fonts-one" / PLACE
    assert found.read_text() == "fonts-one\n"
    tool("apt-get", "exit 1")
    assert ood_sets.debian_package_path("fonts-one", PLACE, cache) == found
    assert [path.name for path in cache.iterdir()] == ["fonts-one"]


def test_a_package_that_the_system_has_is_taken_from_there(tool: Tool, tmp_path: Path) -> None:
    tool("apt-get", "exit 1")
    assert ood_sets.debian_package_path("fonts-one", str(FONT).lstrip("/"), tmp_path / "cache") == FONT
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("get", "unpack", "reason"),
    [
        (None, "true", "there is no apt-get"),
        ("true", None, "there is no apt-get"),
        (
            "echo 'E: Unable to locate' >&2; exit 100",
            "true",
            "apt-get cannot bring the Debian package fonts-one: E: Un",
        ),
        ("true", "true", "fonts-one cannot be unpacked"),
        ("touch a.deb", "echo broken >&2; exit 2", "dpkg-deb cannot bring the Debian package fonts-one: broken"),
        ("touch a.deb", 'mkdir "$3"', f"fonts-one has no {PLACE}"),
    ],
)
def test_a_package_that_cannot_be_had_says_why_and_leaves_nothing_to_be_believed(
    get: str | None, unpack: str | None, reason: str, tool: Tool, tmp_path: Path
) -> None:
    for name, script in (("apt-get", get), ("dpkg-deb", unpack)):
        if script is not None:
            tool(name, script)
    cache = tmp_path / "cache"
    with pytest.raises(OodSetUnavailable, match=reason):
        ood_sets.debian_package_path("fonts-one", PLACE, cache)
    assert not list(cache.rglob("file"))
    assert not list(cache.glob(".fetch-*")) if cache.exists() else True
    shutil.rmtree(cache, ignore_errors=True)
    working(tool)
    assert ood_sets.debian_package_path("fonts-one", PLACE, cache).exists()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one font for every package, and a small Fashion-MNIST."""
    monkeypatch.setattr(ood_sets, "TEXT_FONTS", {"fonts-text": "digits-test"})
    monkeypatch.setattr(ood_sets, "WRITTEN_FONTS", {"fonts-written": "digits-test"})
    monkeypatch.setattr(ood_sets, "FASHION", ("fashion", "usr/share/digits-test/images.gz"))
    for package in ("fonts-text", "fonts-written"):
        directory = tmp_path / package / "usr/share/fonts/digits-test"
        directory.mkdir(parents=True)
        shutil.copyfile(FONT, directory / "font.ttf")
    monkeypatch.setattr(ood_sets, "STROKES", ("kanji", "usr/share/digits-test/data.json"))
    known = {"3": {"a": [[0, 0, 9, 9]] * 3}, "4": {"b": [[20, 30, 220, 30], [20, 230, 220, 230]] * 2}, "5": {}}
    (tmp_path / "kanji/usr/share/digits-test").mkdir(parents=True)
    (tmp_path / "kanji/usr/share/digits-test/data.json").write_text(json.dumps(known))
    fashion = tmp_path / "fashion" / "usr/share/digits-test"
    fashion.mkdir(parents=True)
    (fashion / "images.gz").write_bytes(gzip.compress(bytes(16) + bytes(range(256)) * 49))
    return tmp_path


def digits() -> Images:
    """Forty images of a frame that touches every half."""
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 5:23, 5:23] = 200
    images[:, 9:19, 9:19] = 0
    return images


def test_every_probe_is_what_its_name_says(cache: Path) -> None:
    made = {probe.name: probe for probe in ood_sets.load_ood_sets(digits(), cache)}
    assert all(probe.images.dtype == np.uint8 and probe.images.shape[1:] == (28, 28) for probe in made.values())
    assert {probe.missing for probe in made.values()} == {""}
    letters = made["letters, text fonts"].images
    np.testing.assert_array_equal(letters, made["letters, handwriting fonts"].images)
    assert 30 < len(letters) < 52
    assert len(made["symbols"].images) > 2 * 10
    (kanji,) = made["kanji, drawn by strokes"].images
    rows = np.nonzero(kanji.sum(axis=1) > 1000)[0]
    assert 3 <= len(rows) <= 6
    assert np.ptp(rows) > 17, "two strokes, far apart"
    assert np.ptp(np.nonzero(kanji)[1]) > 17
    assert made["Fashion-MNIST"].images.ravel()[:256].tolist() == list(range(256))
    uniform, gaussian = made["uniform noise"].images, made["Gaussian noise"].images
    assert uniform.mean() == pytest.approx(127.5, abs=0.5)
    assert uniform.std() == pytest.approx(256 / 12**0.5, abs=0.5)
    assert gaussian.mean() == pytest.approx(127.5, abs=0.5)
    assert 60 < gaussian.std() < 64
    assert not made["blank"].images.any()
    assert (made["full"].images == 255).all()


def test_halves_have_lost_one_side_and_pairs_show_two(cache: Path) -> None:
    made = {probe.name: probe.images for probe in ood_sets.load_ood_sets(digits(), cache)}
    halves = made["a digit cut in half"]
    sides = [halves[:, :14], halves[:, 14:], halves[:, :, :14], halves[:, :, 14:]]
    empty = np.array([[not image.any() for image in side] for side in sides])
    assert empty.sum(axis=0).tolist() == [1] * 40
    assert empty.sum(axis=1).tolist() == [10] * 4
    assert (halves.sum(axis=(1, 2)) == digits()[0].sum() / 2).all()
    pairs = made["two digits side by side"]
    assert len(pairs) == 20
    rows, columns = np.nonzero(pairs[0])
    assert np.ptp(columns) + 1 == 20
    assert np.ptp(rows) + 1 <= 12


def test_the_same_digits_give_the_same_probes(cache: Path) -> None:
    for one, same in zip(ood_sets.load_ood_sets(digits(), cache), ood_sets.load_ood_sets(digits(), cache), strict=True):
        np.testing.assert_array_equal(one.images, same.images)


def test_what_cannot_be_had_is_missing_with_a_reason_and_the_rest_is_there(cache: Path, tool: Tool) -> None:
    tool("true", "")
    shutil.rmtree(cache / "fonts-written")
    (cache / "kanji/usr/share/digits-test/data.json").write_text("[]")
    (cache / "fashion" / "usr/share/digits-test/images.gz").write_bytes(b"rubbish")
    found: list[OodSet] = list(ood_sets.load_ood_sets(digits(), cache))
    missing = {probe.name: probe.missing for probe in found if probe.missing}
    assert set(missing) == {"letters, handwriting fonts", "kanji, drawn by strokes", "symbols", "Fashion-MNIST"}
    assert "fonts-written" in missing["symbols"]
    assert "images.gz" in missing["Fashion-MNIST"]
    assert all(len(probe.images) == 0 for probe in found if probe.missing)

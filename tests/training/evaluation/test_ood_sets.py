"""The OOD sets: kinds of images, determinism, and sets that are unavailable."""

import gzip
import json
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from training.data import letter_strokes, outliers
from training.evaluation import ood_sets
from training.evaluation.debian_packages import DebianPackage, content_digest
from training.evaluation.ood_sets import OodSet
from training.types import Images

NAMES = ("fonts-text", "fonts-handwriting")
FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "cmtt10.ttf"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with small packages: a font each, a small Fashion-MNIST, two characters of strokes; no apt-get."""

    def package(name: str, path: str, file: str = "", content: bytes = b"") -> DebianPackage:
        destination = tmp_path / name / path / file
        destination.parent.mkdir(parents=True)
        destination.write_bytes(content)
        return DebianPackage(name, "1.0", "0" * 64, path, content_digest(tmp_path / name / path))

    strokes = {"3": {"a": [[0, 0, 9, 9]] * 3}, "4": {"b": [[20, 30, 220, 30], [20, 230, 220, 230]] * 2}, "5": {}}
    fashion = gzip.compress(bytes(16) + bytes(range(256)) * 49)
    fonts = {name: (package(name, "usr/share/fonts/digits-test", "font.ttf", FONT.read_bytes()),) for name in NAMES}
    monkeypatch.setattr(ood_sets, "TEXT_FONTS", fonts["fonts-text"])
    monkeypatch.setattr(ood_sets, "HANDWRITING_FONTS", fonts["fonts-handwriting"])
    monkeypatch.setattr(ood_sets, "FASHION_MNIST", package("fashion", "usr/share/images.gz", content=fashion))
    monkeypatch.setattr(
        ood_sets, "KANJI_STROKES", package("kanji", "usr/data.json", content=json.dumps(strokes).encode())
    )
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def digits() -> Images:
    """Forty images of a frame that extends into every half."""
    images = np.zeros((40, 28, 28), np.uint8)
    images[:, 5:23, 5:23] = 200
    images[:, 9:19, 9:19] = 0
    return images


def test_each_set_has_images_of_its_kind(cache: Path) -> None:
    made = {ood_set.name: ood_set for ood_set in ood_sets.load_ood_sets(digits(), cache)}
    assert all(ood_set.images.dtype == np.uint8 for ood_set in made.values())
    assert all(ood_set.images.shape[1:] == (28, 28) for ood_set in made.values())
    assert {ood_set.missing for ood_set in made.values()} == {""}
    letters = made["letters, text fonts"].images
    np.testing.assert_array_equal(letters, made["letters, handwriting fonts"].images)
    assert 30 < len(letters) < 52
    assert len(made["symbols"].images) > 2 * 10
    assert 500 < len(made["letters of other scripts, drawn by a pen"].images) < 3000
    (kanji,) = made["kanji, drawn by strokes"].images
    rows = np.nonzero(kanji.sum(axis=1) > 1000)[0]
    assert 3 <= len(rows) <= 6
    assert np.ptp(rows) > 17, "two distant strokes"
    assert np.ptp(np.nonzero(kanji)[1]) > 17
    assert made["Fashion-MNIST"].images.ravel()[:256].tolist() == list(range(256))
    uniform, gaussian = made["uniform noise"].images, made["Gaussian noise"].images
    assert uniform.mean() == pytest.approx(127.5, abs=0.5)
    assert uniform.std() == pytest.approx(256 / 12**0.5, abs=0.5)
    assert gaussian.mean() == pytest.approx(127.5, abs=0.5)
    assert 60 < gaussian.std() < 64
    assert not made["blank"].images.any()
    assert (made["full"].images == 255).all()


def test_the_drawn_scripts_are_no_outliers_in_training() -> None:
    assert not set(ood_sets.DRAWN_SCRIPTS) & set(outliers.DRAWN_SCRIPTS)
    assert {*ood_sets.DRAWN_SCRIPTS, *outliers.DRAWN_SCRIPTS} == set(letter_strokes.script_names())


def test_halves_lack_one_side_and_pairs_have_two_digits(cache: Path) -> None:
    made = {ood_set.name: ood_set.images for ood_set in ood_sets.load_ood_sets(digits(), cache)}
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


def test_the_sets_are_a_function_of_the_digits(cache: Path) -> None:
    first, second = (ood_sets.load_ood_sets(digits(), cache) for _ in range(2))
    for once, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(once.images, again.images)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "missing", "a directory"])
def test_a_damaged_font_in_the_cache_is_not_used_and_without_network_its_sets_are_missing(
    damage: str, cache: Path
) -> None:
    path = cache / "fonts-text/usr/share/fonts/digits-test/font.ttf"
    content = path.read_bytes()
    path.unlink()
    if damage == "a directory":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"truncated": content[:5000], "garbage": b"\0garbage" * 999, "empty": b""}[damage])
    missing = {ood_set.name for ood_set in ood_sets.load_ood_sets(digits(), cache) if ood_set.missing}
    assert missing == {"letters, text fonts", "symbols"}


def test_an_unavailable_set_has_a_reason_and_the_others_are_generated(cache: Path) -> None:
    shutil.rmtree(cache / "fonts-handwriting")
    (cache / "kanji/usr/data.json").write_text("changed")
    (cache / "fashion/usr/share/images.gz").write_bytes(b"changed")
    found: list[OodSet] = list(ood_sets.load_ood_sets(digits(), cache))
    missing = {ood_set.name: ood_set.missing for ood_set in found if ood_set.missing}
    assert set(missing) == {"letters, handwriting fonts", "kanji, drawn by strokes", "symbols", "Fashion-MNIST"}
    assert missing["symbols"].startswith("the Debian package fonts-handwriting, version 1.0, is required")
    assert missing["Fashion-MNIST"].startswith("the Debian package fashion, version 1.0, is required")
    assert all(len(ood_set.images) == 0 for ood_set in found if ood_set.missing)

"""Versions that must not be served, each made of a good one: bad manifests, bad models, entries that are no files."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter

MANIFEST = "manifest.json"
MODEL = "model.tflite"
REJECTED = frozenset({"rejected"})
HARMLESS = frozenset({"rejected", "not rejected"})
"""The files that the manifest lists are intact, or it is no directory: it may be served, or not be looked at."""


class BadVersion(NamedTuple):
    """How a copy of a good version is made bad, and how its publication may end."""

    spoil: Callable[[Path], None]
    ends: frozenset[str] = REJECTED


def copy_version(source: Path, building: Path, number: int) -> Path:
    """Copy a version to `building`, and state another number in its manifest; return `building`."""
    shutil.copytree(source, building)
    _change_manifest(building, version=number)
    return building


def _change_manifest(directory: Path, /, **changes: Any) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps(manifest | changes))


def _manifest(content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda version: _replace(version / MANIFEST, data)


def _keys(**changes: Any) -> Callable[[Path], None]:
    return lambda version: _change_manifest(version, **changes)


def _replace(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _model(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the model, and list its new hash."""

    def spoil(version: Path) -> None:
        data = change((version / MODEL).read_bytes())
        (version / MODEL).write_bytes(data)
        files = json.loads((version / MANIFEST).read_text())["files"]
        _change_manifest(version, files=files | {MODEL: hashlib.sha256(data).hexdigest()})

    return spoil


def _replace_by_text(version: Path, key: str, text: str) -> None:
    """Give a key a value that Python's json does not write."""
    manifest = json.loads((version / MANIFEST).read_text())
    manifest.pop(key)
    others = json.dumps(manifest).removesuffix("}")
    (version / MANIFEST).write_text(f'{others}, "{key}": {text}}}')


def _text(key: str, text: str) -> Callable[[Path], None]:
    return lambda version: _replace_by_text(version, key, text)


def _without(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else in the place of a file."""

    def spoil(version: Path) -> None:
        (version / name).unlink()
        make(version / name)

    return spoil


def _beside(name: str | bytes, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something beside the files."""
    return lambda version: _ignore(make(version / os.fsdecode(name)))


def _instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something in the place of the directory."""

    def spoil(version: Path) -> None:
        shutil.rmtree(version)
        make(version)

    return spoil


def _ignore(_: object) -> None:
    pass


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nothing")


def _many_files(directory: Path) -> None:
    directory.mkdir()
    for number in range(2000):
        (directory / str(number)).touch()


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def answer_nan(model: bytes) -> bytes:
    """Change a TFLite model so that it answers NaN to everything: the ten biases of the last layer are NaN."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    biases = next(detail["index"] for detail in details if detail["shape"].tolist() == [10])
    return model.replace(interpreter.get_tensor(biases).tobytes(), np.full(10, np.nan, np.float32).tobytes())


def answer_nan_to_digits(model: bytes) -> bytes:
    """Change a TFLite model so that it answers probabilities to a blank, and NaN to other images.

    The int8 weights of the first layer get scales so large that the sums over an image overflow.
    """
    interpreter = Interpreter(model_content=model)
    details = interpreter.get_tensor_details()
    scales = max((detail["quantization_parameters"]["scales"] for detail in details), key=len)
    return model.replace(scales.tobytes(), (scales * OVERFLOW).tobytes())


OVERFLOW = np.float32(1e30)
DEEP = 100_000
BAD_VERSIONS: Mapping[str, BadVersion] = {
    "an empty manifest": BadVersion(_manifest("")),
    "a manifest that is not JSON": BadVersion(_manifest(bytes(range(256)))),
    "a manifest 100,000 deep": BadVersion(_manifest("[" * DEEP + "]" * DEEP)),
    "a manifest that is a list": BadVersion(_manifest("[]")),
    "a manifest of 1 GiB": BadVersion(_without(MANIFEST, _sparse)),
    "a number instead of thresholds": BadVersion(_keys(thresholds=0.5)),
    "a threshold of 400 digits": BadVersion(_text("thresholds", f'{{"confidence": {"9" * 400}}}')),
    "a temperature of 5,000 digits": BadVersion(_text("temperature", "9" * 5000)),
    "a threshold NaN": BadVersion(_text("thresholds", '{"confidence": NaN}')),
    "null metrics": BadVersion(_keys(metrics=None), HARMLESS),
    "a text as reference": BadVersion(_keys(reference="text"), HARMLESS),
    "another version in the manifest": BadVersion(_keys(version=7)),
    "a list of files": BadVersion(_keys(files=[MODEL])),
    "a lone surrogate as a file's name": BadVersion(_text("files", '{"\\ud800": "0", "model.tflite": "0"}')),
    "a file out of its directory": BadVersion(_keys(files={"../../../etc/passwd": "0"})),
    "a file's name of 10,000 characters": BadVersion(_keys(files={"x" * 10_000: "0"})),
    "a changed model": BadVersion(lambda version: _replace(version / MODEL, b"changed")),
    "no model": BadVersion(lambda version: (version / MODEL).unlink()),
    "half a model and its hash": BadVersion(_model(lambda data: data[: len(data) // 2])),
    "random bytes as model and their hash": BadVersion(_model(lambda data: np.random.default_rng(0).bytes(len(data)))),
    "a model that answers NaN": BadVersion(_model(answer_nan)),
    "a model that answers NaN to all but blanks": BadVersion(_model(answer_nan_to_digits)),
    "a FIFO as manifest": BadVersion(_without(MANIFEST, os.mkfifo)),
    "a FIFO as model": BadVersion(_without(MODEL, os.mkfifo)),
    "a directory as manifest": BadVersion(_without(MANIFEST, Path.mkdir)),
    "a link loop as manifest": BadVersion(_without(MANIFEST, _loop)),
    "a link to nothing as model": BadVersion(_without(MODEL, _dangling)),
    "a link loop beside its files": BadVersion(_beside("loop", _loop), HARMLESS),
    "a FIFO beside its files": BadVersion(_beside("fifo", os.mkfifo), HARMLESS),
    "a name that is not UTF-8": BadVersion(_beside(b"\xff\n", Path.touch), HARMLESS),
    "2,000 files beside its files": BadVersion(_beside("many", _many_files), HARMLESS),
    "a file as its directory": BadVersion(_instead(Path.touch), HARMLESS),
    "a FIFO as its directory": BadVersion(_instead(os.mkfifo), HARMLESS),
    "a link loop as its directory": BadVersion(_instead(_loop), HARMLESS),
    "a link to nothing as its directory": BadVersion(_instead(_dangling), HARMLESS),
}
"""What is wrong with the version -> how it is made."""


def is_harmless(kind: str) -> bool:
    """Whether a version of this kind may be served."""
    return BAD_VERSIONS[kind].ends == HARMLESS

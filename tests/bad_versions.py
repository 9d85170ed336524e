"""Versions that cannot be served, and entries of a model directory that are no version: each must harm itself only."""

import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from training.publish import registry

Damage = Callable[[Path], object]
"""Damages the directory of a complete version, before it is published; or adds an entry to a model directory."""

DEEP = "[" * 100_000
WRONG_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 77, 0.5, 10**400, "x", "\ud800", [], [[]], {}, {"x": None}, float("nan")),
)
MANIFEST_KEYS = ("version", "files", "thresholds", "metrics", "reference")
NESTED_KEYS = {"thresholds": "confidence", "metrics": "test_accuracy", "reference": "class_shares"}
VALID = {
    *(("metrics", "{}"), ("metrics", '{"x": null}'), ("thresholds", "{}"), ("thresholds", '{"x": null}')),
    *(("thresholds.confidence", "0.5"), ("metrics.test_accuracy", "0.5"), ("metrics.test_accuracy", "null")),
    *(("reference", "null"), ("files", "{}")),
}
"""Key and value, as JSON, of those that are valid; without files, TensorFlow runs the version."""


def manifest_damages() -> Iterator[tuple[str, Damage]]:
    """Every key that the service reads, with values of every type but those that are valid."""
    for key in MANIFEST_KEYS:
        for value in WRONG_VALUES:
            text = json.dumps(value)
            if (key, text) not in VALID:
                yield f"{key} {text[:12]}", _set({key: value})
            nested = NESTED_KEYS.get(key)
            if nested and (f"{key}.{nested}", text) not in VALID:
                yield f"{key}.{nested} {text[:12]}", _set({key: {nested: value}})
    for value in (None, 7, [], {}, "\ud800"):
        yield f"checksum {value!r:.12}", _set({"files": {"model.tflite": value}})
    for name in ("\ud800", "a\0b", "../1/model.tflite", "/etc/passwd", "", ".", "x" * 300, "a/" * 2000, "new\nline"):
        yield f"file name {name!r:.12}", _set({"files": {name: "0" * 64}})


def _set(values: dict[str, Any]) -> Damage:
    def change(version: Path) -> None:
        path = version / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def _write_manifest(content: bytes) -> Damage:
    return lambda version: (version / "manifest.json").write_bytes(content)


def _replace(name: str, make: Damage) -> Damage:
    def replace(version: Path) -> None:
        (version / name).unlink()
        make(version / name)

    return replace


def make_socket(path: Path) -> None:
    """Make a socket that nobody listens on; the path of one is at most 107 bytes long, so it is made elsewhere."""
    short = Path(f"/tmp/digits-{os.getpid()}.socket")  # noqa: S108
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(short))
    shutil.move(short, path)


KINDS: dict[str, Damage] = {
    "a FIFO": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a directory": Path.mkdir,
    "a loop": lambda path: path.symlink_to(path.name),
    "a broken link": lambda path: path.symlink_to("missing"),
    "a link to the parent": lambda path: path.symlink_to(".."),
    "empty": Path.touch,
    "1 TB": lambda path: _sparse(path, 1 << 40),
    "unreadable": lambda path: path.symlink_to("/proc/self/mem"),  # root may read every file, but not this address
}


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _with_nan_weights(version: Path) -> None:
    """A TFLite model with NaN in place of some weights, listed with its own checksum."""
    _change_model(version, lambda content: content[: len(content) // 2] + b"\xff\xff\xff\x7f" * 100)


def change_bytes(seed: int) -> Damage:
    """A TFLite model with changes in its first or last bytes, which hold the structure, and with its own checksum."""
    source = random.Random(seed)  # noqa: S311

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(source.choice([1, 2, 8])):
            changed[source.choice([1, -1]) * source.randrange(8, 2000)] = source.choice([0, 1, 127, 128, 255])
        return bytes(changed[: source.choice([len(changed), len(changed), 4000])])

    return lambda version: _change_model(version, change)


def _change_model(version: Path, change: Callable[[bytes], bytes]) -> None:
    path = version / "model.tflite"
    content = path.read_bytes()
    path.write_bytes(change(content)[: len(content)])
    manifest = json.loads((version / "manifest.json").read_text())
    (version / "manifest.json").unlink()
    registry.write_manifest(version, manifest["version"], manifest)


def published_version() -> Path:
    """The newest version in the repository."""
    return max((Path(__file__).parents[1] / "models" / "digits").glob("[0-9]*"), key=lambda path: int(path.name))


def crash_litert(version: Path) -> None:
    """A TFLite model that ends the process by SIGSEGV, listed with its own checksum: see test_trial.py."""
    content = bytearray((published_version() / "model.tflite").read_bytes())
    content[16:20] = bytes(4)
    (version / "model.tflite").write_bytes(content)
    _change_model(version, lambda content: content)


def remove_files(version: Path) -> None:
    """Leave an empty directory."""
    shutil.rmtree(version)
    version.mkdir()


def many_entries(version: Path) -> None:
    """Add 1,100 empty files."""
    for index in range(1100):
        (version / f"{index}").touch()


VERSIONS: dict[str, Damage] = {
    **dict(manifest_damages()),
    **{f"manifest is {kind}": _replace("manifest.json", make) for kind, make in KINDS.items()},
    **{f"model is {kind}": _replace("model.tflite", make) for kind, make in KINDS.items()},
    "manifest is [] 100,000 deep": _write_manifest(DEEP.encode()),
    "manifest is not UTF-8": _write_manifest(b'{"files": "\xff"}'),
    "manifest of 5 MiB": _write_manifest(b" " * (5 << 20)),
    "manifest with a duplicate": _write_manifest(b'{"version": 1, "version": 2, "files": {}}'),
    "manifest with a number of 400 digits": _write_manifest(b'{"version": %b, "files": {}}' % (b"1" * 400)),
    "manifest with a number of 5,000 digits": _write_manifest(b'{"version": %b, "files": {}}' % (b"1" * 5000)),
    "weights are NaN": _with_nan_weights,
    "1,100 entries": many_entries,
    "no files": remove_files,
}
"""Versions that must be rejected without a trial."""

HARMLESS: dict[str, Damage] = {
    "a loop": lambda version: (version / "loop").symlink_to("loop"),
    "a broken link": lambda version: (version / "link").symlink_to("missing"),
    "a link to the parent": lambda version: (version / "up").symlink_to(".."),
    "a FIFO": lambda version: os.mkfifo(version / "fifo"),
    "a socket": lambda version: make_socket(version / "socket"),
    "a name that is not UTF-8": lambda version: Path(os.fsdecode(os.fsencode(version) + b"/\xff\xfe")).touch(),
}
"""Entries of a version that nothing reads: it is served."""

ENTRIES: dict[str, Damage] = {
    "a version that is a loop": lambda models: (models / "9001").symlink_to("9001"),
    "a version that is a broken link": lambda models: (models / "9002").symlink_to("missing"),
    "a version that is the model directory": lambda models: (models / "9003").symlink_to("."),
    "a version that is a link to /proc": lambda models: (models / "9004").symlink_to("/proc/self"),
    "a version that is a FIFO": lambda models: os.mkfifo(models / "9005"),
    "a version that is a file": lambda models: (models / "9006").touch(),
    "a version that is empty": lambda models: (models / "9007").mkdir(),
    "007": lambda models: (models / "007").mkdir(),
    "a number of 255 digits": lambda models: (models / ("9" * 255)).mkdir(),
    "a number of 20 digits": lambda models: (models / ("9" * 20)).mkdir(),
    "a name that is not UTF-8": lambda models: Path(os.fsdecode(os.fsencode(models) + b"/\xff\xfe")).mkdir(),
    "another script's digit": lambda models: (models / "٧").mkdir(),  # noqa: RUF001
    "a loop of another name": lambda models: (models / "loop").symlink_to("loop"),
    "a FIFO of another name": lambda models: os.mkfifo(models / "fifo"),
}
"""Entries of a model directory beside the versions."""

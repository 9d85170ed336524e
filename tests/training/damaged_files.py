"""Damaged contents of the files that commands read: checkpoints, JSON, tables, and what else may be in their place."""

import io
import itertools
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DEEP = "[" * 100_000
VALUES: dict[str, str] = {
    "null": "null",
    "true": "true",
    "text": '"text"',
    "empty text": '""',
    "lines": '"a\\nb\\u001b[31m\\u0000c"',
    "surrogate": '"\\ud800"',
    "long text": json.dumps("x" * 10_000),
    "zero": "0",
    "negative": "-1",
    "real": "0.5",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "huge integer": "1" + "0" * 400,
    "integer that Python does not parse": "1" * 5000,
    "huge real": "1e999",
    "list": "[]",
    "list of lists": "[[[1]]]",
    "object": "{}",
    "object of anything": '{"": [null], "\\ud800": {"a": 1}}',
    "deep list": "[" * 900 + "]" * 900,
}
"""JSON texts of values, by what they are."""
NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"name": "dig',
    "deep list": DEEP.encode(),
    "deep object": b'{"a":' * 100_000,
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": 1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "null characters": bytes(1000),
    "random": np.random.default_rng(0).bytes(5000),
    "a number": b"7",
    "a list": b"[]",
    "more than 16 MiB": b" " * ((1 << 24) + 1),
    "two documents": b"{}{}",
}
"""Contents of a JSON file that has no object."""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)


OTHER_ENTRIES: dict[str, Callable[[Path], object]] = {
    "missing": lambda _: None,
    "a directory": Path.mkdir,
    "a FIFO": _fifo,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a file without permissions": _unreadable,
}
"""What may be in place of a file; each makes it."""


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def with_each_value(document: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the document with each value, at every depth, replaced by each of VALUES, and without each key."""
    for path in _paths(document):
        for name, text in VALUES.items():
            yield f"{'.'.join(path)} is {name}", _replaced(document, path, text).encode()
        yield f"without {'.'.join(path)}", _replaced(document, path, None).encode()


def _paths(document: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in document.items() if isinstance(document, dict) else ():
        yield (*before, key)
        yield from _paths(value, (*before, key))


def _replaced(document: dict[str, Any], path: tuple[str, ...], text: str | None) -> str:
    copy = json.loads(json.dumps(document))
    *parents, last = path
    parent = copy
    for key in parents:
        parent = parent[key]
    if text is None:
        del parent[last]
        return json.dumps(copy)
    parent[last] = "REPLACED"
    return json.dumps(copy).replace('"REPLACED"', text)


def damaged_checkpoints(valid: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the content of a checkpoint in all kinds of damage, about `count` of them; always the same."""
    yield from _other_archives(valid)
    random = np.random.default_rng(0)
    makers = (_truncated, _bit_flipped, _structure_flipped, _overwritten, _cut, _doubled, _header_changed)
    for number in range(count):
        make = makers[number % len(makers)]
        yield f"{make.__name__[1:]} {number}", make(valid, random)


def _truncated(valid: bytes, random: np.random.Generator) -> bytes:
    return valid[: random.integers(len(valid))]


def _bit_flipped(valid: bytes, random: np.random.Generator) -> bytes:
    return _flip(valid, int(random.integers(len(valid))), random)


def _structure_flipped(valid: bytes, random: np.random.Generator) -> bytes:
    """Change a header, or the directory at the end: an archive's checksums do not cover them."""
    starts = list(_find(valid, b"PK"))
    return _flip(valid, min(int(random.choice(starts) + random.integers(60)), len(valid) - 1), random)


def _overwritten(valid: bytes, random: np.random.Generator) -> bytes:
    start, size = int(random.integers(len(valid))), int(random.integers(1, 200))
    return (valid[:start] + random.bytes(size) + valid[start + size :])[: len(valid)]


def _cut(valid: bytes, random: np.random.Generator) -> bytes:
    start, size = random.integers(len(valid)), random.integers(1, 2000)
    return valid[:start] + valid[start + size :]


def _doubled(valid: bytes, random: np.random.Generator) -> bytes:
    start, size = random.integers(len(valid)), random.integers(1, 2000)
    return valid[: start + size] + valid[start:]


def _header_changed(valid: bytes, random: np.random.Generator) -> bytes:
    """Change the header of an array, with a correct checksum of the archive."""
    members = _members(valid)
    name = sorted(members)[random.integers(len(members))]
    members[name] = _flip(members[name], int(random.integers(80)), random)
    return _archive(members)


def _other_archives(valid: bytes) -> Iterator[tuple[str, bytes]]:
    members = _members(valid)
    first = min(members)
    arrays = {name: np.load(io.BytesIO(content)) for name, content in members.items()}
    yield from (("empty", b""), ("text", b"text"), ("pickle", pickle.dumps(arrays)), ("npy", members[first]))
    yield "no members", _archive({})
    yield "a member less", _archive(dict(list(members.items())[1:]))
    yield "a member more", _archive(members | {"arr_99.npy": members[first]})
    yield "other names", _archive({f"x{name}": content for name, content in members.items()})
    yield "a traversing name", _archive(members | {"../../x.npy": members[first]})
    yield "compressed", _archive(members, zipfile.ZIP_DEFLATED)
    headers: tuple[bytes, ...] = (b"", b"{", b"[" * 5000, b"(" * 5000, b"\xff" * 100, b"{'descr': '<f4'}")
    headers += (
        _header("<f4", "(1000000000000, 10)"),
        _header("<f4", "(-1,)"),
        _header("|O", "()"),
        _header("V9", "()"),
    )
    headers += (_header("<f4", "(" + "1," * 70 + ")"), _header("<f4", f"({10**30},)"), _header("x", "()"))
    for header in headers:
        npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        yield f"header {header[:40]!r}", _archive(members | {first: npy})
    for version in (b"\x02\x00", b"\x03\x00", b"\x09\x09"):
        yield f"version {version!r}", _archive(members | {first: members[first][:6] + version + members[first][8:]})
    changes: dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
        "float64": lambda array: array.astype(np.float64),
        "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
        "text": lambda array: array.astype(str),
        "objects": lambda array: array.astype(object),
        "another axis": lambda array: array[None],
        "transposed": lambda array: np.asfortranarray(array.T),
        "column order": np.asfortranarray,
        "no elements": lambda array: array.ravel()[:0],
        "negative": lambda array: -1 - array,
        "large": lambda array: array + array.dtype.type(1 << 30),
    }
    for (name, change), member in itertools.product(changes.items(), sorted(members)):
        content = io.BytesIO()
        np.save(content, change(arrays[member]))
        yield f"{member}: {name}", _archive(members | {member: content.getvalue()})


def _header(dtype: str, shape: str) -> bytes:
    return f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()


def _members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def _archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, member in members.items():
            file.writestr(name, member)
    return content.getvalue()


def _flip(content: bytes, position: int, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    changed[position % len(changed)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _find(content: bytes, pattern: bytes) -> Iterator[int]:
    position = content.find(pattern)
    while position >= 0:
        yield position
        position = content.find(pattern, position + 1)

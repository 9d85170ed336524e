"""What clients should not send, sent: each gets its 4xx with one sentence, and the service goes on."""

import json
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.system.server import Server, serving

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
OCTETS = "application/octet-stream"
LIMIT = 16 << 20


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1) as running:
        yield running
        assert "Traceback" not in running.log
        assert running.log.count("Booting worker") == 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def npy(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def form(parts: int) -> bytes:
    part = b'--X\r\nContent-Disposition: form-data; name="f"; filename="f.png"\r\n\r\n' + SEVEN + b"\r\n"
    return part * parts + b"--X--\r\n"


def images(*values: object) -> bytes:
    return json.dumps({"images": values}).encode()


def idx3(count: int, rows: int, columns: int, pixels: bytes) -> bytes:
    return struct.pack(">4I", 0x803, count, rows, columns) + pixels


RUBBISH = {
    "empty body": (b"", "image/png", 400, "0 bytes"),
    "no type": (SEVEN, "", 415, "missing"),
    "wrong type": (SEVEN, "text/plain", 415, "text/plain"),
    "form of a browser": (b"a=b", "application/x-www-form-urlencoded", 415, "x-www-form-urlencoded"),
    "text as PNG": (b"hello", "image/png", 415, "PNG"),
    "truncated PNG": (SEVEN[:150], "image/png", 400, "cannot be decoded"),
    "bomb": (png(50_000, 50_000, bytes(50_001)), "image/png", 413, "50000x50000"),
    "bomb in its size": (png(28, 28, bytes(200 << 20)), "image/png", 422, "no digit"),
    "large picture": (png(100, 100, bytes(10_100)), "image/png", 422, "no digit to read"),
    "blank": (png(28, 28, bytes(28 * 29)), "image/png", 422, "no digit to read"),
    "10,001 parts": (form(10_001), "multipart/form-data; boundary=X", 413, "10000"),
    "no parts": (b"--X--\r\n", "multipart/form-data; boundary=X", 400, "0 file parts"),
    "no boundary": (form(1), "multipart/form-data", 400, "boundary"),
    "10,001 images": (bytes(784 * 10_001), OCTETS, 413, "10000"),
    "no whole image": (bytes(783), OCTETS, 400, "783"),
    "NaN": (b'{"images": [[NaN]]}', "application/json", 400, "JSON"),
    "negative": (images([0] * 783 + [-1]), "application/json", 400, "-1"),
    "256": (images([0] * 783 + [256]), "application/json", 400, "256"),
    "fraction": (images([0.5] * 784), "application/json", 400, "0.5"),
    "wrong shape": (images([[0] * 28] * 27), "application/json", 400, "27 rows of 28"),
    "deep": (b"[" * 100_000, "application/json", 400, "JSON"),
    "broken JSON": (b'{"images": [', "application/json", 400, "JSON"),
    "invalid UTF-8": (b'{"images": ["\xff\xfe"]}', "application/json", 400, "JSON"),
    "second of two": (images([9] * 784, [255] * 784), "application/json", 422, "picture 1 of 2"),
    "pickled": (npy(np.array([{"a": 1}], object)), OCTETS, 400, "object"),
    "floats": (npy(np.zeros((1, 28, 28))), OCTETS, 400, "float64"),
    "huge claim": (npy(np.zeros((1, 28, 28), np.uint8)).replace(b"(1, 28", b"(9, 28"), OCTETS, 400, "7056"),
    "lying IDX": (idx3(2**31, 28, 28, bytes(784)), OCTETS, 400, "2147483648"),
    "IDX of other sides": (idx3(1, 32, 32, bytes(1024)), OCTETS, 400, "32x32"),
    "100 MB": (bytes(100_000_000), OCTETS, 413, str(LIMIT)),
}


@pytest.mark.parametrize(("body", "kind", "status", "words"), RUBBISH.values(), ids=RUBBISH)
def test_rubbish_gets_its_sentence(server: Server, body: bytes, kind: str, status: int, words: str) -> None:
    answer = server.client.post("/predict", content=body, headers={"Content-Type": kind} if kind else {})
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    good = server.client.post("/predict", content=SEVEN, headers={"Content-Type": "image/png"})
    assert good.status_code == 200


def test_a_chunked_body_is_bounded_while_it_is_read(server: Server) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 20)

    answer = server.client.post("/predict", content=endless(), headers={"Content-Type": OCTETS})
    assert (answer.status_code, list(answer.json())) == (413, ["error"])
    assert str(LIMIT) in answer.json()["error"]

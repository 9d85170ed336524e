"""Tests the service with the bodies that people send it by curl: each is read, or gets what to type instead."""

import gzip
import json
import shutil
import struct
import subprocess
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.system.server import Server, serving

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

SEVEN = (REPOSITORY / "tests" / "pictures" / "seven.png").read_bytes()
BASE64 = b64encode(SEVEN).decode()
DATA_URL = f"data:image/png;base64,{BASE64}"
FILES = {
    "seven.png": SEVEN,
    "2024.jpg": (REPOSITORY / "tests" / "pictures" / "2024.jpg").read_bytes(),
    "seven.txt": BASE64.encode(),
    "seven.png.gz": gzip.compress(SEVEN),
    "seven.png.zlib": zlib.compress(SEVEN),
    "images.json": json.dumps({"images": [DATA_URL]}).encode(),
    "images.json.gz": gzip.compress(json.dumps({"images": [DATA_URL]}).encode()),
    "images.idx3.gz": gzip.compress(struct.pack(">4I", 0x803, 3, 28, 28) + bytes(784 * 3)),
    "digit.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(1000),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(workers=1) as server:
        yield server


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with FILES."""
    path = tmp_path_factory.mktemp("files")
    for name, content in FILES.items():
        (path / name).write_bytes(content)
    return path


def curl(server: Server, directory: Path, *arguments: str, query: str = "?fields=digit") -> dict[str, Any]:
    """The JSON response that curl prints."""
    command = ["curl", "-sS", *arguments, f"{server.address}/predict{query}"]
    done = subprocess.run(command, cwd=directory, capture_output=True, check=True, timeout=60)
    assert done.stdout.endswith(b"\n")
    return dict(json.loads(done.stdout))


READ = {
    "a form": ["-F", "file=@seven.png"],
    "a form with base64": ["-F", f"image={BASE64}"],
    "a form with a data URL": ["--form-string", f"image={DATA_URL}"],
    "a form with the bytes in a field": ["-F", "image=<seven.png"],
    "curl's default type": ["--data-binary", "@seven.png"],
    "no type": ["-H", "Content-Type:", "--data-binary", "@seven.png"],
    "an upload": ["-X", "POST", "-T", "seven.png"],
    "octets": ["-H", "Content-Type: application/octet-stream", "--data-binary", "@seven.png"],
    "the type of JSON": ["-H", "Content-Type: application/json", "--data-binary", "@seven.png"],
    "a URL-encoded file": ["--data-urlencode", "image@seven.png"],
    "URL-encoded base64": ["--data-urlencode", f"image={BASE64}"],
    "base64 that is not URL-encoded": ["-d", f"image={BASE64}"],
    "base64 alone": ["-d", "@seven.txt"],
    "JSON without its type": ["-d", "@images.json"],
    "JSON": ["-H", "Content-Type: application/json", "-d", "@images.json"],
    "JSON of TensorFlow Serving": ["-d", json.dumps({"instances": [{"b64": BASE64}]})],
    "one image": ["-d", json.dumps({"image": DATA_URL})],
    "gzip": ["-H", "Content-Encoding: gzip", "--data-binary", "@images.json.gz"],
    "deflate": ["-H", "Content-Encoding: deflate", "-H", "Content-Type: image/png", "--data-binary", "@seven.png.zlib"],
    "gzip of a form's type": ["-H", "Content-Encoding: gzip", "--data-binary", "@seven.png.gz"],
}


@pytest.mark.parametrize("name", READ)
def test_the_body_is_read(server: Server, directory: Path, name: str) -> None:
    assert curl(server, directory, *READ[name])["predictions"] == [{"digit": 7}]


def test_a_file_of_mnist_is_read_as_it_is_distributed(server: Server, directory: Path) -> None:
    """Compressed, and with curl's default type."""
    response = curl(server, directory, "-H", "Content-Encoding: gzip", "--data-binary", "@images.idx3.gz")
    assert len(response["predictions"]) == 3


REFUSED = {
    "-d @FILE": (["-d", "@seven.png"], "send it by --data-binary @FILE or -F file=@FILE"),
    "-F without @": (["-F", "file=seven.png"], "with curl, send the file by -F file=@seven.png"),
    "-d without @": (["-d", "seven.png"], "the body is the text 'seven.png', not the file"),
    "URL-encoded name": (["-d", "image=@seven.png"], "with curl, send the file by -F image=@seven.png"),
    "no body": (["-X", "POST"], "the body has 0 bytes; send a picture, with curl for example by -F file=@digit.png"),
    "gzip without its header": (["--data-binary", "@seven.png.gz"], "send it with the header Content-Encoding: gzip"),
    "another coding": (["-H", "Content-Encoding: br", "--data-binary", "@seven.png"], "supported: gzip, deflate"),
    "no gzip": (["-H", "Content-Encoding: gzip", "--data-binary", "@seven.png"], "the body is not gzip data"),
    "HEIC": (["-F", "file=@digit.heic"], "the file is HEIC, which is not read as a picture; send a JPEG or a PNG"),
    "HEIC alone": (["--data-binary", "@digit.heic"], "choose Settings > Camera > Formats > Most Compatible"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_says_what_to_send_instead(server: Server, directory: Path, name: str) -> None:
    arguments, sentence = REFUSED[name]
    response = curl(server, directory, *arguments)
    assert list(response) == ["error"]
    assert sentence in response["error"]


ALLOWED = "allowed: fields, normalise, split, show"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?feilds=digit", f"the query has the name 'feilds'; did you mean fields? {ALLOWED}"),
        ("?fields=digit&fields=digit", "the query has fields twice; send it once"),
        ("?normalise=auto&normalize=never", "the query has normalise=auto and normalize=never; send one of them"),
    ],
)
def test_a_wrong_query_is_refused(server: Server, directory: Path, query: str, sentence: str) -> None:
    assert curl(server, directory, "-F", "file=@seven.png", query=query) == {"error": sentence}


def test_normalize_is_normalise(server: Server, directory: Path) -> None:
    response = curl(server, directory, "-F", "file=@seven.png", query="?fields=digit&normalize=always")
    assert response["predictions"] == [{"digit": 7}]


def test_a_picture_of_several_digits_is_uncertain_and_says_so(server: Server, directory: Path) -> None:
    response = curl(server, directory, "-F", "a=@2024.jpg", "-F", "b=@seven.png", query="?fields=uncertain")
    assert response["predictions"] == [{"uncertain": True, "digits": 4}, {"uncertain": False}]
    split = curl(server, directory, "-F", "a=@2024.jpg", query="?split=digits&fields=uncertain")
    assert split["numbers"] == ["2024"]
    assert not any("digits" in prediction for prediction in split["predictions"])

"""Invalid requests to the real service: each gets its error and one message, no traceback is logged, no worker ends.

tests/service/prediction/test_predictor.py sends the same bodies to the Flask application.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.payloads import encode, png_saying, stroke
from tests.service.prediction.invalid_bodies import INVALID_BODIES
from tests.system.server import Server, serving

PICTURE = encode(stroke())
OCTETS = "application/octet-stream"
MAX_BODY_BYTES = 16 << 20


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    with serving(model_dir=one_version, workers=1) as running:
        yield running
        assert "Traceback" not in running.log
        assert running.log.count("Booting worker") == 1


@pytest.mark.parametrize("name", INVALID_BODIES)
def test_invalid_body_gets_its_error_and_the_service_goes_on(server: Server, name: str) -> None:
    invalid = INVALID_BODIES[name]
    headers = {b"Content-Type": invalid.content_type.encode("latin-1")} if invalid.content_type else {}
    response = server.client.post("/predict", content=invalid.body, headers=headers)
    assert (response.status_code, list(response.json())) == (invalid.status, ["error"])
    assert invalid.matches(response.json()["error"]), response.text
    assert server.predict(PICTURE).status_code == 200


def test_png_with_64_mb_of_pixels_for_28x28_is_read_as_28x28(server: Server) -> None:
    """The picture is blank; what follows its 784 pixels is not decompressed."""
    response = server.predict(png_saying(28, 28, data_size=64 << 20))
    assert response.status_code == 422
    assert response.json()["error"].startswith("no digit to read")


def test_body_over_the_limit_is_rejected_by_its_declared_length(server: Server) -> None:
    response = server.predict(bytes(MAX_BODY_BYTES + 1), OCTETS)
    assert response.status_code == 413
    assert response.json() == {"error": f"the body has {MAX_BODY_BYTES + 1} bytes; {MAX_BODY_BYTES} are allowed"}


def test_chunked_body_over_the_limit_is_rejected_while_it_is_received(server: Server) -> None:
    def mebibytes() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1 << 20)

    response = server.client.post("/predict", content=mebibytes(), headers={"Content-Type": OCTETS})
    assert response.status_code == 413
    assert response.json() == {"error": f"the body has more than {MAX_BODY_BYTES} bytes; {MAX_BODY_BYTES} are allowed"}

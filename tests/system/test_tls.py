"""gunicorn's --certfile and --keyfile: the service really speaks TLS, or does not start."""

import re
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.conftest import REPOSITORY
from tests.service.payloads import FORM, encode, form, stroke
from tests.system.http.raw_http import PREDICT, PREDICT_PHOTOGRAPH
from tests.system.server import GUNICORN, serving

ADDRESS = re.compile(r"Digits is ready on (https://\S+)")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key, made on the spot."""
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "certificate.pem", directory / "key.pem"
    names = ["-subj", "/CN=digits", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def test_predicts_over_tls_and_refuses_plain_http(one_version: Path, certificate: tuple[Path, Path]) -> None:
    command = [*GUNICORN, "--certfile", str(certificate[0]), "--keyfile", str(certificate[1])]
    with serving(command, model_dir=one_version, workers=1) as server:
        assert server.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=server.address, verify=context) as client:
            picture = encode(stroke())
            raw = client.post("/predict", content=picture, headers={"Content-Type": "image/png"})
            parts = client.post("/predict", content=form(picture), headers={"Content-Type": FORM})
            assert (raw.status_code, parts.json()) == (200, raw.json())
            assert client.get("/readyz").json() == {"status": "ready", "version": "1"}
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.address.replace("https", "http") + "/healthz", timeout=20)
        with httpx.Client(base_url=server.address, verify=context) as client:
            assert client.get("/healthz").status_code == 200, "a failed handshake leaves the worker as it was"


def test_a_client_that_closes_one_direction_of_a_tls_connection_leaves_no_trace(
    one_version: Path, certificate: tuple[Path, Path]
) -> None:
    """TLS has no half-closed connections: the connection ends, and its request with it."""
    command = [*GUNICORN, "--certfile", str(certificate[0]), "--keyfile", str(certificate[1])]
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with serving(command, model_dir=one_version, workers=1) as server:
        for request in (PREDICT_PHOTOGRAPH, PREDICT_PHOTOGRAPH * 2, PREDICT[:-1], b"hello\r\n\r\n"):
            with (
                socket.create_connection(server.host_and_port, timeout=60) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as encrypted,
            ):
                encrypted.sendall(request)
                encrypted.shutdown(socket.SHUT_WR)
                with suppress(ssl.SSLError, ConnectionResetError):
                    while encrypted.recv(65536):
                        pass
        with httpx.Client(base_url=server.address, verify=context) as client:
            assert client.get("/healthz").status_code == 200
    assert "Traceback" not in server.log
    assert "eof_received" not in server.log


def test_a_certificate_that_cannot_be_read_stops_the_start_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    command = [*GUNICORN, "--bind", "127.0.0.1:0", "--certfile", str(missing), "--keyfile", str(missing)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("digits: "))
    assert str(missing) in line

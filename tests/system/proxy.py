"""The proxy of deploy/proxy under a real nginx, in front of a replica in this process, for the time of a test."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY
from tests.system.http.raw_http import RawConnection, open_connection
from tests.system.stack import free_ports

LUA = Path("/etc/nginx/modules-enabled/50-mod-http-lua.conf")
PATH = f"{os.environ['PATH']}:/usr/sbin"
PATIENCE = 60  # seconds


def skip_without_nginx() -> None:
    """Skip the test, with the reason, if nginx or its Lua module is missing."""
    if not shutil.which("nginx", path=PATH) or not LUA.exists():
        pytest.skip("nginx is missing: apt-get install nginx libnginx-mod-http-lua")


class Replica(ThreadingHTTPServer):
    """Responds 200 with the number of bytes that it received, to /hold not before `released` is set.

    The first request to /fail gets no response. To nginx, it is two replicas.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.released = threading.Event()
        self.received: list[tuple[str, int, dict[str, str]]] = []
        """Path, length of the body and headers of each request."""
        self.holding = threading.Semaphore(0)
        """Released once for each request to /hold that has arrived."""


class _Handler(BaseHTTPRequestHandler):
    server: Replica
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.path, len(body), dict(self.headers)))
        if self.path == "/hold":
            self.server.holding.release()
            self.server.released.wait(PATIENCE)
        if self.path == "/fail" and [path for path, _, _ in self.server.received].count("/fail") == 1:
            self.close_connection = True
            return
        content = b'{"bytes":%d}' % len(body)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Proxy(NamedTuple):
    """A running nginx, and the replica behind it."""

    address: tuple[str, int]
    replica: Replica
    directory: Path

    @contextmanager
    def connect(self) -> Iterator[RawConnection]:
        """Open a connection, and close it at the end."""
        with open_connection(self.address) as connection:
            yield connection


@contextmanager
def running_proxy(
    directory: Path,
    *,
    max_file_blocks: object = "unlimited",
    service: tuple[str, int] | None = None,
    **environment: object,
) -> Iterator[Proxy]:
    """Start nginx by its entrypoint, and stop it at the end.

    Args:
        directory: an empty directory in place of /opt/proxy and /tmp.
        max_file_blocks: the size in blocks of 512 bytes at which a write to a file fails, as on a full file system.
        service: the address of a service in place of the replica in this process.
        environment: variables of the container.
    """
    defaults = {"DIGITS_MAX_BODY_BYTES": 1 << 20, "DIGITS_RECEIVE_TIMEOUT_SECONDS": 30}
    defaults |= {"PROXY_CONNECTIONS_PER_CLIENT": 100, "PROXY_UPLOADS_PER_CLIENT": 16}
    variables = {name: str(value) for name, value in (defaults | environment).items()}
    replica = Replica()
    thread = threading.Thread(target=replica.serve_forever, args=(0.05,))
    thread.start()
    try:
        (port,) = free_ports(1)
        host, replica_port = service or ("127.0.0.1", replica.server_address[1])
        entrypoint = _write_files(directory, port, f"{host}:{replica_port}")
        process = subprocess.Popen(
            ["sh", "-c", f"ulimit -f {max_file_blocks}; exec sh {entrypoint}"],
            env={"PATH": PATH} | variables,
            restore_signals=False,  # Python ignores SIGXFSZ: a write over the limit fails
        )
        try:
            _wait_until_listening(process, port)
            yield Proxy(("127.0.0.1", port), replica, directory)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
    finally:
        replica.released.set()
        replica.shutdown()
        replica.server_close()
        thread.join()


def _write_files(directory: Path, port: int, address: str) -> Path:
    """Write nginx.conf and the entrypoint with the paths and addresses of the test; returns the entrypoint."""
    source = REPOSITORY / "deploy" / "proxy"
    replica = f"server {address};"
    configuration = _replace(
        (source / "nginx.conf").read_text(),
        {
            " /tmp/": f" {directory}/",
            "listen 8000 backlog=4096;": f"listen 127.0.0.1:{port};",
            "http://$replicas:8000;": "http://replicas;",
            "\n    server {\n": f"\n    upstream replicas {{ {2 * replica} }}\n    server {{\n",
        },
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # else the workers of nginx may not enter the test's directory
    (directory / "template.conf").write_text(user + configuration)
    template = str(directory / "template.conf")
    script = (source / "entrypoint.sh").read_text()
    entrypoint = directory / "entrypoint.sh"
    entrypoint.write_text(
        _replace(
            script, {" >/tmp/": f" >{directory}/", "-c /tmp/": f"-c {directory}/", "/opt/proxy/nginx.conf": template}
        )
    )
    return entrypoint


def _replace(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    return text


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "nginx has ended"
        try:
            with open_connection(("127.0.0.1", port)):
                return
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.02)  # nginx logs nothing when it is ready: there is no event to wait for

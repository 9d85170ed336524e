"""What a server must keep, over real sockets: RFC 9112's forms of a request, and clients that do not keep it."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPResponse, parse_headers
from io import BufferedIOBase
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest

from service.server.load_shedding import MAX_REJECTIONS_PER_SECOND
from tests.service.payloads import encode, stroke
from tests.system.server import Server, serving
from tests.system.test_lifecycle import full, place, until, worker_of

ONE = encode(stroke())
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(ONE) + ONE
PHOTOGRAPH = encode(np.full((1500, 1500), 255, np.uint8) - np.pad(stroke(), 736))
LONG = HEAD + b"Content-Length: %d\r\n\r\n" % len(PHOTOGRAPH) + PHOTOGRAPH
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(ONE), ONE)


@pytest.fixture(scope="module")
def server(one_version: Path) -> Iterator[Server]:
    """One worker with small limits, for all tests that leave it as they found it."""
    with serving(model_dir=one_version, workers=1, max_body_bytes=50_000, receive_timeout_seconds=2) as running:
        yield running
    assert "Traceback" not in running.log


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with closing(socket.create_connection(place(server), timeout=20)) as opened:
        yield opened


def answer(connection: socket.socket, method: str = "POST") -> tuple[int, bytes, str]:
    """The next answer on a connection: status, body, and what its header Connection says."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    return response.status, response.read(), response.headers.get("Connection", "")


def next_answer(reader: BufferedIOBase) -> tuple[str, dict[str, str], bytes]:
    """The next of several answers on a connection: status with its phrase, headers but for the date, and body."""
    version, _, status = reader.readline().decode().partition(" ")
    assert version == "HTTP/1.1"
    headers = {name: value for name, value in parse_headers(reader).items() if name != "Date"}
    return status.removesuffix("\r\n"), headers, reader.read(int(headers["Content-Length"]))


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_kept(connection: socket.socket) -> None:
    for _ in range(3):
        connection.sendall(WHOLE)
        status, body, kept = answer(connection)
        assert (status, kept) == (200, "")
        assert body.startswith(b'{"model":"digits"')


def test_pipelined_requests_are_answered_in_order(connection: socket.socket) -> None:
    connection.sendall(
        WHOLE + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + WHOLE.replace(b"/predict", b"/predict?fields=digit")
    )
    with connection.makefile("rb") as reader:
        answers = [next_answer(reader) for _ in range(3)]
    assert [status for status, _, _ in answers] == ["200 OK"] * 3
    assert answers[1][2] == b'{"status":"alive"}'
    assert len(answers[0][2]) > len(answers[2][2])


def test_answers_are_in_order_whatever_takes_long(server: Server, connection: socket.socket) -> None:
    """Each request is on its way before the one before it is answered; both ways of a prediction, and another route."""
    other = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = [LONG, WHOLE, other, LONG, WHOLE.replace(b"Host", b"X-Unusual: 1\r\nHost"), WHOLE, LONG, other, LONG]
    alone = []
    with (
        closing(socket.create_connection(place(server), timeout=20)) as another,
        another.makefile("rb") as reader,
    ):
        for request in requests:
            another.sendall(request)
            alone.append(next_answer(reader))
    for request in requests:
        connection.sendall(request)
        assert server.client.get("/healthz").status_code == 200  # so it is read before the next
    with connection.makefile("rb") as reader:
        assert [next_answer(reader) for _ in requests] == alone


def test_at_a_stop_everyone_is_answered(one_version: Path) -> None:
    """More photographs than one thread reads in the second that connections without a request are kept."""
    with serving(model_dir=one_version, workers=1, threads=1, max_in_flight=200) as server, ExitStack() as kept:
        asked = [kept.enter_context(socket.create_connection(place(server), timeout=60)) for _ in range(40)]
        for connection in asked:
            connection.sendall(LONG)
        assert server.client.get("/healthz").status_code == 200  # so they are read
        server.process.terminate()
        answers = [answer(connection)[::2] for connection in asked]
        assert [status for status, _ in answers] == [200] * 40
        assert answers[-10:] == [(200, "close")] * 10
        assert all(closed(connection) for connection in asked)


def test_who_does_not_read_its_answers_is_waited_for_until_it_is_gone(server: Server) -> None:
    images = np.stack([stroke()] * 60).tobytes()
    request = HEAD.replace(b"image/png", b"application/octet-stream") + b"Content-Length: %d\r\n\r\n" % len(images)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(place(server))
        held = "digits_in_flight_requests 2.0"  # it, and who asks
        while not all(held in server.client.get("/metrics").text for _ in range(20)):
            connection.sendall(request + images)
    until(server, "digits_in_flight_requests 1.0")


def test_what_follows_an_empty_line_in_a_body_is_no_request_of_its_own(
    server: Server, connection: socket.socket
) -> None:
    """A head's last byte comes with a body that looks like the end of one, and has behind that as much as is told."""
    rest = b"\r\n\r\n" + ONE
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r" % len(rest))
    assert server.client.get("/healthz").status_code == 200  # so it is read before the next
    connection.sendall(b"\n" + rest + WHOLE[:4])
    assert answer(connection)[0] == 415
    connection.sendall(WHOLE[4:])
    assert answer(connection)[0] == 200


def test_requests_in_any_pieces_are_the_same_requests(server: Server) -> None:
    """Bodies that look like heads, one behind the other, cut where it may hurt: an answer each, in order."""
    hidden = b"\r\n\r\nPOST /predict HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    answered: list[tuple[bytes, int]] = [
        (WHOLE, 200),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden, 415),
        (b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (HEAD.replace(b"/png", b"/png\r\nX-Unusual: POST /predict") + b"Content-Length: 4\r\n\r\n\r\n\r\n", 415),
        (HEAD + b"Content-Length: 6\r\n\r\n\n\r\n\r\nx", 415),
        (CHUNKED, 200),
        (WHOLE, 200),
    ]
    stream = b"".join(request for request, _ in answered)
    chance = np.random.default_rng(0)
    ends = [end.end() - back for end in re.finditer(rb"\r\n\r\n", stream) for back in range(5)]
    for _ in range(60):
        cuts = sorted({*chance.choice(ends, 6).tolist(), *chance.integers(1, len(stream), 2).tolist()})
        with (
            closing(socket.create_connection(place(server), timeout=20)) as connection,
            connection.makefile("rb") as reader,
        ):
            for start, end in pairwise([0, *cuts, len(stream)]):
                connection.sendall(stream[start:end])
                assert server.client.get("/healthz").status_code == 200  # so it is read before the next
            found = [int(next_answer(reader)[0][:3]) for _ in answered]
            assert found == [status for _, status in answered], cuts


LARGER = encode(np.pad(stroke(), 100))
PREDICTIONS = {
    "a picture": WHOLE,
    "digits alone": WHOLE.replace(b"/predict", b"/predict?fields=digit"),
    "an unknown field": WHOLE.replace(b"/predict", b"/predict?fields=colour"),
    "what is no picture": HEAD + b"Content-Length: 5\r\n\r\nhello",
    "nothing": HEAD + b"Content-Length: 0\r\n\r\n",
    "too much": HEAD + b"Content-Length: 50001\r\n\r\n" + bytes(50_001),
    "JSON": WHOLE.replace(b"image/png", b"application/json"),
    "a large picture": HEAD + b"Content-Length: %d\r\n\r\n" % len(LARGER) + LARGER,
}


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_both_ways_through_the_connection_answer_alike(connection: socket.socket, kind: str) -> None:
    """gunicorn builds a request where a header is unusual, and none where all are usual."""
    heard = []
    with connection.makefile("rb") as reader:
        for header in (b"X-Request-Id: 1", b"X-Unusual: 1", b"X-Request-Id: 2"):
            connection.sendall(PREDICTIONS[kind].replace(b"Host: x", b"Host: x\r\n" + header))
            heard.append(next_answer(reader))
    assert heard == [heard[0]] * 3


def test_a_chunked_body_is_a_body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(ONE), 50):
        chunk = ONE[start : start + 50]
        connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    connection.sendall(b"0\r\n\r\n")
    assert answer(connection)[0] == 200


def test_a_client_may_wait_to_be_told_to_go_on(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(ONE))
    assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(ONE)
    assert answer(connection)[0] == 200


def test_a_client_that_waits_with_too_much_is_not_told_to(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 50001\r\n\r\n")
    status, body, _ = answer(connection)
    assert (status, body) == (413, b'{"error":"the body has 50001 bytes; 50000 are allowed"}')


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/model"])
def test_head_is_get_without_its_body(connection: socket.socket, path: str) -> None:
    heads = []
    for method in ("GET", "HEAD"):
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        response = HTTPResponse(connection, method=method)
        response.begin()
        assert len(response.read()) == (int(response.headers["Content-Length"]) if method == "GET" else 0)
        heads.append((response.status, response.headers["Content-Type"], response.headers["Content-Length"]))
    assert heads[0] == heads[1]


BAD = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "a bad header": (b"GET /healthz HTTP/1.1\r\nHo st: x\r\n\r\n", 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "a length that is none": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "a length and chunks": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a bad chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\nz\r\n", 400),
    "a long line": (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_request_is_refused_in_one_sentence(connection: socket.socket, kind: str) -> None:
    sent, expected = BAD[kind]
    connection.sendall(sent)
    status, body, _ = answer(connection)
    assert status == expected
    assert body.startswith(b'{"error":"')
    assert closed(connection)


def test_a_client_that_sends_too_much_reads_why(connection: socket.socket) -> None:
    """It writes all of it before it reads: its answer must not be lost with the connection."""
    connection.sendall(HEAD + b"Content-Length: 3000000\r\n\r\n")
    connection.sendall(bytes(3_000_000))
    status, body, _ = answer(connection)
    assert (status, body) == (413, b'{"error":"the body has 3000000 bytes; 50000 are allowed"}')


def test_chunks_without_end_are_cut_off(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"c350\r\n%b\r\n" % bytes(50_000) * 3)
    status, body, _ = answer(connection)
    assert (status, body) == (413, b'{"error":"the body has more than 50000 bytes; 50000 are allowed"}')


def test_a_head_that_comes_too_slowly_is_not_waited_for(server: Server, connection: socket.socket) -> None:
    began = time.monotonic()
    connection.sendall(HEAD[:20])
    assert closed(connection)
    assert time.monotonic() - began >= 1.9
    assert server.client.get("/readyz").status_code == 200


def test_a_body_that_comes_too_slowly_is_408(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nx")
    connection.sendall(b"y")
    status, body, _ = answer(connection)
    assert (status, body) == (408, b'{"error":"the body did not arrive within 2 seconds"}')


def test_slow_clients_take_nobodys_place(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1, max_in_flight=1) as server:
        slow = [socket.create_connection(place(server), timeout=20) for _ in range(100)]
        try:
            for connection in slow:
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(ONE) + ONE[:-1])
            for _ in range(10):
                assert (
                    server.client.post("/predict", content=ONE, headers={"Content-Type": "image/png"}).status_code
                    == 200
                )
            slow[50].sendall(ONE[-1:])
            assert answer(slow[50])[0] == 200
        finally:
            for connection in slow:
                connection.close()


def refused(reader: BufferedIOBase) -> tuple[dict[str, str], bytes]:
    """The next of a connection's answers, which is 429: headers and body."""
    status, headers, body = next_answer(reader)
    assert status == "429 Too Many Requests"
    return headers, body


IN_ONE = b'{"error":"1 requests are in flight, which is the limit"}'


def test_a_refusal_is_the_same_whether_the_request_was_built_or_not(one_version: Path) -> None:
    with (
        full(one_version) as (server, long),
        closing(socket.create_connection(place(server), timeout=20)) as connection,
        connection.makefile("rb") as reader,
    ):
        answers = []
        for request in (WHOLE, CHUNKED, WHOLE, WHOLE):
            connection.sendall(request)
            answers.append(refused(reader))
        connection.sendall(WHOLE + WHOLE)
        answers += [refused(reader), refused(reader)]
        connection.sendall(WHOLE.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        closing_headers, body = refused(reader)
        assert closing_headers.pop("Connection") == "close"
        assert closed(connection)
        assert [*answers, (closing_headers, body)] == [answers[0]] * 7
        assert (answers[0][0]["Retry-After"], body) == ("1", IN_ONE)
        assert not long.done()


def test_nothing_that_follows_a_refused_head_in_pieces_is_taken_for_its_body(one_version: Path) -> None:
    """The head's end comes with a body that looks like one, and with the beginning of another request."""
    other = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"x" * 40 + b"\r\n\r\n" + b"y" * 60
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
    follows = other + b"z" * (len(b"\n") + 40 + len(b"\r\n\r\n") - len(other) - 1)
    with (
        full(one_version) as (server, long),
        closing(socket.create_connection(place(server), timeout=20)) as connection,
        connection.makefile("rb") as reader,
    ):
        connection.sendall(WHOLE)
        assert refused(reader)[1] == IN_ONE
        connection.sendall(head[:-1])
        assert server.client.get("/healthz").status_code == 200  # so the pieces are read one by one
        connection.sendall(b"\n" + body + follows)
        assert refused(reader)[1] == IN_ONE
        assert next_answer(reader)[0] == "404 Not Found"
        assert not long.done()
        assert long.result().status_code == 200


def test_a_connection_that_was_refused_is_kept_and_answered_once_there_is_a_place(one_version: Path) -> None:
    with full(one_version) as (server, long), ExitStack() as kept:
        connections = [kept.enter_context(socket.create_connection(place(server), timeout=60)) for _ in range(100)]
        for _ in range(MAX_REJECTIONS_PER_SECOND // 100 + 1):  # so the last have to wait for it
            for connection in connections:
                connection.sendall(WHOLE)
            for connection in connections:
                assert answer(connection)[:2] == (429, IN_ONE)
        assert server.client.get("/healthz").status_code == 200
        assert not long.done()
        assert long.result().status_code == 200
        for connection in connections:
            connection.sendall(WHOLE)
            assert answer(connection)[0] == 200


def test_bulk_holds_nobody_up(one_version: Path) -> None:
    """A single that comes after a large body is answered before it."""
    bulk = np.stack([stroke()] * 10_000).tobytes()
    head = b"POST /predict?fields=digit HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    with (
        serving(model_dir=one_version, workers=1) as server,
        closing(socket.create_connection(place(server))) as connection,
    ):
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(bulk))
        connection.sendall(bulk[:-1])
        server.client.get("/healthz")
        connection.sendall(bulk[-1:])
        assert server.client.post("/predict", content=ONE, headers={"Content-Type": "image/png"}).status_code == 200
        connection.settimeout(0)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(60)
        assert answer(connection)[0] == 200


def test_idle_connections_do_not_delay_a_stop(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=1, shutdown_timeout_seconds=60) as server:
        used = socket.create_connection(place(server), timeout=20)
        unused = socket.create_connection(place(server), timeout=20)
        with closing(used), closing(unused):
            used.sendall(WHOLE)
            assert answer(used)[0] == 200
            assert server.client.get("/healthz").status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert closed(used)
            assert closed(unused)
            assert server.process.wait(20) == 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(place(server), timeout=5)
    assert "Forcing close" not in server.log


def test_a_stop_at_the_very_start_is_not_lost(one_version: Path) -> None:
    """A worker that was just forked has no handlers of its own, and then no running loop, which sees signals."""
    with serving(model_dir=one_version, workers=1, shutdown_timeout_seconds=600) as server:
        for line in [r"Booting worker with pid: (\d+)"] * 20 + [r"\[(\d+)\] .* version 1 is in use"] * 10:
            pid = server.wait_for(line)[1]
            os.kill(int(pid), signal.SIGTERM)
            server.wait_for(rf"Worker exiting \(pid: {pid}\)")


def sockets(pid: int) -> int:
    """How many sockets a process has."""
    found = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it may close one meanwhile
            found += str(file.readlink()).startswith("socket:")
    return found


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that does nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ask(connection: socket.socket) -> socket.socket:
    """Have one picture classified."""
    connection.sendall(WHOLE)
    assert answer(connection)[0] == 200
    return connection


def come(server: Server, guests: ExitStack, count: int = 1) -> list[socket.socket]:
    """So many clients connect, one after the other, and are answered."""
    return [ask(guests.enter_context(socket.create_connection(place(server), timeout=20))) for _ in range(count)]


def test_who_has_fewer_connections_is_left_the_new_ones(one_version: Path) -> None:
    """Before each of those both workers answer: one that the machine keeps from running would rightly lose them."""
    with serving(model_dir=one_version, workers=2) as server, ExitStack() as kept:
        for _ in range(2):
            server.wait_for("version 1 is in use")
        workers = worker_of(server, kill=0), worker_of(server, kill=1)
        witnesses = []
        for worker in workers:
            with frozen(worker):
                witnesses += come(server, kept)
        alone = {worker: sockets(worker) for worker in workers}

        for many, few in permutations(workers):
            with frozen(many), ExitStack() as guests:
                come(server, guests, 6)
            while {worker: sockets(worker) for worker in workers} != alone:
                assert server.process.poll() is None
            with ExitStack() as guests:
                with frozen(few):
                    come(server, guests, 6)
                for _ in range(10):
                    for witness in witnesses:
                        ask(witness)
                    come(server, guests)
                assert sockets(few) - alone[few] >= 6


def test_a_killed_worker_is_replaced_and_nothing_else_ends(one_version: Path) -> None:
    with serving(model_dir=one_version, workers=2) as server:
        for _ in range(2):
            server.wait_for("version 1 is in use")
        os.kill(worker_of(server, kill=0), signal.SIGKILL)
        server.wait_for("version 1 is in use")
        for _ in range(10):
            with closing(socket.create_connection(place(server), timeout=20)) as connection:
                connection.sendall(WHOLE)
                assert answer(connection)[0] == 200

"""The head of a request, held against the rules of RFC 9112 and RFC 6455 one by one."""

import pytest

from service.server.request_head import InvalidHead, Target, check_head, is_valid_host, parse_absolute_form

Headers = list[tuple[bytes, bytes]]
HOST = (b"host", b"x")


def status_of(headers: Headers, *, method: bytes = b"POST", version: tuple[int, int] = (1, 1)) -> int:
    """The status with which a head is rejected; 200 if it is not."""
    try:
        check_head(method, version, headers)
    except InvalidHead as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        ((1, 1), [b"x"], 200),
        ((1, 1), [], 400),
        ((1, 1), [b"x", b"x"], 400),
        ((1, 1), [b"x/y"], 400),
        ((1, 0), [], 200),
        ((1, 0), [b"x", b"y"], 400),
        ((1, 0), [b"x y"], 400),
    ],
)
def test_http_1_1_needs_one_valid_host(version: tuple[int, int], hosts: list[bytes], status: int) -> None:
    assert status_of([(b"host", host) for host in hosts], version=version) == status


@pytest.mark.parametrize(
    "host",
    ["x", "digits.example:8000", "127.0.0.1:80", "[::1]", "[::ffff:1.2.3.4]:80", "a_b", "a%41", "xn--a.de", "x:", "0"],
)
def test_hosts_and_addresses_are_valid(host: str) -> None:
    assert is_valid_host(host.encode())


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "a b",
        "a/b",
        "a@b",
        "a?b",
        "a#b",
        "x:y",
        "x:80:80",
        "::1",
        "[::1",
        "[x]",
        "a%4",
        "é",
        "x\t",
        "a\\b",
        '"x"',
    ],
)
def test_what_is_no_host_is_invalid(host: str) -> None:
    assert not is_valid_host(host.encode())


def test_two_keys_are_refused() -> None:
    """Even if they are the same: a proxy in front may have checked the other one."""
    key = (b"authorization", b"Bearer a")
    assert [status_of([HOST, *[key] * count]) for count in (0, 1, 2)] == [200, 200, 400]


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        ([b"chunked"], 200),
        ([b"Chunked "], 200),
        ([b"gzip, chunked"], 501),
        ([b"gzip", b"chunked"], 501),
        ([b"identity, chunked"], 501),
        ([b"gzip"], 501),
        ([b""], 501),
        ([b"chunked, chunked"], 501),
    ],
)
def test_chunked_is_the_only_transfer_coding(codings: list[bytes], status: int) -> None:
    headers = [HOST, *[(b"transfer-encoding", coding) for coding in codings]]
    assert status_of(headers) == status
    assert status_of([*headers, (b"content-length", b"3")]) == 400, "two lengths"


@pytest.mark.parametrize(
    ("method", "upgrade", "connection", "status"),
    [
        (b"GET", b"websocket", b"Upgrade", 403),
        (b"GET", b"WebSocket", b"keep-alive, UPGRADE", 403),
        (b"GET", b"h2c, websocket/13", b"upgrade", 403),
        (b"GET", b"websocket", b"keep-alive", 200),
        (b"GET", b"h2c", b"Upgrade, HTTP2-Settings", 200),
        (b"POST", b"websocket", b"Upgrade", 200),
    ],
)
def test_a_websocket_handshake_is_refused(method: bytes, upgrade: bytes, connection: bytes, status: int) -> None:
    headers = [HOST, (b"upgrade", upgrade), (b"connection", connection)]
    assert status_of(headers, method=method) == status


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/predict", None),
        (b"/predict?url=http://x/", None),
        (b"*", None),
        (b"x:443", None),
        (b"http://x/predict?a=b", Target(b"x", b"/predict?a=b")),
        (b"HTTPS://[::1]:80/", Target(b"[::1]:80", b"/")),
        (b"http://x", Target(b"x", b"/")),
        (b"http://x?a", Target(b"x", b"/?a")),
        (b"http://x//y", Target(b"x", b"//y")),
    ],
)
def test_absolute_form_is_split(target: bytes, expected: Target | None) -> None:
    assert parse_absolute_form(target) == expected


@pytest.mark.parametrize("target", [b"ftp://x/", b"http:///", b"http://a@b/", b"x://", b"://"])
def test_another_url_is_refused(target: bytes) -> None:
    with pytest.raises(InvalidHead, match=r"the request target is '.*'; expected: a path, or http://"):
        parse_absolute_form(target)

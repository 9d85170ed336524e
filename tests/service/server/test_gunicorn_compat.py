"""Each private name of gunicorn that is used is missed if it changes, and the tested version is the installed one."""

import importlib
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gunicorn.util import get_arity

from service.server import gunicorn_compat
from service.server.gunicorn_compat import ATTRIBUTES, SIGNATURES, HttpConnection, find_incompatibilities


def test_the_installed_gunicorn_is_the_tested_one() -> None:
    assert gunicorn_compat.INCOMPATIBILITIES == []


def test_another_version_is_named() -> None:
    assert find_incompatibilities("28.1.0") == [
        f"gunicorn 28.1.0 is installed, {gunicorn_compat.TESTED_VERSION} is tested"
    ]


def owner(path: str) -> Any:
    module, _, name = path.partition(":")
    return importlib.import_module(module), name


FUNCTIONS = [(path, name) for path, functions in SIGNATURES.items() for name in functions]


@pytest.mark.parametrize(("path", "name"), FUNCTIONS)
def test_a_function_with_other_parameters_is_named(path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, class_name = owner(path)
    target, attribute = (getattr(module, class_name), name) if name else (module, class_name)
    monkeypatch.setattr(target, attribute, lambda other: other)
    (problem,) = find_incompatibilities()
    assert f"{path}.{name} has the parameters ('other',)" in problem


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, name in FUNCTIONS if name])
def test_a_function_that_is_gone_is_named(path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, class_name = owner(path)
    monkeypatch.delattr(getattr(module, class_name), name)
    found = find_incompatibilities()
    assert not found or f"{path}.{name}" in found[0]  # a base class may have it, with the same parameters
    monkeypatch.setattr(module, class_name, type("Empty", (), {}))
    assert any(f"{path}.{name} has the parameters None" in problem for problem in find_incompatibilities())


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_attributes_that_are_not_set_any_more_are_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def initialise(self: object) -> None:
        """Set nothing."""

    module, class_name = owner(path)
    monkeypatch.setattr(getattr(module, class_name), "__init__", initialise)
    assert find_incompatibilities() == [f"{path} has no attribute {name}" for name in ATTRIBUTES[path]]


def test_a_module_that_is_gone_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNATURES, "gunicorn.nowhere:Nothing", {"_method": ("self",)})
    (problem,) = find_incompatibilities()
    assert problem.startswith("gunicorn.nowhere:Nothing._method has the parameters None")


def arbiter(**more: Any) -> Any:
    """An arbiter, as far as the functions of the module need one."""
    defaults = {"pid": os.getpid(), "reexec_pid": 0, "master_pid": 0, "systemd": False}
    return SimpleNamespace(**(defaults | {"log": logging.getLogger("arbiter")} | more))


@pytest.mark.parametrize(
    ("more", "called"),
    [({}, ["callback", True]), ({"reexec_pid": 5}, [True]), ({"master_pid": 5}, [True]), ({"systemd": True}, [True])],
    ids=["alone", "another arbiter was started", "another arbiter started it", "sockets of systemd"],
)
def test_the_callback_of_a_stop_comes_first_and_only_if_nothing_else_uses_the_sockets(
    more: dict[str, Any], called: list[object]
) -> None:
    found: list[object] = []
    server = arbiter(stop=found.append, **more)
    gunicorn_compat.call_before_stop(server, lambda: found.append("callback"))
    server.stop()
    assert found == called
    server.stop(False)  # noqa: FBT003 - as gunicorn calls it
    assert found[-1] is False


def test_a_hook_that_never_raises_logs_the_exception_and_keeps_its_parameters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @gunicorn_compat.never_raises
    def hook(server: object, worker: object) -> None:
        raise OSError(server, worker)

    hook(1, 2)
    (record,) = caplog.records
    assert (record.message, bool(record.exc_info)) == ("gunicorn's hook hook failed", True)
    assert get_arity(hook) == 2, "gunicorn refuses a hook with another number of parameters"


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), RuntimeError("it doesn't exist")])
def test_a_worker_that_cannot_be_forked_is_tried_again_once_the_service_was_ready(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def spawn() -> int:
        if errors:
            raise errors.pop()
        return 7

    errors, ready = [error, error], False
    server = arbiter(spawn_worker=spawn)
    gunicorn_compat.retry_failed_starts(server, lambda: ready)
    with pytest.raises(type(error)):
        server.spawn_worker()
    ready = True
    assert server.spawn_worker() is None
    assert caplog.messages == [f"cannot start a worker: {error}; the next attempt is within a second"]
    assert server.spawn_worker() == 7


def test_a_worker_does_not_go_on_as_a_second_arbiter() -> None:
    def spawn() -> int:
        raise OSError(5, "Input/output error")

    server = arbiter(spawn_worker=spawn, pid=-1)
    gunicorn_compat.retry_failed_starts(server, lambda: True)
    with pytest.raises(OSError, match="Input/output"):
        server.spawn_worker()


def test_a_directory_is_usable_if_a_file_can_be_made_in_it(tmp_path: Path) -> None:
    assert gunicorn_compat.is_usable_directory(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not gunicorn_compat.is_usable_directory(tmp_path / "missing")
    assert not gunicorn_compat.is_usable_directory(Path("/proc"))


PARSED = {
    "a version that is none": (b"GET / FOO/1.1\r\n\r\n", 400, "the request line does not end with a version of HTTP"),
    "HTTP/2": (b"GET / HTTP/2.0\r\n\r\n", 505, "the version of HTTP is not supported; use HTTP/1.1"),
    "small letters": (b"get / HTTP/1.1\r\n\r\n", 400, "the method is invalid; methods are in capital letters"),
    "a space in a name": (b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n", 400, "the name of a header or trailer is invalid"),
    "a coding": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: foo, chunked\r\n\r\n",
        501,
        "the transfer coding is not supported; use chunked",
    ),
    "a long target": (b"GET /" + bytes(9_000).replace(b"\0", b"x") + b" HTTP/1.1\r\n\r\n", 414, None),
    "a long header": (b"GET / HTTP/1.1\r\nX: " + bytes(9_000).replace(b"\0", b"x") + b"\r\n\r\n", 431, None),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, None),
}


@pytest.mark.parametrize("parser", ["gunicorn.asgi.parser:PythonProtocol", "gunicorn_h1c:H1CProtocol"])
@pytest.mark.parametrize("kind", PARSED)
def test_errors_of_both_parsers_get_the_same_status_and_a_sentence(parser: str, kind: str) -> None:
    data, status, message = PARSED[kind]
    module, class_name = owner(parser)
    with pytest.raises(gunicorn_compat.PARSE_ERRORS) as raised:
        getattr(module, class_name)(limit_request_line=4094).feed(data)
    found = gunicorn_compat.describe_parse_error(raised.value, data)
    assert found == (status, message or found[1])
    assert " " in found[1]


def test_a_response_to_what_is_not_http_has_the_headers_of_every_response() -> None:
    written: list[bytes] = []
    HttpConnection.write_error(cast("Any", SimpleNamespace(_safe_write=written.append)), 400, "why")
    head, _, body = b"".join(written).partition(b"\r\n\r\n")
    assert body == b'{"error":"why"}\n'
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 400 Bad Request",
        "Content-Type: application/json",
        "Content-Length: 16",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
    ]

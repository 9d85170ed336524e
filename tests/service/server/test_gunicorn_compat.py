"""Each private name of gunicorn that is used is missed if it changes, and the tested version is the installed one."""

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

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


def test_a_response_to_what_is_not_http_has_the_headers_of_every_response() -> None:
    written: list[bytes] = []
    connection: Any = SimpleNamespace(_get_reason_phrase=lambda _: "Bad Request", _safe_write=written.append)
    HttpConnection._send_error_response(connection, 400, "why", [("Allow", "GET")])
    head, _, body = b"".join(written).partition(b"\r\n\r\n")
    assert body == b'{"error":"why"}'
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 400 Bad Request",
        "Content-Type: application/json",
        "Content-Length: 15",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Allow: GET",
    ]

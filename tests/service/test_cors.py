"""service/cors.py: which origins are allowed what. tests/service/test_app.py tests the headers of the routes."""

import pytest

from service.cors import allow_origin, allow_request, parse_origins

EXPOSE = ("Access-Control-Expose-Headers", "Inference-Header-Content-Length, Retry-After, WWW-Authenticate")
VARY = ("Vary", "Origin")
A, B = "https://a.example", "http://b.example:81"


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        (" , ", set()),
        ("*", {"*"}),
        (f"{A},{B}", {A, B}),
        (f" {A}\t{B} ,", {A, B}),
        (
            "HTTPS://A.example:443 http://b.example:80 http://c:443 https://[::1]:443",
            {A, "http://b.example", "http://c:443", "https://[::1]"},
        ),
    ],
)
def test_parses_origins_as_browsers_send_them(text: str, origins: set[str]) -> None:
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    ("origins", "origin", "headers"),
    [
        ([], A, ()),
        ([], "", ()),
        ([A], A, (("Access-Control-Allow-Origin", A), EXPOSE, VARY)),
        ([A, B], B, (("Access-Control-Allow-Origin", B), EXPOSE, VARY)),
        ([A], B, (VARY,)),
        ([A], "", (VARY,)),
        ([A], "null", (VARY,)),
        ([A], A + ".attacker.example", (VARY,)),
        ([A], A.upper(), (VARY,)),
        (["*"], B, (("Access-Control-Allow-Origin", "*"), EXPOSE)),
        (["*"], "null", (("Access-Control-Allow-Origin", "*"), EXPOSE)),
        (["*"], "", (("Access-Control-Allow-Origin", "*"), EXPOSE)),
    ],
)
def test_allows_listed_origins_alone(origins: list[str], origin: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert allow_origin(frozenset(origins), origin) == headers


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [([A], A, True), (["*"], B, True), ([A], B, False), ([A], "", False), ([], A, False), (["*"], "", False)],
)
def test_a_preflight_of_a_listed_origin_gets_methods_and_headers(
    origins: list[str], origin: str, *, allowed: bool
) -> None:
    expected = (
        ("Access-Control-Allow-Methods", "OPTIONS, POST"),
        (
            "Access-Control-Allow-Headers",
            "Authorization, Content-Type, Content-Encoding, Inference-Header-Content-Length",
        ),
        ("Access-Control-Max-Age", "7200"),
    )
    assert allow_request(frozenset(origins), origin, ["POST", "OPTIONS"]) == (expected if allowed else ())

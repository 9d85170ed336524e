"""Tests the API key: which values of the header Authorization pass, and the password of HTTP Basic as the key."""

import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Authorization

from service.errors import Unauthorised
from service.prediction.auth import ApiKey

WRONG_KEY = "the header Authorization is not `Bearer KEY` with the right key"
TWO_HEADERS = "the request has two Authorization headers; send one, with `Bearer KEY`"
BASIC = b"Basic " + b64encode(b"anyone:secret")
REJECTED = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer secre",
    b"Bearer secret2",
    b"Bearer SECRET",
    b"Bearer\tsecret",
    b"Bearersecret",
    b" Bearer secret",
    b"Bearer secret ",
    b"Bearer Bearer secret",
    b"Basic secret",
    BASIC,
    b"secret",
    "Bearer é".encode(),
    b"Bearer \xff",
]
TWO = [b"Bearer secret,Bearer secret", b"Bearer secret, Bearer other", b"Bearer other,Bearer secret", b",Bearer secret"]
"""Two headers as servers join them."""


@pytest.mark.parametrize("authorization", [b"Bearer secret", b"bearer secret", b"BEARER secret", b"beArer   secret"])
def test_accepts_the_key_after_a_scheme_in_any_case_and_spaces(authorization: bytes) -> None:
    ApiKey("secret").check(authorization)


def test_accepts_a_key_that_is_not_ascii_or_has_spaces() -> None:
    ApiKey("schlüssel").check("Bearer schlüssel".encode())
    ApiKey("a key").check(b"Bearer a key")
    ApiKey("\udcff").check(b"Bearer \xff")  # as os.environ decodes a byte that is not UTF-8


@pytest.mark.parametrize("authorization", REJECTED)
def test_rejects_every_other_value(authorization: bytes) -> None:
    with pytest.raises(Unauthorised) as caught:
        ApiKey("secret").check(authorization)
    assert str(caught.value) == WRONG_KEY


@pytest.mark.parametrize("allow_basic", [False, True])
@pytest.mark.parametrize("authorization", [*TWO, BASIC + b"," + BASIC])
def test_rejects_two_headers_and_says_so(authorization: bytes, *, allow_basic: bool) -> None:
    with pytest.raises(Unauthorised) as caught:
        ApiKey("secret").check(authorization, allow_basic=allow_basic)
    assert str(caught.value) == TWO_HEADERS


@pytest.mark.parametrize("authorization", [*REJECTED, *TWO, b"Bearer secret"])
def test_an_empty_key_accepts_everything(authorization: bytes) -> None:
    ApiKey("").check(authorization)
    ApiKey("").check_key(authorization)


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    key = ApiKey("secret")
    for authorization in (b"Bearer guess", b"basic " + b64encode(b"a:guess")):
        with pytest.raises(Unauthorised):
            key.check(authorization, allow_basic=True)
        assert compared.pop() == (b"guess", b"secret")
        assert compared.pop() == (authorization, b"Bearer secret")
        assert compared == []


def test_checks_a_key_without_a_header() -> None:
    ApiKey("secret").check_key(b"secret")
    for key in (b"", b"secre", b"secret,secret", b"Bearer secret"):
        with pytest.raises(Unauthorised, match=WRONG_KEY):
            ApiKey("secret").check_key(key)


LATIN_1_WITHOUT_COLON = st.text(st.characters(max_codepoint=255, exclude_characters=":"))


@given(LATIN_1_WITHOUT_COLON, st.text(min_size=1))
def test_the_password_of_basic_is_the_key_where_it_is_allowed(user: str, password: str) -> None:
    """Werkzeug's client encodes the header; the password may contain colons, the user may not (RFC 7617)."""
    header = Authorization("basic", {"username": user, "password": password}).to_header().encode()
    ApiKey(password).check(header, allow_basic=True)
    with pytest.raises(Unauthorised):
        ApiKey(password).check(header)
    with pytest.raises(Unauthorised):
        ApiKey(password + "x").check(header, allow_basic=True)


@pytest.mark.parametrize("scheme", [b"Basic", b"basic", b"BASIC", b"Basic "])
def test_the_scheme_basic_is_case_insensitive(scheme: bytes) -> None:
    ApiKey("secret").check(scheme + b" " + b64encode(b"anyone:secret"), allow_basic=True)


@pytest.mark.parametrize(
    "authorization",
    [
        b"Basic",
        b"Basic ",
        b"Basic not*base64",
        b"Basic YTpz*ZWNyZXQ=",
        b"Basic YQ",
        b"Basic \xff",
        b"Basic " + b64encode(b"secret"),  # no colon: no password
        b"Basic " + b64encode(b"secret:"),
        b"Basically " + b64encode(b"a:secret"),
        b"Digest a",
    ],
)
def test_rejects_invalid_credentials_of_basic(authorization: bytes) -> None:
    with pytest.raises(Unauthorised, match=WRONG_KEY):
        ApiKey("secret").check(authorization, allow_basic=True)

"""Tests the API key: which values of the header Authorization pass, and the password of HTTP Basic as the key."""

import hmac
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Authorization

from service.errors import Unauthorised
from service.prediction.auth import ApiKey, basic_to_bearer

REJECTED = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer secre",
    b"Bearer secret2",
    b"Bearer SECRET",
    b"Bearer  secret",
    b" Bearer secret",
    b"Bearer secret ",
    b"bearer secret",
    b"Basic secret",
    b"secret",
    "Bearer é".encode(),
]


def test_accepts_the_key() -> None:
    ApiKey("secret").check(b"Bearer secret")
    ApiKey("schlüssel").check("Bearer schlüssel".encode())


@pytest.mark.parametrize("authorization", REJECTED)
def test_rejects_every_other_value(authorization: bytes) -> None:
    with pytest.raises(Unauthorised) as caught:
        ApiKey("secret").check(authorization)
    assert str(caught.value) == "the header Authorization is not `Bearer KEY` with the right key"


@pytest.mark.parametrize("authorization", [*REJECTED, b"Bearer secret"])
def test_an_empty_key_accepts_everything(authorization: bytes) -> None:
    ApiKey("").check(authorization)


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return True

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ApiKey("secret").check(b"Bearer guess")
    assert compared == [(b"Bearer guess", b"Bearer secret")]


LATIN_1_WITHOUT_COLON = st.text(st.characters(max_codepoint=255, exclude_characters=":"))


@given(LATIN_1_WITHOUT_COLON, st.text())
def test_the_password_of_basic_becomes_the_key(user: str, password: str) -> None:
    """Werkzeug's client encodes the header; the password may contain colons, the user may not (RFC 7617)."""
    header = Authorization("basic", {"username": user, "password": password}).to_header().encode()
    assert basic_to_bearer(header) == b"Bearer " + password.encode()


@pytest.mark.parametrize("scheme", [b"Basic", b"basic", b"BASIC"])
def test_the_scheme_is_case_insensitive(scheme: bytes) -> None:
    assert basic_to_bearer(scheme + b" " + b64encode(b"anyone:secret")) == b"Bearer secret"


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b"Bearer secret",
        b"Basic not*base64",
        b"Basic YTpz*ZWNyZXQ=",
        b"Basic YQ",
        b"Basically " + b64encode(b"a:b"),
        b"Digest a",
    ],
)
def test_other_schemes_and_invalid_base64_are_left_unchanged(authorization: bytes) -> None:
    assert basic_to_bearer(authorization) == authorization


@pytest.mark.parametrize("authorization", [b"Basic", b"Basic ", b"Basic " + b64encode(b"secret")])
def test_credentials_without_a_colon_have_no_password(authorization: bytes) -> None:
    assert basic_to_bearer(authorization) == b"Bearer "

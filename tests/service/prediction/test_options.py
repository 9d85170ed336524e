"""Tests the query string of a predict request: defaults, allowed values, errors, and what allows the fast path."""

from contextlib import suppress
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest
from service.imaging.reader import NormaliseOptions
from service.prediction.options import FIELDS, PredictOptions, parse_fields, parse_query


def test_an_empty_query_gives_the_defaults() -> None:
    options = parse_query(b"")
    assert options == PredictOptions(
        ("digit", "confidence", "uncertain", "probabilities"), NormaliseOptions(), include_image=False
    )
    assert options.normalise == NormaliseOptions(None, split=False)
    assert options.allows_fast_path


@pytest.mark.parametrize(
    ("query", "options", "allows_fast_path"),
    [
        (b"fields=digit", PredictOptions(["digit"]), True),
        (b"fields=confidence,digit", PredictOptions(["digit", "confidence"]), True),
        (b"normalise=auto", PredictOptions(normalise=NormaliseOptions("auto")), False),
        (b"normalise=always", PredictOptions(normalise=NormaliseOptions("always")), False),
        (b"normalise=never", PredictOptions(normalise=NormaliseOptions("never")), False),
        (b"split=digits", PredictOptions(normalise=NormaliseOptions(split=True)), False),
        (
            b"split=digits&normalise=always",
            PredictOptions(normalise=NormaliseOptions("always", split=True)),
            False,
        ),
        (b"show=image", PredictOptions(include_image=True), False),
        (b"show=image&fields=digit", PredictOptions(["digit"], include_image=True), False),
        (b"fields=digit%2Cconfidence", PredictOptions(["digit", "confidence"]), True),
        (b"normalize=always", PredictOptions(normalise=NormaliseOptions("always")), False),
        (b"normalize=auto&fields=digit", PredictOptions(["digit"], NormaliseOptions("auto")), False),
        (b"normalise=never&normalize=never", PredictOptions(normalise=NormaliseOptions("never")), False),
        (b"&fields=digit&", PredictOptions(["digit"]), True),
    ],
)
def test_parses_the_query(query: bytes, options: PredictOptions, *, allows_fast_path: bool) -> None:
    assert parse_query(query) == options
    assert parse_query(query).allows_fast_path == allows_fast_path


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"normalise=sometimes", "normalise is 'sometimes'; allowed: auto, always, never"),
        (b"normalise=", "normalise is ''; allowed: auto, always, never"),
        (b"normalise=" + b"x" * 5000, f"normalise is '{'x' * 50}'; allowed: auto, always, never"),
        (b"split=1", "split is '1'; allowed: digits"),
        (b"split=", "split is ''; allowed: digits"),
        (b"show=", "show is ''; allowed: image"),
        (b"show=digits", "show is 'digits'; allowed: image"),
        (
            b"split=digits&normalise=never",
            "split=digits normalises every digit; it cannot be used with normalise=never",
        ),
        (b"fields=colour", "fields has 'colour'; allowed: digit, confidence, uncertain, probabilities"),
        (b"fields=", "fields has ''; allowed: digit, confidence, uncertain, probabilities"),
        (b"fields=digit,,colour", "fields has ''; allowed: digit, confidence, uncertain, probabilities"),
        (b"fields=" + b"x" * 99, f"fields has '{'x' * 50}'; allowed: digit, confidence, uncertain, probabilities"),
    ],
)
def test_rejects_values_that_are_not_allowed(query: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_query(query)
    assert str(caught.value) == message


def test_a_rejected_query_is_rejected_again() -> None:
    """The cache holds results only."""
    for _ in range(2):
        with pytest.raises(BadRequest):
            parse_query(b"split=no")


@given(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=8))
def test_fields_are_returned_once_in_the_order_of_the_response(wanted: list[str]) -> None:
    assert list(parse_fields(",".join(wanted))) == [name for name in FIELDS if name in set(wanted)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"feilds=digit", "the query has the name 'feilds'; did you mean fields? allowed: "),
        (b"Fields=digit", "the query has the name 'Fields'; did you mean fields? allowed: "),
        (b"normalisation=auto", "the query has the name 'normalisation'; did you mean normalise? allowed: "),
        (b"normalized=auto", "the query has the name 'normalized'; did you mean normalise? allowed: "),
        (b"fields=digit&api_key=7", "the query has the name 'api_key'; allowed: "),
        (b"=7", "the query has the name ''; allowed: "),
        (b"\xc3\xa9=7", "the query has the name 'é'; allowed: "),
        (b"x" * 5000, f"the query has the name '{'x' * 50}'; allowed: "),
    ],
)
def test_rejects_unknown_names_with_the_names_that_there_are(query: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_query(query)
    assert str(caught.value) == message + "fields, normalise, split, show"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"fields=digit&fields=confidence", "the query has fields twice; send it once"),
        (b"show=image&show=image", "the query has show twice; send it once"),
        (b"normalise=auto&normalise=auto", "the query has normalise twice; send it once"),
        (b"normalize=auto&normalize=never", "the query has normalize twice; send it once"),
        (
            b"normalize=auto&normalise=never",
            "the query has normalise=never and normalize=auto; send one of them",
        ),
        (
            b"normalise=never&normalize=auto",
            "the query has normalise=never and normalize=auto; send one of them",
        ),
    ],
)
def test_rejects_a_name_that_is_there_twice(query: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_query(query)
    assert str(caught.value) == message


@given(st.text(max_size=60).filter(lambda text: text not in FIELDS and "," not in text))
def test_rejects_every_unknown_field(name: str) -> None:
    with pytest.raises(BadRequest, match=r"^fields has '?"):
        parse_query(urlencode({"fields": name}).encode())


@given(st.binary(max_size=40) | st.builds(bytes.__add__, st.just(b"fields="), st.binary(max_size=9)))
def test_any_query_gives_options_or_a_bad_request(query: bytes) -> None:
    with suppress(BadRequest):
        assert set(parse_query(query).fields) <= set(FIELDS)


@pytest.mark.parametrize("query", [b"\x80", b"fields=digit\xff"])
def test_rejects_bytes_that_are_not_utf_8(query: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_query(query)
    assert str(caught.value) == "the query string is not UTF-8; percent-encode its bytes"

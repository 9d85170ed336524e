"""nginx.conf: each error of nginx is a JSON response with the right status, worded as the service words it.

tests/system/test_proxy.py sends the requests that cause them.
"""

import json
import re
from dataclasses import fields

import pytest

from service import responses
from service.errors import PayloadTooLarge
from service.prediction import body_parser
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.documents import COMPOSE, DEPLOY

NGINX = (DEPLOY / "proxy" / "nginx.conf").read_text()
ERROR_PAGES = dict(re.findall(r"^ +error_page ([\d ]+) = (/\S+);$", NGINX, re.MULTILINE))
LOCATIONS = dict(re.findall(r"^ +location = (/\S+) \{\n(.*?)^ +\}$", NGINX, re.MULTILINE | re.DOTALL))
RETURN = re.compile(r"^ +return (\d+) '(.*)\\n';$", re.MULTILINE)
STATUS = {"400 494": 400, "500": 503, "502 504": 503}
"""The status of the response, where it is not the one that nginx found."""


def response_of(location: str) -> tuple[int, str]:
    """Status and body that a location returns."""
    ((status, body),) = RETURN.findall(LOCATIONS[location])
    return int(status), body


@pytest.mark.parametrize("statuses", ERROR_PAGES)
def test_error_location_is_internal_and_returns_its_status_as_json(statuses: str) -> None:
    location = ERROR_PAGES[statuses]
    status, body = response_of(location)
    assert status == STATUS.get(statuses, int(statuses.split(maxsplit=1)[0]))
    assert re.search(r"^ +internal;$", LOCATIONS[location], re.MULTILINE)
    assert list(json.loads(body)) == ["error"]


def test_every_location_is_used() -> None:
    assert LOCATIONS.keys() == {*ERROR_PAGES.values(), "/metrics", "/digits"}


def test_overload_has_a_retry_after_header_as_the_service_sends_it() -> None:
    seconds = responses.RETRY_AFTER_SECONDS
    assert f'map $status $retry_after {{ 429 {seconds}; 503 {seconds}; default ""; }}' in NGINX


def test_errors_have_the_default_headers_of_the_service() -> None:
    for name, value in responses.DEFAULT_HEADERS:
        assert NGINX.count(f"add_header {name} {value} always;") == 3, "the errors, the timeout and /metrics"


def test_timeout_is_worded_as_by_the_service() -> None:
    source = (REPOSITORY / "service" / "server" / "request_body.py").read_text()
    assert 'RequestTimeout(f"the body did not arrive within {seconds} seconds")' in source
    assert """return 408 '{"error":"the body did not arrive within @RECEIVE_SECONDS@ seconds"}\\n';""" in NGINX


def test_limit_of_a_body_as_a_whole_is_reached_before_that_between_two_reads() -> None:
    maximum = (
        next(item for item in fields(Settings) if item.name == "receive_timeout_seconds").metadata["allowed"].maximum
    )
    assert "client_body_timeout 2h;" in NGINX
    assert maximum < 2 * 3600


def test_store_holds_the_uploads_of_one_client_and_half_as_much_for_their_responses() -> None:
    (size,) = re.findall(r":size=(\d+)m", COMPOSE["services"]["proxy"]["tmpfs"][0])
    uploads = re.search(r"PROXY_UPLOADS_PER_CLIENT=(\d+)", (DEPLOY / "proxy.Dockerfile").read_text())
    assert uploads
    assert 1.5 * int(uploads[1]) * Settings().max_body_bytes < int(size) * 2**20


@pytest.mark.parametrize("sent", ["1001", "more than 1000"])
def test_too_large_is_worded_as_by_the_service(sent: str) -> None:
    settings = Settings(max_body_bytes=1000)
    status, body = response_of("/_errors/too_large")
    found = json.loads(body.replace("$body_bytes", sent).replace("@MAX_BODY_BYTES@", "1000"))
    with pytest.raises(PayloadTooLarge) as error:
        body_parser.check_body_size(1001, settings, at_least=not sent.isdigit())
    assert (status, found) == (error.value.status, {"error": str(error.value)})


def test_body_without_a_length_is_more_than_the_limit() -> None:
    assert 'map $http_content_length $body_bytes { "" "more than @MAX_BODY_BYTES@";' in NGINX


def test_metrics_are_not_reachable_through_the_proxy() -> None:
    assert response_of("/metrics") == (404, '{"error":"there is no route /metrics"}')


def test_every_placeholder_is_filled_from_a_setting_of_the_container() -> None:
    script = (DEPLOY / "proxy" / "entrypoint.sh").read_text()
    variables = dict(re.findall(r"s/(@\w+@)/\$(\w+)/g", script))
    assert variables.keys() == set(re.findall(r"@\w+@", NGINX))
    assert set(variables.values()) == COMPOSE["services"]["proxy"]["environment"].keys()
    dockerfile = (DEPLOY / "proxy.Dockerfile").read_text()
    defaults = {name: re.findall(rf"\b{name}=(\d+)", dockerfile) for name in variables.values()}
    composed = COMPOSE["services"]["proxy"]["environment"]
    assert defaults == {name: re.findall(r":-(\d+)", composed[name]) for name in defaults}

"""nginx.conf: each error of nginx is a JSON response with the right status, worded as the service words it.

tests/system/test_stack.py sends the requests that cause them.
"""

import json
import re

import pytest

from service import responses
from service.errors import PayloadTooLarge
from service.prediction import body_parser
from service.settings import Settings
from tests.deploy.documents import COMPOSE, DEPLOY

NGINX = (DEPLOY / "proxy" / "nginx.conf").read_text()
ERROR_PAGES = dict(re.findall(r"^ +error_page ([\d ]+) = (/\S+);$", NGINX, re.MULTILINE))
LOCATIONS = dict(re.findall(r"^ +location = (/\S+) \{\n(.*?)^ +\}$", NGINX, re.MULTILINE | re.DOTALL))
RETURN = re.compile(r"^ +return (\d+) '(.*)';$", re.MULTILINE)
STATUS = {"400 494": 400, "502 504": 503}
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
    assert LOCATIONS.keys() == {*ERROR_PAGES.values(), "/metrics"}


def test_unavailable_has_a_retry_after_header_as_the_service_sends_it() -> None:
    assert f"add_header Retry-After {responses.RETRY_AFTER_SECONDS} always;" in LOCATIONS["/_errors/unavailable"]


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
    variables = dict(re.findall(r"s/(@\w+@)/\$(DIGITS_\w+)/g", script))
    assert variables.keys() == set(re.findall(r"@\w+@", NGINX))
    assert set(variables.values()) == COMPOSE["services"]["proxy"]["environment"].keys()

"""Fixtures of the tests that drive a browser; each module starts a service of its own, the fixture `server`."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.system.browser import chromium, open_page
from tests.system.server import Server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with open_page(browser, server.address) as opened:
        yield opened

"""The page /docs in a browser: "try it" sends a picture, with the key, under a prefix, and without JavaScript."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import REPOSITORY
from tests.system.browser import open_page
from tests.system.server import Server, serving

SEVEN = str(REPOSITORY / "tests" / "pictures" / "seven.png")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A service under a prefix, with a key."""
    with serving(workers=1, api_key="secret", prefix="/digits") as running:
        yield running


@pytest.mark.parametrize("path", ["/digits/docs", "/docs"])
def test_try_it_shows_the_response(browser: Browser, server: Server, path: str) -> None:
    with open_page(browser, server.address + path) as page:
        page.set_input_files("#try-file", SEVEN)
        page.fill("#try-key", "secret")
        page.select_option("#try-split", "digits")
        page.select_option("#try-show", "image")
        page.click(".try-it button")
        expect(page.locator("#try-status")).to_contain_text("/predict?split=digits&show=image: 200")
        expect(page.locator("#try-response")).to_contain_text('"numbers":["7"]')


def test_try_it_shows_an_error_as_it_was_received(browser: Browser, server: Server) -> None:
    with open_page(browser, f"{server.address}/digits/docs") as page:
        page.set_input_files("#try-file", SEVEN)
        page.fill("#try-key", "wrong")
        page.click(".try-it button")
        expect(page.locator("#try-status")).to_contain_text(": 401")
        expect(page.locator("#try-response")).to_contain_text('{"error":')
        page.route("**/predict*", lambda route: route.abort())
        page.click(".try-it button")
        expect(page.locator("#try-status")).to_have_text("The service does not respond.")
        expect(page.locator("#try-response")).to_be_hidden()


def test_try_it_opens_the_web_page_with_the_result_without_javascript(browser: Browser, server: Server) -> None:
    with open_page(browser, f"{server.address}/digits/docs", java_script_enabled=False) as page:
        assert not page.locator("#try-split").is_visible()
        page.set_input_files("#try-file", SEVEN)
        page.fill("#try-key", "secret")
        page.click(".try-it button")
        assert page.url == f"{server.address}/digits/"
        expect(page.locator(".results h2")).to_contain_text("7")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
def test_the_page_fits_the_window(browser: Browser, server: Server, width: int, scheme: str) -> None:
    viewport = {"width": width, "height": 900}
    with open_page(browser, f"{server.address}/digits/docs", viewport=viewport, color_scheme=scheme) as page:
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width

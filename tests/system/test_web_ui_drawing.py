"""Drawing on the page in Chromium: what is sent and when, and how soon the answer follows a stroke."""

import os
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect

from tests.conftest import REPOSITORY
from tests.system.browser import (
    ONE_THEN_SEVEN,
    SEVEN,
    ZERO,
    Point,
    draw,
    draw_by_touch,
    drop,
    to_window,
)
from tests.system.server import Server, serving

PICTURES = REPOSITORY / "tests" / "pictures"
DASH = ((0.02, 0.5), (0.98, 0.5))
EDGE = ((0.005, 0.1), (0.005, 0.9))
ONE = ((0.5, 0.2), (0.5, 0.8))
TWO = ((0.4, 0.3), (0.6, 0.3), (0.4, 0.8), (0.65, 0.8))
STROKES = (SEVEN, ONE, TWO, ZERO)

MAX_SECONDS, MIN_SHARE, ATTEMPTS = 0.1, 0.99, 3

RECORD_UPLOADS = """() => {
    window.uploads = [];
    window.encodeBase64 = buffer => btoa(String.fromCharCode(...new Uint8Array(buffer)));
    const send = window.fetch;
    window.fetch = (path, options) => {
        if (options?.body) uploads.push(options.body);
        return send(path, options);
    };
}"""
WATCH = """
addEventListener('DOMContentLoaded', () => {
    const watched = { pending: 0, changed: 0, released: 0 };
    window.watched = watched;
    const send = window.fetch;
    window.fetch = async (...request) => {
        watched.pending += 1;
        watched.changed = performance.now();
        return send(...request).finally(() => { watched.pending -= 1; });
    };
    addEventListener('pointerup', () => { watched.released = performance.now(); }, { capture: true });
    new MutationObserver(() => { watched.changed = watched.shown = performance.now(); })
        .observe(document.getElementById('digits'), { childList: true });
});
"""
"""Records when the pen was lifted, and when the digits on the page last changed."""
ANSWERED = """() => new Promise(resolve => {
    const check = () => {
        const { pending, changed, released, shown } = watched;
        const isQuiet = performance.now() - Math.max(changed, released) > 100;
        const digits = document.getElementById('digits').textContent;
        if (pending || !isQuiet || !digits) setTimeout(check, 5);
        else resolve(Math.max(0, shown - released) / 1000);
    };
    check();
})"""
"""Seconds from the end of the stroke to its answer: the last one before nothing is sent and changed for 100 ms."""


@pytest.fixture(scope="module")
def server(browser: Browser) -> Iterator[Server]:  # noqa: ARG001 - skips before the server starts
    with serving(workers=1) as running:
        yield running
        assert "Traceback" not in running.log


class Traffic:
    """What a page has sent to /predict, the statuses of all responses, and every console message of some weight."""

    def __init__(self, page: Page) -> None:
        self.predictions = 0
        self.statuses: list[int] = []
        self.messages: list[str] = []
        self._page = page
        page.evaluate(RECORD_UPLOADS)
        page.on("request", self._record_request)
        page.on("response", self._record_response)
        page.on("console", self._record_message)

    def last_upload(self) -> bytes:
        """The body of the last request to /predict; Playwright has none of a request whose body is a Blob."""
        return b64decode(self._page.evaluate("uploads.at(-1).arrayBuffer().then(encodeBase64)"))

    def _record_request(self, request: Request) -> None:
        self.predictions += "/predict" in request.url

    def _record_response(self, response: Response) -> None:
        self.statuses.append(response.status)

    def _record_message(self, message: ConsoleMessage) -> None:
        if message.type in {"debug", "log", "info", "warning", "error"}:
            self.messages.append(message.text)


def test_a_press_sends_nothing_until_the_pen_moves(page: Page) -> None:
    traffic = Traffic(page)
    shown = page.locator("#confidence")
    page.mouse.move(*to_window(page, SEVEN)[0])
    page.mouse.down()
    expect(page.locator("#hint")).to_be_hidden()
    expect(page.locator("#undo")).to_be_enabled()
    expect(shown).to_have_text("Reading…")
    assert traffic.predictions == 0
    with page.expect_response("**/predict?*") as response:
        page.mouse.move(*to_window(page, SEVEN)[1], steps=3)
    assert response.value.status == 200
    page.mouse.up()


def test_a_click_draws_a_dot_and_sends_it_once(page: Page) -> None:
    traffic = Traffic(page)
    dot = ((0.5, 0.5),)
    with page.expect_response("**/predict?*") as response:
        draw(page, dot)
    assert response.value.status == 200
    expect(page.locator("#digits")).not_to_be_empty()
    assert traffic.predictions == 1
    pixels = np.asarray(Image.open(BytesIO(traffic.last_upload())).convert("L"))
    assert 100 < np.count_nonzero(pixels < 128) < 400  # a disc of 16 pixels has 201
    drawn = page.evaluate("""() => {
        const pad = document.getElementById('pad');
        const { data } = pad.getContext('2d').getImageData(pad.width / 2, pad.height / 2, 1, 1);
        return data[3];
    }""")
    assert drawn == 255
    page.keyboard.press("Control+z")
    expect(page.locator("#confidence")).to_have_text("Nothing is drawn yet.")


def test_the_upload_is_the_ink_with_a_white_margin(page: Page) -> None:
    """40 pixels on each side, beyond the edge of the drawing area too."""
    traffic = Traffic(page)
    for points in (ONE, EDGE):
        draw(page, points)
        expect(page.locator("#digits")).to_have_text("1")
        upload = traffic.last_upload()
        assert len(upload) < 4000
        with Image.open(BytesIO(upload)) as picture:
            assert picture.format == "PNG"
            ink = np.asarray(picture.convert("L")) < 128
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        margins = (rows[0], ink.shape[0] - rows[-1] - 1, columns[0], ink.shape[1] - columns[-1] - 1)
        assert all(38 <= margin <= 42 for margin in margins), margins
        page.get_by_role("button", name="Clear").click()


def test_the_page_causes_no_error_of_its_own_and_the_console_stays_quiet(page: Page) -> None:
    traffic = Traffic(page)
    digits = page.locator("#digits")
    for stroke in (((0.5, 0.5),), ((0.02, 0.02),), DASH, EDGE, SEVEN, ZERO):
        draw(page, stroke)
        expect(digits).not_to_be_empty()
        page.get_by_role("button", name="Clear").click()
        expect(digits).to_be_empty()
    draw_by_touch(page, SEVEN)
    expect(digits).to_have_text("7")
    page.get_by_role("button", name="Clear").click()
    for stroke in ONE_THEN_SEVEN:
        draw(page, stroke)
    expect(digits).to_have_text("17")
    page.get_by_role("button", name="Undo").click()
    expect(digits).to_have_text("1")
    drop(page, ("2024.jpg", (PICTURES / "2024.jpg").read_bytes()))
    expect(digits).to_have_text("2024")
    draw(page, SEVEN)
    expect(digits).to_have_text("7")
    assert set(traffic.statuses) == {200}
    assert traffic.messages == []


def test_99_of_100_quick_strokes_are_answered_within_100_milliseconds_of_their_end(
    browser: Browser, server: Server
) -> None:
    """The only test with an assertion on time, since the limit is a requirement. It is measured up to three times, and
    skipped where even so too many answers are late while more processes want to run than there are cores."""
    measured = []
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(server.address)
        draw(page, SEVEN)
        expect(page.locator("#digits")).to_have_text("7")
        for _ in range(ATTEMPTS):
            seconds = [time_stroke(page, STROKES[number % len(STROKES)]) for number in range(100)]
            measured.append(sum(each <= MAX_SECONDS for each in seconds) / len(seconds))
            if measured[-1] >= MIN_SHARE:
                return
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    if load > cores:
        pytest.skip(f"the machine is busy: load {load:.1f} on {cores} cores; within 100 ms: {measured}")
    pytest.fail(f"within 100 ms: {measured}; expected: {MIN_SHARE}")


def time_stroke(page: Page, points: tuple[Point, ...]) -> float:
    """Draw a quick stroke on an empty pad; the seconds from its end to the answer."""
    page.evaluate("document.getElementById('clear').click()")
    first, *others = to_window(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=3)
    page.mouse.up()
    return float(page.evaluate(ANSWERED))

"""Chromium under Playwright, and the user actions that tests of the web UI repeat: draw, drop, paste."""

import shutil
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RESPONSE_ERROR = "Failed to load resource"
"""Start of the console message that Chromium writes for every response with an error status."""

SEVEN = ((0.38, 0.2), (0.62, 0.2), (0.46, 0.8))
ONE_THEN_SEVEN = (((0.25, 0.2), (0.25, 0.8)), ((0.55, 0.2), (0.8, 0.2), (0.65, 0.8)))
ZERO = tuple(
    (0.5 + x, 0.5 + y)
    for x, y in ((0, -0.3), (-0.13, -0.15), (-0.13, 0.15), (0, 0.3), (0.13, 0.15), (0.13, -0.15), (0, -0.3))
)

Point = tuple[float, float]

CREATE_TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const [name, type, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; skip the test if it is not installed."""
    if CHROMIUM is None:
        pytest.skip("chromium is not on the PATH; on Debian, `apt-get install chromium` installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """Open a page in a new context; at the end, fail on script errors and violations of the Content-Security-Policy."""
    messages: list[str] = []
    with browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | context) as new_context:
        page = new_context.new_page()
        page.on(
            "console", lambda message: messages.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(address)
        yield page
    assert [message for message in messages if not message.startswith(RESPONSE_ERROR)] == []


def draw(page: Page, points: Sequence[Point], *, lift: bool = True) -> None:
    """Draw a line with the mouse.

    Args:
        page: shows the web UI.
        points: x and y from 0 to 1, as shares of the width and height of the drawing area.
        lift: whether to release the button at the end.
    """
    first, *others = to_window(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=12)
    if lift:
        page.mouse.up()


def draw_by_touch(page: Page, points: Sequence[Point]) -> None:
    """Draw a line by touch, as `draw` does with the mouse."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *at: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in at]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    first, *others = interpolate(page, points)
    touch("touchStart", first)
    for point in others:
        touch("touchMove", point)
    touch("touchEnd")


def draw_by_pen(page: Page, points: Sequence[Point]) -> None:
    """Draw a line with a pen, as `draw` does with the mouse."""
    session = page.context.new_cdp_session(page)

    def event(kind: str, at: tuple[float, float]) -> None:
        pen = {"pointerType": "pen", "button": "left", "buttons": 1, "force": 0.5, "clickCount": 1}
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": at[0], "y": at[1]} | pen)

    first, *others = interpolate(page, points)
    event("mousePressed", first)
    for point in others:
        event("mouseMoved", point)
    event("mouseReleased", others[-1])


def to_window(page: Page, points: Sequence[Point]) -> list[Point]:
    """Points in shares of the drawing area, in pixels of the window."""
    box = page.locator("#pad").bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def interpolate(page: Page, points: Sequence[Point]) -> list[Point]:
    """Points in pixels of the window, with eleven more between each two."""
    corners = to_window(page, points)
    return [corners[0]] + [
        (start[0] + step / 12 * (end[0] - start[0]), start[1] + step / 12 * (end[1] - start[1]))
        for start, end in pairwise(corners)
        for step in range(1, 13)
    ]


def create_transfer(page: Page, files: Sequence[tuple[str, bytes]]) -> Any:
    """Create a DataTransfer with files, as a drop or paste event carries it."""
    types = {"png": "image/png", "jpg": "image/jpeg", "txt": "text/plain"}
    arguments = [(name, types[name.rpartition(".")[2]], b64encode(content).decode()) for name, content in files]
    return page.evaluate_handle(CREATE_TRANSFER, arguments)


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Drop files onto the page."""
    page.dispatch_event("main", "drop", {"dataTransfer": create_transfer(page, files)})


def paste(page: Page, *files: tuple[str, bytes]) -> None:
    """Paste files into the page."""
    clipboard = create_transfer(page, files)
    page.evaluate(
        "data => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))", clipboard
    )

"""Debian's Chromium, driven by Playwright, and what a person does with a page."""

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
STATUS_LINE = "Failed to load resource"
"""What Chromium itself writes to the console for every answer that is not 2xx."""

SEVEN = ((0.38, 0.2), (0.62, 0.2), (0.46, 0.8))
ONE_THEN_SEVEN = (((0.25, 0.2), (0.25, 0.8)), ((0.55, 0.2), (0.8, 0.2), (0.65, 0.8)))
ZERO = tuple(
    (0.5 + x, 0.5 + y)
    for x, y in ((0, -0.3), (-0.13, -0.15), (-0.13, 0.15), (0, 0.3), (0.13, 0.15), (0.13, -0.15), (0, -0.3))
)

Point = tuple[float, float]

DATA_TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const [name, type, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; without one, the tests that need it are skipped."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the PATH; on Debian, `apt-get install chromium` brings it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, **context: Any) -> Iterator[Page]:
    """A page in a context of its own, which must not complain: no script error, no violation of its policy."""
    complaints: list[str] = []
    with browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | context) as own:
        page = own.new_page()
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        yield page
    assert [complaint for complaint in complaints if not complaint.startswith(STATUS_LINE)] == []


def draw(page: Page, points: Sequence[Point], *, lift: bool = True) -> None:
    """Draw a line with the mouse, through points in parts of the drawing area."""
    first, *others = places(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=12)
    if lift:
        page.mouse.up()


def draw_by_finger(page: Page, points: Sequence[Point]) -> None:
    """Draw a line with one finger."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *at: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in at]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    first, *others = way(page, points)
    touch("touchStart", first)
    for place in others:
        touch("touchMove", place)
    touch("touchEnd")


def draw_by_pen(page: Page, points: Sequence[Point]) -> None:
    """Draw a line with a pen."""
    session = page.context.new_cdp_session(page)

    def event(kind: str, at: tuple[float, float]) -> None:
        pen = {"pointerType": "pen", "button": "left", "buttons": 1, "force": 0.5, "clickCount": 1}
        session.send("Input.dispatchMouseEvent", {"type": kind, "x": at[0], "y": at[1]} | pen)

    first, *others = way(page, points)
    event("mousePressed", first)
    for place in others:
        event("mouseMoved", place)
    event("mouseReleased", others[-1])


def places(page: Page, points: Sequence[Point]) -> list[tuple[float, float]]:
    """Points in parts of the drawing area, in pixels of the window."""
    box = page.locator("#pad").bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def way(page: Page, points: Sequence[Point]) -> list[Point]:
    """From place to place in twelve steps each."""
    first, *others = places(page, points)
    return [first] + [
        between(before, place, step / 12) for before, place in pairwise([first, *others]) for step in range(1, 13)
    ]


def between(start: Point, end: Point, part: float) -> Point:
    """A point on the way."""
    return start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])


def transfer(page: Page, files: Sequence[tuple[str, bytes]]) -> Any:
    """A DataTransfer with files, as a drop or a paste has it."""
    kinds = {"png": "image/png", "jpg": "image/jpeg", "txt": "text/plain"}
    given = [(name, kinds[name.rpartition(".")[2]], b64encode(content).decode()) for name, content in files]
    return page.evaluate_handle(DATA_TRANSFER, given)


def drop(page: Page, *files: tuple[str, bytes]) -> None:
    """Drop files onto the page."""
    page.dispatch_event("main", "drop", {"dataTransfer": transfer(page, files)})


def paste(page: Page, *files: tuple[str, bytes]) -> None:
    """Paste files."""
    clipboard = transfer(page, files)
    page.evaluate(
        "data => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))", clipboard
    )

"""Accessibility of the web UI in Chromium: contrast, target sizes, names and focus, light and dark, narrow and wide."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import REPOSITORY
from tests.system.browser import SEVEN, draw, drop, open_page
from tests.system.server import Server, serving

PICTURES = REPOSITORY / "tests" / "pictures"
WIDTHS = (360, 1440)
THEMES = ("light", "dark")

TEXTS = """() => {
    const background = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour;
        }
    };
    const texts = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const visible = element.checkVisibility({ visibilityProperty: true }) && !element.closest('.visually-hidden');
        if (!own || !visible) continue;
        const style = getComputedStyle(element);
        texts.push([element.textContent.trim().slice(0, 40), style.color, background(element)]);
    }
    return texts;
}"""
BORDERS = """() => [...document.querySelectorAll('button:enabled, .file label')]
    .filter(element => element.checkVisibility() && !element.closest('.tiles, .bars, .predicted-digits'))
    .map(element => [
        element.textContent.trim(),
        getComputedStyle(element).borderTopColor,
        getComputedStyle(document.documentElement).backgroundColor,
    ])"""
TARGETS = """() => [...document.querySelectorAll('a, button, .file label, input')]
    .filter(element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .map(element => [element.textContent.trim() || element.id, element.offsetWidth, element.offsetHeight])"""


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: ARG001
    with serving(feedback_dir=tmp_path_factory.mktemp("feedback"), workers=1) as running:
        yield running


@pytest.fixture(params=[(width, theme) for width in WIDTHS for theme in THEMES])
def full_page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    """The page with every part visible: a drawing, its prediction, a notice, a contact sheet with one failure."""
    width, theme = request.param
    size = {"width": width, "height": 800}
    with open_page(browser, server.address, viewport=size, color_scheme=theme) as page:
        seven = (PICTURES / "seven.png").read_bytes()
        drop(page, ("a.png", seven), ("a picture with a long name.png", seven), ("notes.txt", b"seven"))
        expect(page.locator("#contact-sheet-title")).to_have_text("3 of 3 pictures read")
        draw(page, SEVEN)
        expect(page.locator("#digits")).to_have_text("7")
        page.evaluate("document.getElementById('notice').textContent = 'The service does not respond.'")
        page.evaluate("document.getElementById('notice').hidden = false")
        yield page


def linear_channel(value: float) -> float:
    scaled = value / 255
    return scaled / 12.92 if scaled <= 0.04045 else ((scaled + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(1, 2, 3)", from 0 to 1: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    red, green, blue = (
        linear_channel(float(value)) for value in colour.removeprefix("rgb(").removesuffix(")").split(",")
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_wcag_defines_it() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == 21
    assert round(contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)"), 2) == 4.48


def test_contrast_of_text_is_at_least_4_5_and_of_borders_3(full_page: Page) -> None:
    texts = full_page.evaluate(TEXTS)
    assert {"Undo", "Draw a digit", "What the network saw", "Save as CSV"} <= {text for text, *_ in texts}
    low = [(text, contrast(*colours)) for text, *colours in texts if contrast(*colours) < 4.5]
    low += [(text, contrast(*colours)) for text, *colours in full_page.evaluate(BORDERS) if contrast(*colours) < 3]
    assert low == []


def test_targets_are_at_least_24_by_44_pixels_and_nothing_overflows(full_page: Page) -> None:
    targets = full_page.evaluate(TARGETS)
    assert len(targets) >= 20
    assert [target for target in targets if min(target[1:]) < 24 or max(target[1:]) < 44] == []
    assert full_page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert full_page.evaluate(
        "[...document.querySelectorAll('main *')].every(element => element.getBoundingClientRect().right <= innerWidth)"
    )


def test_every_control_image_and_region_has_a_name(full_page: Page) -> None:
    session = full_page.context.new_cdp_session(full_page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    roles = {
        "button",
        "link",
        "textbox",
        "image",
        "img",
        "canvas",
        "list",
        "region",
        "navigation",
        "progressbar",
        "heading",
    }
    assert {"button", "link", "image", "heading", "region"} <= {role for role, _ in named}
    assert [role for role, name in named if role in roles - {"list"} and not name.strip()] == []
    assert len([role for role, _ in named if role == "heading"]) >= 2
    assert full_page.get_attribute("html", "lang") == "en"
    assert full_page.locator("h1").count() == 1


def test_the_keyboard_reaches_every_control_and_focus_is_visible(full_page: Page) -> None:
    reached: list[Any] = []
    full_page.locator("nav a").first.focus()
    full_page.keyboard.press("Shift+Tab")
    while True:
        focused = full_page.evaluate(
            """() => {
                const element = document.activeElement;
                const outlined = element.type === 'file' ? element.nextElementSibling : element;
                return [element.id || element.textContent.trim(), getComputedStyle(outlined).outlineWidth];
            }"""
        )
        if not focused[0] or focused in reached or is_body_focused(full_page):
            break
        reached.append(focused)
        full_page.keyboard.press("Tab")
    names = [name for name, _ in reached]
    assert {"Digits", "undo", "clear", "files", "save", "It is a 0, 0.0 %"} <= set(names)
    assert [name for name, outline in reached if outline != "3px"] == []
    assert len(names) >= 20


def is_body_focused(page: Page) -> bool:
    return bool(page.evaluate("document.activeElement === document.body"))


def test_reduced_motion_disables_transitions(browser: Browser, server: Server) -> None:
    for preference, duration in (("reduce", "0s"), ("no-preference", "0.09s")):
        with open_page(browser, server.address, reduced_motion=preference) as page:
            bar = page.locator(".bar").first
            assert bar.evaluate("element => getComputedStyle(element).transitionDuration") == duration


@pytest.mark.parametrize("path", ["/docs", "/report/", "/openapi.json"])
def test_the_other_pages_load_within_their_policies(browser: Browser, server: Server, path: str) -> None:
    with open_page(browser, server.address + path, viewport={"width": 360, "height": 800}) as page:
        if path != "/openapi.json":
            assert page.locator("h1").count() == 1
        images = page.locator("img")
        assert images.evaluate_all("images => images.every(image => image.complete && image.naturalWidth > 0)")
        assert images.count() == (7 if path == "/report/" else 0)
        if path == "/docs":
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

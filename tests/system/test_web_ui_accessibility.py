"""What can be measured of how the page looks and is used: contrast, sizes, names, focus, in both themes and widths."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import REPOSITORY
from tests.system.browser import SEVEN, chromium, draw, drop, opened
from tests.system.server import Server, serving

PICTURES = REPOSITORY / "tests" / "pictures"
WIDTHS = (360, 1440)
THEMES = ("light", "dark")

VISIBLE = "element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })"
TEXTS = """() => {
    const opaque = element => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (!colour.endsWith(', 0)')) return colour;
        }
    };
    const texts = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility({ visibilityProperty: true }) || element.closest('.said')) continue;
        const style = getComputedStyle(element);
        texts.push([element.textContent.trim().slice(0, 40), style.color, opaque(element), parseFloat(style.fontSize)]);
    }
    return texts;
}"""
BORDERS = """() => [...document.querySelectorAll('button:enabled, .file label')]
    .filter(element => element.checkVisibility() && !element.closest('.tiles, .bars, .number'))
    .map(element => [
        element.textContent.trim(),
        getComputedStyle(element).borderTopColor,
        getComputedStyle(document.documentElement).backgroundColor,
        0,
    ])"""
TARGETS = """() => [...document.querySelectorAll('a, button, .file label, input')]
    .filter(element => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .map(element => [element.textContent.trim() || element.id, element.offsetWidth, element.offsetHeight])"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:  # noqa: ARG001
    with serving(feedback_dir=tmp_path_factory.mktemp("feedback"), workers=1) as running:
        yield running


@pytest.fixture(params=[(width, theme) for width in WIDTHS for theme in THEMES])
def busy_page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    """The page with all of it in sight: a drawing, its answer, a notice, a sheet with one that failed."""
    width, theme = request.param
    size = {"width": width, "height": 800}
    with opened(browser, server.address, viewport=size, color_scheme=theme) as page:
        seven = (PICTURES / "seven.png").read_bytes()
        drop(page, ("a.png", seven), ("a picture with a long name.png", seven), ("notes.txt", b"seven"))
        expect(page.locator("#sheet-title")).to_have_text("3 of 3 pictures read")
        draw(page, SEVEN)
        expect(page.locator("#number")).to_have_text("7")
        page.evaluate("document.getElementById('notice').textContent = 'The service does not answer.'")
        page.evaluate("document.getElementById('notice').hidden = false")
        yield page


def channel(value: float) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    """Of "rgb(1, 2, 3)", as https://www.w3.org/TR/WCAG22/#dfn-relative-luminance says."""
    red, green, blue = (channel(float(part)) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_luminance_is_that_of_wcag() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == 21
    assert round(contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)"), 2) == 4.48


def test_text_and_borders_stand_out(busy_page: Page) -> None:
    texts = busy_page.evaluate(TEXTS)
    assert {"Undo", "Draw a digit", "What the network saw", "Save as CSV"} <= {text for text, *_ in texts}
    weak = [(text, contrast(ink, paper)) for text, ink, paper, _ in texts if contrast(ink, paper) < 4.5]
    weak += [
        (text, contrast(edge, paper))
        for text, edge, paper, _ in busy_page.evaluate(BORDERS)
        if contrast(edge, paper) < 3
    ]
    assert weak == []


def test_targets_can_be_hit_and_nothing_is_cut_off(busy_page: Page) -> None:
    targets = busy_page.evaluate(TARGETS)
    assert len(targets) >= 20
    assert [target for target in targets if min(target[1:]) < 24 or max(target[1:]) < 44] == []
    assert busy_page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert busy_page.evaluate(
        "[...document.querySelectorAll('main *')].every(element => element.getBoundingClientRect().right <= innerWidth)"
    )


def test_everything_has_a_name(busy_page: Page) -> None:
    session = busy_page.context.new_cdp_session(busy_page)
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
    assert busy_page.get_attribute("html", "lang") == "en"
    assert busy_page.locator("h1").count() == 1


def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(busy_page: Page) -> None:
    reached: list[Any] = []
    busy_page.locator("nav a").first.focus()
    busy_page.keyboard.press("Shift+Tab")
    while True:
        at = busy_page.evaluate(
            """() => {
                const element = document.activeElement;
                const shown = element.type === 'file' ? element.nextElementSibling : element;
                return [element.id || element.textContent.trim(), getComputedStyle(shown).outlineWidth];
            }"""
        )
        if not at[0] or at in reached or element_is_body(busy_page):
            break
        reached.append(at)
        busy_page.keyboard.press("Tab")
    names = [name for name, _ in reached]
    assert {"Digits", "undo", "clear", "files", "save", "It is a 0, 0.0 %"} <= set(names)
    assert [name for name, outline in reached if outline != "3px"] == []
    assert len(names) >= 20


def element_is_body(page: Page) -> bool:
    return bool(page.evaluate("document.activeElement === document.body"))


def test_nothing_moves_where_that_is_wished(browser: Browser, server: Server) -> None:
    for wish, duration in (("reduce", "0s"), ("no-preference", "0.09s")):
        with opened(browser, server.address, reduced_motion=wish) as page:
            bar = page.locator(".bar").first
            assert bar.evaluate("element => getComputedStyle(element).transitionDuration") == duration


@pytest.mark.parametrize("path", ["/docs", "/report/", "/openapi.json"])
def test_the_other_pages_keep_their_policies(browser: Browser, server: Server, path: str) -> None:
    with opened(browser, server.address + path, viewport={"width": 360, "height": 800}) as page:
        if path != "/openapi.json":
            assert page.locator("h1").count() == 1
        images = page.locator("img")
        assert images.evaluate_all("images => images.every(image => image.complete && image.naturalWidth > 0)")
        assert images.count() == (7 if path == "/report/" else 0)
        if path == "/docs":
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

"""The page in a real browser, with the committed version behind it."""

import csv
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from service.web.ui import confidence_label, format_percent
from tests.conftest import REPOSITORY
from tests.system.browser import (
    ONE_THEN_SEVEN,
    SEVEN,
    ZERO,
    chromium,
    draw,
    draw_by_finger,
    draw_by_pen,
    drop,
    opened,
    paste,
)
from tests.system.server import Server, serving
from training.data.mnist import Dataset

PICTURES = REPOSITORY / "tests" / "pictures"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PREDICT = "**/predict?*"
AWAY = "The service does not answer; trying again."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def server(browser: Browser, kept: Path) -> Iterator[Server]:  # noqa: ARG001 - without a browser, there is no need of one
    with serving(feedback_dir=kept, workers=1) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def small(browser: Browser) -> Iterator[Server]:  # noqa: ARG001
    """A service that is soon too busy, takes only small pictures, and asks for a key."""
    with serving(max_in_flight=1, max_pixels=150_000, workers=1, api_key="secret") as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, server.address) as one:
        yield one


def reads(page: Page, text: str) -> None:
    expect(page.locator("#number")).to_have_text(text)


def png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], times: int = 1) -> bytes:
    file = BytesIO()
    picture = Image.fromarray(pixels)
    picture.resize((times * picture.width, times * picture.height), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def test_a_seven_by_mouse_is_read_before_the_button_is_up(page: Page) -> None:
    draw(page, SEVEN, lift=False)
    reads(page, "7")
    expect(page.locator("#words")).to_have_text("Certain, over 99.9 %")
    expect(page.locator("#bars li.first .digit")).to_have_text("7")
    assert page.locator("#seen").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]
    assert page.locator("#seen").evaluate("image => image.width") >= 112
    expect(page.locator("#said")).to_have_text("7: certain, over 99.9 %.")
    page.mouse.up()


@pytest.mark.parametrize("by", [draw_by_finger, draw_by_pen])
def test_a_seven_by_finger_and_by_pen_on_a_phone(browser: Browser, server: Server, by: Callable[..., None]) -> None:
    with opened(browser, server.address, **PHONE) as page:
        by(page, SEVEN)
        reads(page, "7")
        assert page.evaluate("[scrollX, scrollY, visualViewport.scale]") == [0, 0, 1]


def test_several_digits_are_read_as_one_number(page: Page) -> None:
    for stroke in ONE_THEN_SEVEN:
        draw(page, stroke)
    reads(page, "17")
    first = page.locator("#number button").first
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#words")).to_contain_text("1: ")
    expect(page.locator("#bars li.first .digit")).to_have_text("1")
    page.keyboard.press("Control+z")
    reads(page, "1")


def test_one_stroke_is_one_digit_at_any_moment(page: Page) -> None:
    """The bar of a seven alone is as wide as many digits."""
    numbers: list[str] = []

    def note(text: str) -> None:
        numbers.append(text)

    page.expose_function("note", note)
    page.evaluate(
        "new MutationObserver(() => note(document.getElementById('number').textContent))"
        ".observe(document.getElementById('number'), { childList: true })"
    )
    draw(page, ((0.3, 0.3), (0.7, 0.3)))
    expect(page.locator("#number")).not_to_be_empty()
    draw(page, ((0.7, 0.3), (0.5, 0.8)))
    reads(page, "7")
    assert max(map(len, numbers)) <= 2


def test_a_blank_area_says_so(page: Page) -> None:
    expect(page.locator("#words")).to_have_text("Nothing is drawn yet.")
    draw(page, SEVEN)
    reads(page, "7")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#words")).to_have_text("Nothing is drawn yet.")
    expect(page.locator("#said")).to_have_text("Nothing is drawn.")
    reads(page, "")
    expect(page.locator("#seen")).to_be_hidden()
    drop(page, ("blank.png", png(np.full((100, 100), 255, np.uint8))))
    expect(page.locator("#words")).to_contain_text("No digit to read")
    draw(page, ZERO)
    reads(page, "0")


def test_pictures_are_dropped_pasted_and_chosen(page: Page) -> None:
    seven, number = (PICTURES / "seven.png").read_bytes(), (PICTURES / "2024.jpg").read_bytes()
    drop(page, ("2024.jpg", number))
    reads(page, "2024")
    paste(page, ("seven.png", seven))
    reads(page, "7")
    page.locator("#files").set_input_files(PICTURES / "2024.jpg")
    reads(page, "2024")
    drop(page, ("notes.txt", b"seven"))
    expect(page.locator("#notice")).to_contain_text("none of PNG")
    paste(page, ("seven.png", seven))
    reads(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_an_image_of_28x28_is_sent_as_it_is(page: Page, mnist: Dataset) -> None:
    with page.expect_response(PREDICT) as response:
        drop(page, ("image.png", png(mnist.test.images[0])))
    assert response.value.url.endswith("/predict?show=image")
    reads(page, str(mnist.test.labels[0]))


def test_it_says_when_it_is_not_sure(page: Page) -> None:
    draw(page, ((0.4, 0.3), (0.6, 0.5), (0.4, 0.5), (0.6, 0.3)))  # no digit at all
    expect(page.locator("#words")).to_contain_text("Not sure")
    expect(page.locator("#words")).to_have_class("words doubtful")


def test_one_tap_on_the_right_digit_is_feedback(page: Page, kept: Path) -> None:
    draw(page, SEVEN)
    expect(page.locator("#said")).to_have_text("7: certain, over 99.9 %.")
    page.get_by_role("button", name="It is a 1").click()
    expect(page.locator("#thanks")).to_have_text("Noted as a 1. Thank you.")
    (file,) = kept.iterdir()
    document = json.loads(file.read_text())
    version = page.locator("main").get_attribute("data-version")
    assert (document["digit"], document["answered"], document["version"]) == (1, 7, version)
    image = page.locator("#seen").get_attribute("src")
    assert image == f"data:image/png;base64,{document['image']}"


def test_a_service_that_is_away_is_waited_for(page: Page) -> None:
    page.route(PREDICT, lambda route: route.abort("connectionrefused"))
    draw(page, SEVEN)
    expect(page.locator("#notice")).to_have_text(AWAY)
    page.unroute(PREDICT)
    reads(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_what_is_on_its_way_for_a_cleared_drawing_is_dropped(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(PREDICT, hold)
    with page.expect_request(PREDICT):
        draw(page, SEVEN)
    with page.expect_event("requestfailed") as failed:
        page.get_by_role("button", name="Clear").click()
    assert failed.value == held[0].request
    page.unroute(PREDICT)
    draw(page, ZERO)
    reads(page, "0")
    expect(page.locator("#notice")).to_be_hidden()


def test_too_busy_too_large_and_no_key_are_sentences_and_over(browser: Browser, small: Server, mnist: Dataset) -> None:
    with opened(browser, small.address) as page:
        draw(page, SEVEN)
        expect(page.locator("#notice")).to_contain_text("The header Authorization is not")
        page.get_by_label("This service asks for a key").fill("secret")
        page.keyboard.press("Enter")
        reads(page, "7")
        expect(page.locator("#about")).to_contain_text("of MNIST's test images right.")
        drop(page, ("large.png", png(np.full((400, 400), 255, np.uint8))))
        expect(page.locator("#notice")).to_contain_text("150000 are allowed")
        drop(page, ("long.png", bytes((16 << 20) + 1)))
        expect(page.locator("#notice")).to_have_text("The picture has 16777217 bytes; 16777216 are allowed.")
        busy: list[str] = []
        page.on(
            "response",
            lambda response: busy.append(response.headers["retry-after"]) if response.status == 429 else None,
        )
        drop(page, *((f"{number}.png", png(mnist.test.images[number], 10)) for number in range(5)))
        expect(page.locator("#sheet-title")).to_have_text("5 of 5 pictures read")
        expect(page.locator("#notice")).to_be_hidden()
        assert set(busy) == {"1"}
        expect(page.locator(".tiles .failed")).to_have_count(0)
        draw(page, SEVEN)
        reads(page, "7")


def test_429_while_drawing_is_waited_out(page: Page) -> None:
    def busy(route: Route) -> None:
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "64 requests are in flight"})

    page.route(PREDICT, busy, times=1)
    draw(page, SEVEN)
    expect(page.locator("#notice")).to_have_text("64 requests are in flight; trying again.")
    reads(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_two_hundred_pictures_make_a_sheet_and_a_csv(page: Page, mnist: Dataset) -> None:
    flying, most = set(), 0

    def begins(request: object) -> None:
        nonlocal most
        flying.add(request)
        most = max(most, len(flying))

    def ends(request: object) -> None:
        flying.discard(request)

    page.on("request", begins)
    page.on("requestfinished", ends)
    images, labels = mnist.test.images[:200], mnist.test.labels[:200].tolist()
    names = ['=1+1, "7".png', *(f"{number}.png" for number in range(1, 200))]
    files = [(name, png(255 - image, 4)) for name, image in zip(names, images, strict=True)]
    drop(page, *files, ("notes.txt", b"seven"), ("blank.png", png(np.zeros((50, 50), np.uint8))))
    expect(page.locator("#sheet-title")).to_have_text("202 of 202 pictures read", timeout=30_000)
    expect(page.locator("#said")).to_contain_text("2 without an answer.")
    assert 1 < most <= 4
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "digits.csv"
    text = download.value.path().read_bytes().decode()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert list(rows[0]) == ["name", "digits", "confidence", "uncertain", "error"]
    assert {row["name"] for row in rows[:2]} == {"notes.txt", "blank.png"}
    assert all(row["error"].endswith(".") and not row["digits"] for row in rows[:2])
    confidence = [float(row["confidence"]) for row in rows[2:]]
    assert confidence == sorted(confidence)
    expected = dict(zip(["'" + names[0], *names[1:]], map(str, labels), strict=True))
    assert expected.keys() == {row["name"] for row in rows[2:]}
    assert sum(expected[row["name"]] == row["digits"] for row in rows[2:]) >= 198
    assert {row["uncertain"] for row in rows[2:]} <= {"true", "false"}
    shown = page.locator(".tiles .name").all_inner_texts()
    assert shown[2:] == [row["name"].lstrip("'") for row in rows[2:]]
    page.locator(".tiles button").nth(5).click()
    reads(page, rows[5]["digits"])


def test_a_sheet_that_is_stopped_says_how_far_it_came(page: Page) -> None:
    page.route(PREDICT, lambda route: route.abort("connectionrefused"))
    drop(page, *((f"{number}.png", (PICTURES / "seven.png").read_bytes()) for number in range(3)))
    expect(page.locator("#notice")).to_have_text(AWAY)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#sheet-title")).to_have_text("0 of 3 pictures read")
    expect(page.get_by_role("button", name="Save as CSV")).to_be_visible()
    expect(page.locator("#notice")).to_be_hidden()


def test_script_and_service_have_the_same_words(page: Page) -> None:
    shares = [0.0, 0.00049, 0.1, 0.4999, 0.94999, 0.95, 0.98999, 0.99, 0.99899, 0.999, 1.0]
    module = page.locator("script[type=module]").get_attribute("src")
    assert module
    said = page.evaluate(
        """async ([module, shares]) => {
            const { words, percent } = await import(module);
            return shares.map(share => [words(share, false), words(share, true), percent(share)]);
        }""",
        [module.replace("main.js", "prediction-view.js"), shares],
    )
    assert said == [
        [confidence_label(share, uncertain=u) for u in (False, True)] + [format_percent(share)] for share in shares
    ]


@pytest.mark.parametrize("width", [360, 1440])
def test_without_scripts_it_is_a_form(browser: Browser, server: Server, width: int) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, server.address, java_script_enabled=False, viewport=size) as page:
        page.get_by_label("Choose pictures").set_input_files([PICTURES / "2024.jpg", PICTURES / "seven.png"])
        page.get_by_role("button", name="Read").click()
        expect(page.locator("article h2")).to_contain_text(["2024", "7"])
        blank: FilePayload = {"name": "b.png", "mimeType": "image/png", "buffer": png(np.zeros((50, 50), np.uint8))}
        page.get_by_label("Choose pictures").set_input_files(blank)
        page.get_by_role("button", name="Read").click()
        expect(page.get_by_role("alert")).to_contain_text("no digit to read")

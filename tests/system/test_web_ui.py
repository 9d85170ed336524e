"""The web UI in Chromium, against a running service with the committed version."""

import csv
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.conftest import REPOSITORY
from tests.service.web.test_ui import CONFIDENCE_CASES
from tests.system.browser import (
    ONE_THEN_SEVEN,
    SEVEN,
    ZERO,
    draw,
    draw_by_pen,
    draw_by_touch,
    drop,
    open_page,
    paste,
)
from tests.system.server import Server, serving
from training.data.mnist import Dataset

PICTURES = REPOSITORY / "tests" / "pictures"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PREDICT = "**/predict?*"
UNREACHABLE = "The service does not respond; trying again."


@pytest.fixture(scope="module")
def feedback_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def server(browser: Browser, feedback_dir: Path) -> Iterator[Server]:  # noqa: ARG001 - skips before the server starts
    with serving(feedback_dir=feedback_dir, workers=1) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def limited_server(browser: Browser) -> Iterator[Server]:  # noqa: ARG001
    """A service with one request in flight, small pictures, and an API key."""
    with serving(max_in_flight=1, max_pixels=150_000, workers=1, api_key="secret") as running:
        yield running


def expect_digits(page: Page, text: str) -> None:
    expect(page.locator("#digits")).to_have_text(text)


def respond_with(page: Page, prediction: dict[str, object]) -> None:
    """Let the next predict request of the page return this prediction."""
    version = page.locator("main").get_attribute("data-version")
    document = {"model": "digits", "version": version, "predictions": [prediction | {"image": ""}]}
    page.route(PREDICT, lambda route: route.fulfill(json=document), times=1)


def png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], scale: int = 1) -> bytes:
    file = BytesIO()
    picture = Image.fromarray(pixels)
    picture.resize((scale * picture.width, scale * picture.height), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def test_a_drawing_is_predicted_before_the_mouse_button_is_released(page: Page) -> None:
    draw(page, SEVEN, lift=False)
    expect_digits(page, "7")
    expect(page.locator("#confidence")).to_have_text("Certain, over 99.9 %")
    expect(page.locator("#bars li.predicted .digit")).to_have_text("7")
    assert page.locator("#network-input").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]
    assert page.locator("#network-input").evaluate("image => image.width") >= 112
    expect(page.locator("#announcement")).to_have_text("7: certain, over 99.9 %.")
    page.mouse.up()


@pytest.mark.parametrize("draw_seven", [draw_by_touch, draw_by_pen])
def test_drawing_by_touch_and_pen_on_a_phone_does_not_scroll(
    browser: Browser, server: Server, draw_seven: Callable[..., None]
) -> None:
    with open_page(browser, server.address, **PHONE) as page:
        draw_seven(page, SEVEN)
        expect_digits(page, "7")
        assert page.evaluate("[scrollX, scrollY, visualViewport.scale]") == [0, 0, 1]


def test_several_digits_are_shown_as_one_number_and_can_be_selected(page: Page) -> None:
    for stroke in ONE_THEN_SEVEN:
        draw(page, stroke)
    expect_digits(page, "17")
    first = page.locator("#digits button").first
    first.click()
    expect(first).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#confidence")).to_contain_text("1: ")
    expect(page.locator("#bars li.predicted .digit")).to_have_text("1")
    page.keyboard.press("Control+z")
    expect_digits(page, "1")


def test_a_drawing_never_has_more_digits_than_strokes(page: Page) -> None:
    """A wide stroke, such as the bar of a seven, would be split into several digits."""
    shown: list[str] = []

    def record(text: str) -> None:
        shown.append(text)

    page.expose_function("record", record)
    page.evaluate(
        "new MutationObserver(() => record(document.getElementById('digits').textContent))"
        ".observe(document.getElementById('digits'), { childList: true })"
    )
    draw(page, ((0.3, 0.3), (0.7, 0.3)))
    expect(page.locator("#digits")).not_to_be_empty()
    draw(page, ((0.7, 0.3), (0.5, 0.8)))
    expect_digits(page, "7")
    assert max(map(len, shown)) <= 2


def test_an_empty_pad_and_a_blank_picture_show_a_message(page: Page) -> None:
    expect(page.locator("#confidence")).to_have_text("Nothing is drawn yet.")
    draw(page, SEVEN)
    expect_digits(page, "7")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#confidence")).to_have_text("Nothing is drawn yet.")
    expect(page.locator("#announcement")).to_have_text("Nothing is drawn.")
    expect_digits(page, "")
    expect(page.locator("#network-input")).to_be_hidden()
    drop(page, ("blank.png", png(np.full((100, 100), 255, np.uint8))))
    expect(page.locator("#confidence")).to_contain_text("No digit")
    draw(page, ZERO)
    expect_digits(page, "0")


def test_pictures_can_be_dropped_pasted_and_chosen(page: Page) -> None:
    seven, number = (PICTURES / "seven.png").read_bytes(), (PICTURES / "2024.jpg").read_bytes()
    drop(page, ("2024.jpg", number))
    expect_digits(page, "2024")
    paste(page, ("seven.png", seven))
    expect_digits(page, "7")
    page.locator("#files").set_input_files(PICTURES / "2024.jpg")
    expect_digits(page, "2024")
    drop(page, ("notes.txt", b"seven"))
    expect(page.locator("#notice")).to_contain_text("none of PNG")
    paste(page, ("seven.png", seven))
    expect_digits(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_a_28x28_image_is_not_split(page: Page, mnist: Dataset) -> None:
    with page.expect_response(PREDICT) as response:
        drop(page, ("image.png", png(mnist.test.images[0])))
    assert response.value.url.endswith("/predict?show=image")
    expect_digits(page, str(mnist.test.labels[0]))


def test_an_uncertain_prediction_is_labelled(page: Page) -> None:
    draw(page, ((0.4, 0.3), (0.6, 0.5), (0.4, 0.5), (0.6, 0.3)))  # no digit at all
    expect(page.locator("#confidence")).to_contain_text("Not sure")
    expect(page.locator("#confidence")).to_have_class("confidence uncertain")


def test_a_tap_on_the_right_digit_sends_feedback(page: Page, feedback_dir: Path) -> None:
    draw(page, SEVEN)
    expect(page.locator("#announcement")).to_have_text("7: certain, over 99.9 %.")
    page.get_by_role("button", name="It is a 1").click()
    expect(page.locator("#feedback-status")).to_have_text("Noted as a 1. Thank you.")
    (file,) = feedback_dir.iterdir()
    document = json.loads(file.read_text())
    version = page.locator("main").get_attribute("data-version")
    assert (document["digit"], document["predicted"], document["version"]) == (1, 7, version)
    image = page.locator("#network-input").get_attribute("src")
    assert image == f"data:image/png;base64,{document['image']}"


def test_requests_are_repeated_while_the_service_is_unreachable(page: Page) -> None:
    page.route(PREDICT, lambda route: route.abort("connectionrefused"))
    draw(page, SEVEN)
    expect(page.locator("#notice")).to_have_text(UNREACHABLE)
    page.unroute(PREDICT)
    expect_digits(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_clearing_the_drawing_aborts_its_request(page: Page) -> None:
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
    expect_digits(page, "0")
    expect(page.locator("#notice")).to_be_hidden()


def test_401_413_and_429_are_shown_and_recovered_from(browser: Browser, limited_server: Server, mnist: Dataset) -> None:
    with open_page(browser, limited_server.address) as page:
        draw(page, SEVEN)
        expect(page.locator("#notice")).to_contain_text("Authorization")
        page.get_by_label("This service asks for a key").fill("secret")
        page.keyboard.press("Enter")
        expect_digits(page, "7")
        expect(page.locator("#model-info")).to_contain_text("of MNIST's test images right.")
        drop(page, ("large.png", png(np.full((400, 400), 255, np.uint8))))
        expect(page.locator("#notice")).to_contain_text("150000 are allowed")
        drop(page, ("long.png", bytes((16 << 20) + 1)))
        expect(page.locator("#notice")).to_have_text("The picture has 16777217 bytes; 16777216 are allowed.")
        retry_after: list[str] = []
        page.on(
            "response",
            lambda response: retry_after.append(response.headers["retry-after"]) if response.status == 429 else None,
        )
        drop(page, *((f"{number}.png", png(mnist.test.images[number], 10)) for number in range(5)))
        expect(page.locator("#contact-sheet-title")).to_have_text("5 of 5 pictures read")
        expect(page.locator("#notice")).to_be_hidden()
        assert set(retry_after) == {"1"}
        expect(page.locator(".tiles .failed")).to_have_count(0)
        draw(page, SEVEN)
        expect_digits(page, "7")


def test_429_while_drawing_is_retried(page: Page) -> None:
    def overloaded(route: Route) -> None:
        route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "64 requests are in flight"})

    page.route(PREDICT, overloaded, times=1)
    draw(page, SEVEN)
    expect(page.locator("#notice")).to_have_text("64 requests are in flight; trying again.")
    expect_digits(page, "7")
    expect(page.locator("#notice")).to_be_hidden()


def test_many_pictures_become_a_contact_sheet_and_a_csv_file(page: Page, mnist: Dataset) -> None:
    in_flight, max_in_flight = set(), 0

    def start(request: object) -> None:
        nonlocal max_in_flight
        in_flight.add(request)
        max_in_flight = max(max_in_flight, len(in_flight))

    def finish(request: object) -> None:
        in_flight.discard(request)

    page.on("request", start)
    page.on("requestfinished", finish)
    images, labels = mnist.test.images[:200], mnist.test.labels[:200].tolist()
    names = ['=1+1, "7".png', *(f"{number}.png" for number in range(1, 200))]
    files = [(name, png(255 - image, 4)) for name, image in zip(names, images, strict=True)]
    drop(page, *files, ("notes.txt", b"seven"), ("blank.png", png(np.zeros((50, 50), np.uint8))))
    expect(page.locator("#contact-sheet-title")).to_have_text("202 of 202 pictures read", timeout=30_000)
    expect(page.locator("#announcement")).to_contain_text("2 without an answer.")
    assert 1 < max_in_flight <= 4
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "digits.csv"
    text = download.value.path().read_bytes().decode()
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert list(rows[0]) == ["name", "line", "digits", "confidence", "uncertain", "error"]
    assert {row["name"] for row in rows[:2]} == {"notes.txt", "blank.png"}
    assert all(row["error"].endswith(".") and not row["digits"] for row in rows[:2])
    confidence = [float(row["confidence"]) for row in rows[2:]]
    assert confidence == sorted(confidence)
    expected = dict(zip(["'" + names[0], *names[1:]], map(str, labels), strict=True))
    assert expected.keys() == {row["name"] for row in rows[2:]}
    assert sum(expected[row["name"]] == row["digits"] for row in rows[2:]) >= 198
    assert {row["uncertain"] for row in rows[2:]} <= {"true", "false"}
    tiles = page.locator(".tiles .name").all_inner_texts()
    assert tiles[2:] == [row["name"].lstrip("'") for row in rows[2:]]
    page.locator(".tiles button").nth(5).click()
    expect_digits(page, rows[5]["digits"])


def test_a_stopped_contact_sheet_shows_its_progress(page: Page) -> None:
    page.route(PREDICT, lambda route: route.abort("connectionrefused"))
    drop(page, *((f"{number}.png", (PICTURES / "seven.png").read_bytes()) for number in range(3)))
    expect(page.locator("#notice")).to_have_text(UNREACHABLE)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#contact-sheet-title")).to_have_text("0 of 3 pictures read")
    expect(page.get_by_role("button", name="Save as CSV")).to_be_visible()
    expect(page.locator("#notice")).to_be_hidden()


def test_labels_and_percentages_are_those_of_the_form(page: Page) -> None:
    """Each case arrives as a prediction of the service; without JavaScript, service/web/ui.py shows the same texts."""
    cases = [(confidence, False, label, percent) for confidence, label, percent in CONFIDENCE_CASES]
    cases += [(confidence, True, "Not sure", percent) for confidence, _, percent in CONFIDENCE_CASES]
    for confidence, uncertain, label, percent in cases:
        prediction = {"digit": 7, "confidence": confidence, "uncertain": uncertain, "probabilities": [0.04] * 10}
        respond_with(page, prediction)
        drop(page, ("seven.png", png(np.zeros((28, 28), np.uint8))))
        expect(page.locator("#confidence")).to_have_text(f"{label}, {percent}")


def test_labels_come_from_the_page(browser: Browser, server: Server) -> None:
    """The script has no labels of its own."""
    html = server.client.get("/").text.replace("Very sure", "Quite sure")
    with open_page(browser, "about:blank") as page:
        page.route(f"{server.address}/", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.goto(server.address)
        respond_with(page, {"digit": 7, "confidence": 0.99, "uncertain": False, "probabilities": [0.04] * 10})
        drop(page, ("seven.png", png(np.zeros((28, 28), np.uint8))))
        expect(page.locator("#confidence")).to_have_text("Quite sure, 99.0 %")


def test_a_second_digit_is_named_from_five_per_cent_on(page: Page) -> None:
    for probability, text in ((0.05, "Sure, it could be a 1, 95.0 %"), (0.0499, "Sure, 95.0 %")):
        probabilities = [0.0, probability, *[0.0] * 5, 0.95, 0.0, 0.0]
        respond_with(page, {"digit": 7, "confidence": 0.95, "uncertain": False, "probabilities": probabilities})
        drop(page, ("seven.png", png(np.zeros((28, 28), np.uint8))))
        expect(page.locator("#confidence")).to_have_text(text)


@pytest.mark.parametrize("width", [360, 1440])
def test_without_javascript_the_form_works(browser: Browser, server: Server, width: int) -> None:
    size = {"width": width, "height": 800}
    with open_page(browser, server.address, java_script_enabled=False, viewport=size) as page:
        page.get_by_label("Choose pictures").set_input_files([PICTURES / "2024.jpg", PICTURES / "seven.png"])
        page.get_by_role("button", name="Read").click()
        expect(page.locator("article h2")).to_contain_text(["2024", "7"])
        blank: FilePayload = {"name": "b.png", "mimeType": "image/png", "buffer": png(np.zeros((50, 50), np.uint8))}
        page.get_by_label("Choose pictures").set_input_files(blank)
        page.get_by_role("button", name="Read").click()
        expect(page.get_by_role("alert")).to_contain_text("no digit")

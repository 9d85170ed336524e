"""Numbers of several lines on the page in Chromium; the responses are written out here."""

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from service.protocols.native import png_base64
from tests.service.payloads import encode, stroke
from tests.system.browser import drop, open_page
from tests.system.server import Server, serving

PICTURE = encode(np.full((300, 400), 255, np.uint8))
IMAGE = png_base64(stroke())
PREDICT = "**/predict?*"
CELL = 40  # pixels

COUNT_ACCENT = """areas => {
    const pad = document.getElementById('pad');
    const scale = pad.width / 400;
    const { data } = pad.getContext('2d').getImageData(0, 0, pad.width, pad.height);
    return areas.map(area => {
        const [left, top, right, bottom] = area.map(edge => Math.round(scale * edge));
        let count = 0;
        for (let y = top; y < bottom; y++) {
            for (let x = left; x < right; x++) {
                const [red, , blue] = data.subarray(4 * (y * pad.width + x));
                count += blue > red + 60;
            }
        }
        return count;
    });
}"""
"""The pixels of the accent colour, which is blue, in areas of the picture: left, top, right, bottom."""


@pytest.fixture(scope="module")
def server(browser: Browser) -> Iterator[Server]:  # noqa: ARG001 - skips before the server starts
    with serving(workers=1) as running:
        yield running


def predict_lines(
    page: Page, *numbers: str, confidence: float = 0.9995, uncertain_lines: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Let the next predict request of the page return these numbers, one a line; returns the predictions."""
    predictions = [
        {
            "digit": int(digit),
            "confidence": confidence,
            "uncertain": line in uncertain_lines,
            "probabilities": [0.04] * 10,
            "picture": 1,
            "line": line,
            "box": [column * CELL + 10, line * CELL, column * CELL + 30, line * CELL + 30],
            "image": IMAGE,
        }
        for line, number in enumerate(numbers, 1)
        for column, digit in enumerate(number)
    ]
    version = page.locator("main").get_attribute("data-version")
    document = {"model": "digits", "version": version, "numbers": numbers, "predictions": predictions}
    page.route(PREDICT, lambda route: route.fulfill(json=document), times=1)
    return predictions


def test_each_line_is_shown_as_one_number(page: Page) -> None:
    predict_lines(page, "2024", "17", "0")
    drop(page, ("page.png", PICTURE))
    expect(page.locator("#digits .line")).to_have_text(["2024", "17", "0"])
    expect(page.get_by_role("group", name="Line 2").get_by_role("button")).to_have_text(["1", "7"])
    tops = [line.bounding_box()["y"] for line in page.locator("#digits .line").all()]  # type: ignore[index]
    assert tops == sorted(set(tops))
    expect(page.locator("#announcement")).to_have_text("3 numbers, 2024, 17, 0: certain, over 99.9 %.")
    expect(page.locator("#pad")).to_have_attribute("aria-label", "Your picture, with 2024, 17, 0 marked on it")
    page.get_by_role("group", name="Line 2").get_by_role("button").last.click()
    expect(page.locator("#confidence")).to_have_text("7: certain, over 99.9 %")


def test_one_line_has_no_number_of_a_line(page: Page) -> None:
    predict_lines(page, "2024")
    drop(page, ("page.png", PICTURE))
    expect(page.locator("#digits .line")).to_have_text(["2024"])
    expect(page.get_by_role("group")).to_have_count(0)
    expect(page.locator("#announcement")).to_have_text("2024: certain, over 99.9 %.")


def test_a_line_that_may_have_lost_a_digit_says_so(page: Page) -> None:
    """Its digits are uncertain, although each is above the threshold of the version."""
    predict_lines(page, "2024", "17", uncertain_lines=[2])
    drop(page, ("page.png", PICTURE))
    expect(page.locator("#confidence")).to_have_text("1: not sure, a digit at the edge may be missing")
    expect(page.get_by_role("button", name="7, not sure", exact=True)).to_have_count(1)
    expect(page.get_by_role("button", name="4", exact=True)).to_have_count(1)
    predict_lines(page, "2024", "17", confidence=0.2, uncertain_lines=[2])
    drop(page, ("page.png", PICTURE))
    expect(page.locator("#confidence")).to_have_text("1: not sure, 20.0 %")


def test_boxes_and_digits_are_drawn_over_the_picture(page: Page) -> None:
    """In the accent colour, around each digit of each line and nowhere else: the picture is white."""
    predictions = predict_lines(page, "20", "17")
    drop(page, ("page.png", PICTURE))
    expect(page.locator("#digits .line")).to_have_count(2)
    boxes = [prediction["box"] for prediction in predictions]
    outlines = [[left - 2, top - 2, right + 2, bottom + 2] for left, top, right, bottom in boxes]
    labels = [[left, top - 8, left + 8, top - 1] for left, top, _, _ in boxes]
    *drawn, beside = page.evaluate(COUNT_ACCENT, [*outlines, *labels, [200, 0, 400, 300]])
    assert min(drawn) > 20
    assert beside == 0


def test_the_contact_sheet_and_its_csv_file_have_the_lines(page: Page) -> None:
    predict_lines(page, "2024", "17", uncertain_lines=[2])
    predict_lines(page, "31", "4", "15")
    drop(page, ("a.png", PICTURE), ("b.png", PICTURE))
    expect(page.locator("#contact-sheet-title")).to_have_text("2 of 2 pictures read")
    first, second = page.locator(".tiles li").all()
    assert first.locator(".digits").inner_text().split() == ["2024", "17"]
    expect(first.locator(".status")).to_have_text("Incomplete?")
    assert second.locator(".digits").inner_text().split() == ["31", "4", "15"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert [(row["line"], row["digits"], row["uncertain"]) for row in rows] == [
        *(("1", "2024", "false"), ("2", "17", "true")),
        *(("1", "31", "false"), ("2", "4", "false"), ("3", "15", "false")),
    ]
    assert len({row["name"] for row in rows[:2]} | {row["name"] for row in rows[2:]}) == 2


@pytest.mark.parametrize("width", [360, 1440])
def test_ten_digits_a_line_fit_without_a_break(browser: Browser, server: Server, width: int) -> None:
    with open_page(browser, server.address, viewport={"width": width, "height": 800}) as page:
        predict_lines(page, "3141592653", "27182", "1618033988", "40")
        drop(page, ("page.png", PICTURE))
        expect(page.locator("#digits .line")).to_have_count(4)
        for line in page.locator("#digits .line").all():
            tops = line.locator("button").evaluate_all("buttons => buttons.map(button => button.offsetTop)")
            assert len(set(tops)) == 1
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

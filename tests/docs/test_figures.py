"""Figures: each stands in one place, docs/results; what other documents repeat of it has the same value."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.markdown import DOCUMENTS, links, name, rows, section, without_fences

RESULTS = REPOSITORY / "docs" / "results"
OWN_MEASUREMENTS = {"docs/decisions.md", "training/recipes/README.md", "CHANGELOG.md"}
"""Documents of measurements that were made once, to decide something; they are not repeated."""
OTHERS = [path for path in DOCUMENTS if path.parent != RESULTS and name(path) not in OWN_MEASUREMENTS]

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
QUANTITY = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?(requests/s|images/s|MB\b|GB\b)|(\d+\.\d\d) ?(%)")
OTHER_WORDS = re.compile(r"\d (?:pictures|images|requests|predictions|answers) (?:a|per) second")


def quantities(text: str) -> set[tuple[str, str]]:
    """The numbers with a unit of the results: throughput, size, and per cent with two decimals."""
    return {(match[1] or match[3], match[2] or match[4]) for match in QUANTITY.finditer(text)}


def headlines(document: Path) -> dict[str, str]:
    """The values of the table at the top of a results document, by what they are."""
    before = document.read_text().partition("\n## ")[0]
    head, *table = rows(before)
    assert head == ["headline", "value"]
    return dict(table)


def results() -> set[tuple[str, str]]:
    """All quantities of the results."""
    return set().union(*(quantities(path.read_text()) for path in RESULTS.glob("*.md")))


def test_quantities_are_numbers_with_a_unit() -> None:
    text = "99.52 % and 0.5 %, 30,709 requests/s with 304 MB, 2.5 GB of packages, 3 GiB"
    assert quantities(text) == {("99.52", "%"), ("30,709", "requests/s"), ("304", "MB"), ("2.5", "GB")}


@pytest.mark.parametrize("document", sorted(RESULTS.glob("*.md")), ids=name)
def test_each_headline_stands_in_a_section_below(document: Path) -> None:
    below = set(NUMBER.findall(document.read_text().partition("\n## ")[2]))
    values = headlines(document)
    assert values
    for figure, value in values.items():
        number = NUMBER.search(value)
        assert number, f"{figure} has no number"
        assert number[0] in below, f"{figure} is {value}, which no table below has"


def test_readme_repeats_headlines() -> None:
    head, *table = rows(section((REPOSITORY / "README.md").read_text(), "Results"))
    assert head == ["figure", "value", "details"]
    assert len(table) == 3
    for figure, value, details in table:
        (target,) = links(details)
        document = (REPOSITORY / target.partition("#")[0]).resolve()
        stated, known = quantities(value), quantities("\n".join(headlines(document).values()))
        assert stated, f"{figure} has no figure"
        assert stated <= known, f"{figure}: {stated - known} is no headline of {name(document)}"
        numbers = set(NUMBER.findall(document.read_text()))
        assert set(NUMBER.findall(value)) <= numbers, f"{figure} has numbers that {name(document)} lacks"


@pytest.mark.parametrize("document", OTHERS, ids=name)
def test_figures_elsewhere_are_those_of_the_results(document: Path) -> None:
    prose = without_fences(document.read_text())
    assert quantities(prose) - results() == set()
    assert OTHER_WORDS.findall(prose) == [], "write requests/s or images/s, so that this test finds it"


def test_no_row_of_figures_stands_in_two_documents() -> None:
    documents = defaultdict(set)
    for path in DOCUMENTS:
        for line in path.read_text().splitlines():
            if len(NUMBER.findall(line)) >= 4 and not line.startswith(("{", "$")):
                documents[" ".join(line.split())].add(name(path))
    assert {line: paths for line, paths in documents.items() if len(paths) > 1} == {}


def test_the_model_headline_is_that_of_the_manifest() -> None:
    newest = max((REPOSITORY / "models" / "digits").glob("[0-9]*"), key=lambda path: int(path.name))
    stated = re.search(r'"test_accuracy": ([\d.]+)', (newest / "manifest.json").read_text())
    assert stated
    assert headlines(RESULTS / "model.md")[
        f"test accuracy of version {newest.name}"
    ] == f"{float(stated[1]):.2%}".replace("%", " %")

"""Documents: every link, anchor, path and make target that they name exists, and README leads to all of them."""

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.markdown import DOCUMENTS, anchors, broken_link, code, links, name, rows, section

README = REPOSITORY / "README.md"
PATH = re.compile(r"(?:service|training|tests|bench|deploy|docs|models|tools)/[\w./-]*")
REFERENCE = re.compile(r"\b(docs/[\w/-]+\.md)(#[\w-]+)?")
SOURCES = (".py", ".js", ".yml", ".yaml", ".toml", ".conf", ".html", ".json", ".sh")
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # the changelog names what is no longer there


def each(documents: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("document", documents, ids=name)


def test_anchors_are_those_of_github() -> None:
    text = "# One, two: `three`\n\n```sh\n# no heading\n```\n\n## Int8 first layer\n### A\n### A\n"
    assert anchors(text) == {"one-two-three", "int8-first-layer", "a", "a-1"}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("LICENSE", None),
        ("docs/style.md#names", None),
        ("#results", None),
        ("https://example.org/nothing", None),
        ("docs/nothing.md", "docs/nothing.md: there is no docs/nothing.md"),
        ("docs/style.md#nothing", "docs/style.md#nothing: style.md has no heading for nothing"),
        ("#nothing", "#nothing: README.md has no heading for nothing"),
        ("../elsewhere.md", "../elsewhere.md is outside of the repository"),
    ],
)
def test_broken_links_are_found(target: str, reason: str | None) -> None:
    assert broken_link(target, README) == reason


@each(DOCUMENTS)
def test_every_link_resolves(document: Path) -> None:
    broken = [reason for target in links(document.read_text()) if (reason := broken_link(target, document))]
    assert broken == []


@each(CURRENT)
def test_every_path_exists(document: Path) -> None:
    paths = [span for span in code(document.read_text()) if PATH.fullmatch(span)]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


@each(CURRENT)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = {match[1] for span in code(document.read_text()) if (match := re.match(r"make ([a-z][a-z-]*)", span))}
    assert named - targets == set()


def test_every_reference_in_the_sources_resolves() -> None:
    broken = []
    for directory in ("service", "training", "bench", "deploy", "tests"):
        for file in sorted((REPOSITORY / directory).rglob("*")):
            if file.suffix in SOURCES and file != Path(__file__):
                found = REFERENCE.findall(file.read_text())
                reasons = (broken_link(path + anchor, README) for path, anchor in found)
                broken += [f"{name(file)}: {reason}" for reason in reasons if reason]
    assert broken == []


def test_readme_links_every_document() -> None:
    linked = {(REPOSITORY / target.partition("#")[0]).resolve() for target in links(README.read_text())}
    documents = {path.resolve() for path in DOCUMENTS if path != README and path.parent.name != ".github"}
    assert documents - linked == set()


def test_readme_has_110_to_140_lines() -> None:
    assert 110 <= len(README.read_text().splitlines()) <= 140


def test_readme_names_file_and_test_of_each_kind_of_change() -> None:
    head, *table = rows(section((REPOSITORY / "CONTRIBUTING.md").read_text(), "To change X, go to Y"))
    assert head == ["to change", "go to", "test"]
    kinds = {"a route", "a body format", "the reading of pictures", "a metric", "an alert", "a recipe key", "a setting"}
    assert kinds <= {row[0] for row in table}
    for kind, place, test in table:
        assert PATH.search(place), f"{kind}: no file is named"
        assert re.fullmatch(r"`tests/[\w/]+/test_\w+\.py`", test), f"{kind}: no test is named"

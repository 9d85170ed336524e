"""Markdown documents of the repository: links, headings, code, tables."""

import re
from collections import Counter
from pathlib import Path

from tests.conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", ".github/*.md", "docs/**/*.md", "models/*.md", "training/**/*.md")
    for path in REPOSITORY.glob(pattern)
)

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(?! )(.+)$", re.MULTILINE)
_CODE_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def name(path: Path) -> str:
    """The path of a document, relative to the repository: a test's id."""
    return str(path.relative_to(REPOSITORY))


def without_fences(text: str) -> str:
    """A document without its fenced code."""
    return _FENCED.sub("", text)


def links(text: str) -> list[str]:
    """The targets of the links and images of a document."""
    return [match[1] or match[2] for match in _LINK.finditer(without_fences(text))]


def code(text: str) -> list[str]:
    """The code spans and the lines of indented code."""
    text = without_fences(text)
    return _CODE_SPAN.findall(text) + _INDENTED.findall(text)


def anchors(text: str) -> set[str]:
    """The anchors of the headings of a document, as GitHub makes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(without_fences(text)):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def section(text: str, heading: str) -> str:
    """The text from a heading of level 2 to the next one."""
    _, _, rest = text.partition(f"\n## {heading}\n")
    assert rest, f"there is no section {heading!r}"
    return rest.partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables of a document, without the lines below their heads."""
    lines = [line.strip() for line in without_fences(text).splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if not re.fullmatch(r"[|:\- ]+", line)
    ]


def broken_link(target: str, document: Path) -> str | None:
    """Why a link of a document leads nowhere; None if it resolves or leaves the repository."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not file.is_relative_to(REPOSITORY):
        return f"{target} is outside of the repository"
    if not file.exists():
        return f"{target}: there is no {path}"
    if anchor and anchor not in anchors(file.read_text()):
        return f"{target}: {file.name} has no heading for {anchor}"
    return None

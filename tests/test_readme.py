"""The README's settings are the service's settings."""

import re
from dataclasses import fields

from service.settings import ELSEWHERE, PREFIX, Settings
from tests.conftest import REPOSITORY


def described(default: object) -> str:
    return {"": "none", "None": "none"}.get(str(default), f"`{default}`")


def test_the_table_of_settings_is_true() -> None:
    text = (REPOSITORY / "README.md").read_text()
    table = re.findall(r"^\| `(DIGITS_\w+)` \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    expected = [
        (
            PREFIX + item.name.upper(),
            "the cores" if item.name == "workers" else described(item.default),
            item.metadata["meaning"],
        )
        for item in fields(Settings)
    ]
    assert [row for row in table if row[0] not in ELSEWHERE] == expected
    assert {row[0] for row in table} >= ELSEWHERE

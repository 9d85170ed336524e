"""Tests the manifest's schema: every key with values of every type, JSON that is none, files that are none."""

import json
import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.inference.manifest import MAX_BYTES, Manifest, Reference, Scores, Thresholds, read_manifest
from service.inference.rejection import ModelRejected
from tests.conftest import REPOSITORY

REFERENCE = {
    "class_shares": [0.1] * 10,
    "confidence_edges": [0.0, 0.5, 1.0],
    "confidence_histogram": [0.25, 0.75],
}
COMPLETE: dict[str, Any] = {
    "version": 7,
    "files": {"model.tflite": "0" * 64},
    "thresholds": {"confidence": 0.5},
    "metrics": {"test_accuracy": 0.99, "test_ece": 0.01},
    "reference": REFERENCE,
}


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The directory of a version 7, without a manifest."""
    (tmp_path / "7").mkdir()
    return tmp_path / "7"


def read(version: Path, content: str | bytes) -> Manifest:
    (version / "manifest.json").write_bytes(content.encode() if isinstance(content, str) else content)
    file = read_manifest(version)
    assert file
    return file.manifest


def rejection(version: Path, content: str | bytes) -> str:
    with pytest.raises(ModelRejected) as caught:
        read(version, content)
    assert caught.value.reason == "manifest"
    return str(caught.value)


def test_reads_what_the_service_uses(version: Path) -> None:
    assert read(version, json.dumps(COMPLETE)) == Manifest(
        7,
        {"model.tflite": "0" * 64},
        Thresholds(0.5),
        Scores(0.99),
        Reference((0.1,) * 10, (0.0, 0.5, 1.0), (0.25, 0.75)),
    )


def test_a_minimal_manifest_has_no_threshold_accuracy_or_reference(version: Path) -> None:
    manifest = read(version, '{"version": "7", "files": {}}')
    assert (manifest.thresholds.confidence, manifest.metrics.test_accuracy, manifest.reference) == (0, None, None)
    assert read(version, b'\xef\xbb\xbf{"version": 7, "files": {}, "metrics": {}}').files == {}  # a byte order mark


def test_other_keys_may_have_any_value_and_all_are_kept(version: Path) -> None:
    document = COMPLETE | {"seed": 2**127, "remark": "\u2028 é", "recipe": None, "temperature": "warm", "": [[{}]]}
    read(version, json.dumps(document))
    file = read_manifest(version)
    assert file
    assert json.loads(file.content) == document
    assert b"\n" not in file.content


def test_the_committed_manifests_are_accepted() -> None:
    manifests = list((REPOSITORY / "models" / "digits").glob("*/manifest.json"))
    assert manifests
    for path in manifests:
        file = read_manifest(path.parent)
        assert file
        assert file.manifest.reference
        assert file.manifest.metrics.test_accuracy


KEYS = (
    *(("version",), ("files",), ("files", "model.tflite"), ("thresholds",), ("thresholds", "confidence")),
    *(("metrics",), ("metrics", "test_accuracy"), ("reference",), ("reference", "class_shares")),
    *(("reference", "confidence_edges"), ("reference", "confidence_histogram")),
    *(("reference", "class_shares", 3), ("reference", "confidence_edges", 1), ("reference", "confidence_histogram", 0)),
)
VALUES: dict[str, str] = {
    "null": "null",
    "true": "true",
    "zero": "0",
    "one": "1",
    "minus one": "-1",
    "two": "2",
    "half": "0.5",
    "large": "1e308",
    "128 bits": "1" * 39,
    "string": '"0.5"',
    "empty string": '""',
    "surrogate pair": r'"\ud83d\ude00"',
    "array": "[]",
    "numbers": "[0.5, 0.5]",
    "nested array": "[[[]]]",
    "object": "{}",
    "object of objects": '{"confidence": {}, "test_accuracy": {}}',
    "NUL": r'"a\u0000b"',
}
ACCEPTED = {
    "files": {"object"},
    "files.model.tflite": {"string", "empty string", "surrogate pair", "NUL"},
    "thresholds": {"object"},
    "thresholds.confidence": {"zero", "one", "half"},
    "metrics": {"object"},
    "metrics.test_accuracy": {"null", "zero", "one", "half"},
    "reference": {"null"},
    "reference.class_shares.3": {"zero", "one", "half"},
    "reference.confidence_edges.1": {"zero", "one", "minus one", "two", "half", "large", "128 bits"},
    "reference.confidence_histogram": {"numbers"},
    "reference.confidence_histogram.0": {"zero", "one", "half"},
}
"""The values of VALUES that a key may have."""


@pytest.mark.parametrize(("key", "value"), list(product(KEYS, VALUES)))
def test_each_key_has_its_type_and_range(key: tuple[str | int, ...], value: str, version: Path) -> None:
    document = json.loads(json.dumps(COMPLETE))
    parent = document
    for part in key[:-1]:
        parent = parent[part]
    parent[key[-1]] = "@"
    content = json.dumps(document).replace('"@"', VALUES[value])
    if value in ACCEPTED.get(".".join(map(str, key)), set()):
        read(version, content)
        return
    message = rejection(version, content)
    if key != ("version",):
        assert re.fullmatch(rf"manifest\.json does not match the schema: .+ - at `\$\.{key[0]}\b.*`", message)


MALFORMED = {
    "": "is not JSON: Expecting value: .+",
    "[]": r"does not match the schema: Expected `object`, got `array`",
    "7": r"does not match the schema: Expected `object`, got `int`",
    '{"files": {}}': "does not match the schema: Object missing required field `version`",
    '{"version": 7}': "does not match the schema: Object missing required field `files`",
    '{"version": 7, "files": {}, "a": 1, "a": 1}': "is not JSON: the name 'a' occurs twice in an object",
    '{"version": 7, "files": {"a\\n": "", "a\\n": ""}}': r"is not JSON: the name 'a\\n' occurs twice in an object",
    '{"version": 7, "files": {}, "a": "\\ud800"}': "has a lone surrogate in a string",
    '{"version": 7, "files": {"\\udfff": ""}}': "has a lone surrogate in a string",
    '{"version": 7, "files": {}, "a": %s}' % ("1" * 400): "is not JSON: a number has 400 digits; 100 are allowed",
    '{"version": -%s, "files": {}}' % ("1" * 5000): "is not JSON: a number has 5001 digits; 100 are allowed",
    '{"version": 7, "files": {}, "a": 1e999}': "is not JSON: the number 1e999 is over the range of a double",
    '{"version": 7, "files": {}, "a": NaN}': "is not JSON: NaN is not a number",
    '{"version": 7, "files": {}, "a": -Infinity}': "is not JSON: -Infinity is not a number",
    '{"version": 7, "files": {}} {}': "is not JSON: Extra data: .+",
    "[" * 100_000: "is nested too deeply",
    '{"a":' * 50_000: "is nested too deeply",
    '{"version": 8, "files": {}}': "states version 8; its directory is 7",
    '{"version": "07", "files": {}}': "states version '07'; its directory is 7",
    '{"version": "\\u2028%s", "files": {}}' % ("x" * 1000): r"states version '\\u2028x{43}; its directory is 7",
}


@pytest.mark.parametrize("content", MALFORMED, ids=range(len(MALFORMED)))
def test_rejects_what_is_no_manifest_with_a_short_sentence(content: str, version: Path) -> None:
    message = rejection(version, content)
    assert re.fullmatch(rf"manifest\.json {MALFORMED[content]}", message)
    assert len(message) < 200


def test_rejects_bytes_that_are_not_utf_8(version: Path) -> None:
    for content in (b'{"version": 7, "files": {}, "a": "\xff"}', '{"version": 7, "files": {}}'.encode("utf-16")):
        assert rejection(version, content).startswith("manifest.json is not JSON: 'utf-8' codec can't decode byte 0xff")


def test_edges_and_bins_must_match(version: Path) -> None:
    reference = REFERENCE | {"confidence_edges": [0.0, 1.0]}
    message = rejection(version, json.dumps(COMPLETE | {"reference": reference}))
    sentence = "`confidence_edges` has 2 numbers; the 2 bins need 3 - at `$.reference`"
    assert message == f"manifest.json does not match the schema: {sentence}"


NAMES = st.sampled_from(["confidence", "test_accuracy", *REFERENCE, "x"])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@settings(deadline=None)  # a file is written
@given(JSON_VALUES, st.sampled_from([*COMPLETE, "x"]))
def test_any_json_value_is_accepted_or_rejected_with_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, value: object, key: str
) -> None:
    version = tmp_path_factory.getbasetemp() / "any" / "7"
    version.mkdir(parents=True, exist_ok=True)
    content = json.dumps(COMPLETE | {key: value})
    try:
        manifest = read(version, content)
    except ModelRejected:
        assert rejection(version, content).startswith("manifest.json ")
    else:
        assert str(manifest.version) == "7"
        assert 0 <= manifest.thresholds.confidence <= 1


def test_a_manifest_over_4_mib_is_rejected(version: Path) -> None:
    content = json.dumps(COMPLETE | {"x": ""})
    padding = "x" * (MAX_BYTES - len(content))
    read(version, content.replace('"x": ""', f'"x": "{padding}"'))
    message = rejection(version, content.replace('"x": ""', f'"x": "{padding}x"'))
    assert message == "manifest.json has 262145 bytes; 262144 are allowed"


def test_many_names_with_a_duplicate_are_rejected_in_linear_time(version: Path) -> None:
    names = ",".join(f'"{index}":0' for index in range(20_000))
    assert rejection(version, f'{{{names},"19999":0}}').endswith("the name '19999' occurs twice in an object")


def test_no_manifest_is_none_but_a_broken_link_is_rejected(version: Path) -> None:
    assert read_manifest(version) is None
    (version / "manifest.json").symlink_to("missing")
    with pytest.raises(ModelRejected, match=r"^manifest.json is a link to a missing file$"):
        read_manifest(version)


def test_a_manifest_that_is_no_regular_file_is_rejected(version: Path) -> None:
    path = version / "manifest.json"
    os.mkfifo(path)
    with pytest.raises(ModelRejected, match=r"^manifest.json is a FIFO, not a regular file$"):
        read_manifest(version)
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelRejected, match=r"^manifest.json is a directory, not a regular file$"):
        read_manifest(version)
    path.rmdir()
    path.symlink_to("manifest.json")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read_manifest(version)

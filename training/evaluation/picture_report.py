"""The report of a measurement on labelled pictures: tables for people, JSON for programs."""

import json
from collections.abc import Callable, Sequence

from training.evaluation.labelled_pictures import printable
from training.evaluation.own_pictures import Counts, PictureResult

Table = list[list[str]]

SINGLE, ROW = "single digits", "rows"
_COLUMNS = ["pictures", "right", "accuracy", "certain", "right of certain", "refused"]


def make_tables(results: Sequence[PictureResult]) -> dict[str, Table]:
    """The tables by their titles: summary (without a title), folders, kinds of files, confusion, what is wrong."""
    singles = [result for result in results if not result.picture.is_row]
    wrong = [result for result in results if result.prediction and not result.is_right]
    refused = [result for result in results if not result.prediction]
    return {
        "": _count_table("", results, _group),
        "Folders": _count_table("folder", results, lambda result: result.picture.folder),
        "File kinds": _count_table("kind", results, lambda result: f"{_group(result)}, {result.kind}"),
        **({"Confusion of single digits": confusion(singles)} if singles else {}),
        **({"Wrong": [["picture", "label", "read as", "confidence", ""], *map(_wrong_row, wrong)]} if wrong else {}),
        **({"Refused": [["picture", "label", "reason"], *map(_refused_row, refused)]} if refused else {}),
    }


def confusion(singles: Sequence[PictureResult]) -> Table:
    """The confusion matrix: a row for each label, a column for each predicted digit, `.` for 0."""
    columns = [*"0123456789", "refused"]
    table = [["label", *columns]]
    for label in sorted({result.picture.label[0] for result in singles}):
        answers = [describe_answer(result) for result in singles if result.picture.label[0] == label]
        table.append([label, *(str(answers.count(column) or ".") for column in columns)])
    return table


def describe_answer(result: PictureResult) -> str:
    """The predicted numbers in the form of a label, or `refused`."""
    return "_".join(result.prediction.numbers) if result.prediction else "refused"


def to_json(results: Sequence[PictureResult], number: int) -> str:
    """The version, the counts and one object for each picture, as a JSON document."""
    groups = {group: Counts.of_results(r for r in results if _group(r) == group) for group in (SINGLE, ROW)}
    counts = {group: counted._asdict() for group, counted in groups.items()}
    document = {"version": number, **counts, "results": [_as_dict(result) for result in results]}
    return json.dumps(document, indent=1) + "\n"


def _as_dict(result: PictureResult) -> dict[str, object]:
    found = {"picture": result.picture.name, "kind": result.kind, "label": result.picture.label}
    if not result.prediction:
        return found | {"right": False, "refusal": result.refusal}
    prediction = {"numbers": result.prediction.numbers, "confidence": result.prediction.confidence}
    return found | {"right": result.is_right, "certain": result.is_certain} | prediction


def _group(result: PictureResult) -> str:
    return ROW if result.picture.is_row else SINGLE


def _count_table(title: str, results: Sequence[PictureResult], key: Callable[[PictureResult], str]) -> Table:
    """A row of counts for each value of the key, single digits first."""
    keys = dict.fromkeys(key(result) for result in sorted(results, key=lambda r: (r.picture.is_row, key(r))))
    rows = [[value, *_format(Counts.of_results(r for r in results if key(r) == value))] for value in keys]
    return [[title, *_COLUMNS], *rows]


def _format(counts: Counts) -> list[str]:
    pictures, right, certain, right_and_certain, refused = counts
    return [
        str(pictures),
        str(right),
        _percent(right, pictures),
        _percent(certain, pictures),
        _percent(right_and_certain, certain),
        str(refused),
    ]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _wrong_row(result: PictureResult) -> list[str]:
    confidence = f"{result.prediction.confidence:.1%}" if result.prediction else ""
    certain = "certain" if result.is_certain else ""
    return [result.picture.name, "_".join(result.picture.label), describe_answer(result), confidence, certain]


def _refused_row(result: PictureResult) -> list[str]:
    return [result.picture.name, "_".join(result.picture.label), printable(" ".join(result.refusal.split()))]

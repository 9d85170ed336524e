"""docs/operations.md: its tables list every metric, every reason of a rejected request and of a rejected version."""

import re

from service import errors
from service.errors import RequestError
from service.monitoring.metrics import Metrics
from tests.conftest import REPOSITORY
from tests.docs.markdown import rows, section

OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()


def test_every_metric_is_listed_with_its_type() -> None:
    text = Metrics().exposition().decode()
    types = dict(re.findall(r"^# TYPE digits_(\w+) (\w+)$", text, re.MULTILINE))
    types = {metric: kind for metric, kind in types.items() if not metric.endswith("_created")}
    listed: dict[str, str] = {}
    for names, kind, _ in rows(section(OPERATIONS, "Metrics"))[1:]:
        listed |= dict.fromkeys(re.findall(r"`(\w+)(?:\{[\w,]+\})?`", names), kind)
    assert listed == types


def test_every_reason_of_a_rejected_request_is_listed() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, RequestError)]
    table = {reason.strip("`"): int(status) for reason, status in rows(section(OPERATIONS, "Rejected requests"))[1:]}
    assert table == {error.reason: error.status for error in classes}


def test_every_reason_of_a_rejected_version_is_listed() -> None:
    sources = (REPOSITORY / "service" / "inference").glob("*.py")
    raised = {reason for path in sources for reason in re.findall(r'ModelRejected\(\s*"(\w+)"', path.read_text())}
    assert {row[0].strip("`") for row in rows(section(OPERATIONS, "Rejected versions"))[1:]} == raised

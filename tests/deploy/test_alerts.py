"""The rules of Prometheus: each alert is tested by promtool, states its value, and has its paragraph in the README."""

import re
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.deploy.documents import DEPLOY, documents, promtool, rules

ALERTS = rules("alerts.yml")
CASES = documents(DEPLOY / "prometheus" / "tests" / "alerts.yml")[0]["tests"]


def each_alert() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])


def test_promtool_agrees() -> None:
    for arguments in (["check", "config", "prometheus.yml"], ["test", "rules", "tests/alerts.yml"]):
        done = promtool(DEPLOY / "prometheus", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@each_alert()
def test_it_is_tested_firing_and_not_firing(alert: dict[str, Any]) -> None:
    expected = [
        bool(test.get("exp_alerts"))
        for case in CASES
        for test in case.get("alert_rule_test", [])
        if test["alertname"] == alert["alert"]
    ]
    assert set(expected) == {True, False}


@each_alert()
def test_it_has_severity_value_and_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert "$value" in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == f"README.md#{alert['alert'].lower()}"


def test_the_readme_has_one_paragraph_an_alert() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    paragraphs = re.findall(r"^#### (Digits\w+)\n\n(.+?)\n\n", readme, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in paragraphs] == [alert["alert"] for alert in ALERTS]
    assert all(len(text) > 100 for _, text in paragraphs)


def test_the_rules_name_metrics_that_there_are() -> None:
    source = (REPOSITORY / "service" / "monitoring" / "metrics.py").read_text()
    for rule in ALERTS + rules("rules.yml"):
        for name in re.findall(r"\bdigits_\w+", rule["expr"]):
            bare = re.sub(r"_(total|bucket|count|sum)$", "", name).removeprefix("digits_")
            assert f'"{bare}"' in source, f"{name} is no metric of the service"

"""Prometheus rules: promtool's unit tests pass, each alert states its value and limit and links to the runbook."""

import re
from typing import Any

import pytest

from service.monitoring.metrics import Metrics
from tests.conftest import REPOSITORY
from tests.deploy.documents import COMPOSE, DEPLOY, load_documents, load_rules, run_promtool

ALERTS = load_rules("alerts.yml")
RECORDING_RULES = load_rules("rules.yml")
UNIT_TESTS = load_documents(DEPLOY / "prometheus" / "tests" / "alerts.yml")[0]["tests"]

each_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])


@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "tests/alerts.yml")], ids=["check", "test"]
)
def test_promtool_accepts_the_rules_and_their_unit_tests(arguments: tuple[str, ...]) -> None:
    done = run_promtool(DEPLOY / "prometheus", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@each_alert
def test_alert_has_unit_tests_firing_and_not_firing(alert: dict[str, Any]) -> None:
    fires = [
        bool(expectation.get("exp_alerts"))
        for unit_test in UNIT_TESTS
        for expectation in unit_test.get("alert_rule_test", [])
        if expectation["alertname"] == alert["alert"]
    ]
    assert set(fires) == {True, False}


@each_alert
def test_alert_has_a_severity(alert: dict[str, Any]) -> None:
    assert alert["labels"] in ({"severity": "critical"}, {"severity": "warning"}, {"severity": "info"})


@each_alert
def test_summary_states_the_value_and_the_limit_of_the_expression(alert: dict[str, Any]) -> None:
    summary = alert["annotations"]["summary"]
    operator, number = re.findall(r"([<>]) ([\d.]+)", alert["expr"])[-1]
    limit = float(number)
    word = "minimum" if operator == "<" else "limit"
    assert "$value" in summary
    assert any(f"{word} {text})" in summary for text in (number, f"{limit:.0%}", f"{limit * 1000:.0f}ms"))


@each_alert
def test_runbook_url_is_the_alerts_heading_in_the_runbook(alert: dict[str, Any]) -> None:
    anchor = alert["alert"].lower()
    assert alert["annotations"]["runbook_url"] == f"{{{{ $externalLabels.docs_url }}}}/runbook.md#{anchor}"


def test_runbook_has_one_paragraph_for_each_alert_in_order() -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    sections = re.findall(r"^#+ (Digits\w+)\n\n(.+?)(?=\n\n|\n*\Z)", runbook, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == [alert["alert"] for alert in ALERTS]
    assert [name for name, paragraph in sections if len(paragraph) <= 100] == []


def test_docs_url_comes_from_the_environment_and_is_removed_from_alerts() -> None:
    (config,) = load_documents(DEPLOY / "prometheus" / "prometheus.yml")
    prometheus = COMPOSE["services"]["prometheus"]
    assert config["global"]["external_labels"] == {"docs_url": "${DIGITS_DOCS_URL}"}
    assert {"regex": "docs_url", "action": "labeldrop"} in config["alerting"]["alert_relabel_configs"]
    assert "--enable-feature=expand-external-labels" in prometheus["command"]
    assert prometheus["environment"] == {"DIGITS_DOCS_URL": "${DIGITS_DOCS_URL:-docs}"}


def test_rules_use_metrics_that_the_service_exposes() -> None:
    exposed = set(re.findall(r"^# TYPE (\S+) \w+$", Metrics().exposition().decode(), re.MULTILINE))
    for rule in ALERTS + RECORDING_RULES:
        for name in re.findall(r"\bdigits_\w+", rule["expr"]):
            assert name in exposed or re.sub(r"_(bucket|count|sum)$", "", name) in exposed, name


def test_alerts_use_recording_rules_that_exist() -> None:
    recorded = {rule["record"] for rule in RECORDING_RULES}
    used = {name for rule in ALERTS + RECORDING_RULES for name in re.findall(r"\bdigits:[\w:]+", rule["expr"])}
    assert used <= recorded

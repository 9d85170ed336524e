"""Grafana's dashboard and provisioning: files fit each other, Prometheus parses every query.

tests/system/test_stack.py runs the same queries against a Prometheus that scrapes the service.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.deploy.documents import COMPOSE, DEPLOY, load_documents, load_rules, run_promtool

GRAFANA = DEPLOY / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "digits.json").read_text())
PROVISIONING = GRAFANA / "provisioning"


def panel_queries() -> list[tuple[str, str]]:
    """(panel title, PromQL expression) of every query, with Grafana's $__rate_interval replaced by 1m."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def test_datasource_is_the_stacks_prometheus() -> None:
    (source,) = load_documents(PROVISIONING / "datasources" / "prometheus.yml")[0]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    used = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert used == {source["uid"]}


def test_dashboard_directory_is_mounted_at_the_provisioned_path() -> None:
    (provider,) = load_documents(PROVISIONING / "dashboards" / "digits.yml")[0]["providers"]
    grafana = COMPOSE["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / Path(home).name).exists()


def test_panels_do_not_overlap_and_have_a_title_and_a_description() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
    for key in ("id", "title"):
        assert len({panel[key] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_descriptions_name_alerts_that_exist_with_their_limits() -> None:
    limits = {
        rule["alert"]: float(re.findall(r"> ([\d.]+)", rule["expr"])[-1])
        for rule in load_rules("alerts.yml")
        if "> " in rule["expr"]
    }
    text = " ".join(panel["description"] for panel in DASHBOARD["panels"])
    named = re.findall(r"(Digits[A-Z]\w+)(?:: above|, above) ([\d.]+)( %)?", text)
    assert len(named) == len(re.findall(r"Digits[A-Z]\w+", text))
    assert len(named) >= 7
    for alert, number, percent in named:
        assert float(number) / (100 if percent else 1) == limits[alert], alert


def test_runbook_names_panels_that_exist() -> None:
    runbook = " ".join((REPOSITORY / "docs" / "runbook.md").read_text().split())
    named = set(re.findall(r'panel "([^"]+)"', runbook))
    assert named
    assert named <= {panel["title"] for panel in DASHBOARD["panels"]}


def test_queries_use_recording_rules_that_exist() -> None:
    recorded = {rule["record"] for rule in load_rules("rules.yml")}
    used = {name for _, query in panel_queries() for name in re.findall(r"\bdigits:[\w:]+", query)}
    assert used
    assert used <= recorded


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{number}", "expr": expr} for number, (_, expr) in enumerate(panel_queries())]
    assert len(recorded) >= 15
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = run_promtool(tmp_path, "check", "rules", "queries.yml")
    assert done.returncode == 0, done.stdout + done.stderr

"""Grafana's files: they parse, they fit each other, and every query is one that Prometheus can read.

tests/system/test_stack.py runs the same queries against a Prometheus that watches the service.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.documents import COMPOSE, DEPLOY, documents, promtool

GRAFANA = DEPLOY / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "digits.json").read_text())
PROVISIONING = GRAFANA / "provisioning"


def queries() -> list[tuple[str, str]]:
    """Panel and query, with the variables that Grafana fills in filled in."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    ]


def test_the_source_of_data_is_the_stacks_prometheus() -> None:
    (source,) = documents(PROVISIONING / "datasources" / "prometheus.yml")[0]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    used = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert used == {source["uid"]}


def test_the_dashboards_directory_is_mounted_where_it_is_looked_for() -> None:
    (provider,) = documents(PROVISIONING / "dashboards" / "digits.yml")[0]["providers"]
    grafana = COMPOSE["services"]["grafana"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / Path(home).name).exists()


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        cells = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert x + w <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["description"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{number}", "expr": expr} for number, (_, expr) in enumerate(queries())]
    assert len(recorded) >= 15
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    done = promtool(tmp_path, "check", "rules", "queries.yml")
    assert done.returncode == 0, done.stdout + done.stderr

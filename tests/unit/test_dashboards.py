"""Grafana isn't started by any test: what its dashboards ask for is held against the names that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from shared import telemetry

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
NOT_OURS = {"up", "process_resident_memory_bytes"}  # Prometheus' own, and of its client library
METRIC = re.compile(r"\b(?:c360_\w+|process_\w+|up)\b")
SAMPLES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def exported() -> set[str]:
    assert telemetry
    return {metric.name + suffix for metric in REGISTRY.collect() for suffix in SAMPLES.get(metric.type, ("",))}


def queries(board: Any) -> list[str]:
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_asks_for_metrics_that_there_are(path: Path) -> None:
    asked = [set(METRIC.findall(query)) for query in queries(json.loads(path.read_text()))]
    assert all(asked)
    assert set().union(*asked) - exported() <= NOT_OURS


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_asks_the_source_that_is_there(path: Path) -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in json.loads(path.read_text())["panels"]} == {source["uid"]}


def test_what_is_an_alarm_is_on_the_board_of_what_should_stay_at_zero() -> None:
    asked = " ".join(queries(json.loads((GRAFANA / "dashboards" / "alarms.json").read_text())))
    alarms = [
        metric.name for metric in REGISTRY.collect() if metric.name.startswith("c360_") and ": an alarm" in metric.documentation
    ]
    assert len(alarms) > 5
    assert [name for name in alarms if name not in asked] == []

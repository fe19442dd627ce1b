"""What Prometheus alarms of: metrics and labels that there are, in windows that hold, each with a page for whoever is woken by it.

`make compose-test` has a real Prometheus load the file.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from tests.unit.test_dashboards import METRIC, NOT_OURS, exported

ROOT = Path(__file__).parents[2]
GROUPS: list[Any] = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]
RULES: list[Any] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
RECORDS = re.compile(r"\bc360:[\w:]+")
SELECTED = re.compile(r"(c360_\w+)\{([^}]*)\}")
OF_PROMETHEUS = {"instance", "job", "slo", "le"}
TEMPLATE = re.compile(r"\$labels\.(\w+)")


def labels_of(metric: str) -> set[str]:
    for found in REGISTRY.collect():
        if metric in {found.name + suffix for suffix in ("", "_total", "_bucket", "_count", "_sum")}:
            collector = REGISTRY._names_to_collectors[metric]
            return set(getattr(collector, "_labelnames", ()))
    raise AssertionError(metric)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_what_there_is(rule: Any) -> None:
    asked = set(METRIC.findall(rule["expr"])) - NOT_OURS
    assert asked - exported() == set()
    assert set(RECORDS.findall(rule["expr"])) <= RECORDED
    for metric, selection in SELECTED.findall(rule["expr"]):
        assert set(re.findall(r"(\w+)\s*[=!]", selection)) <= labels_of(metric) | OF_PROMETHEUS


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_where_it_is_written_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in anchors(ROOT / path)
    assert f"{name}" in (ROOT / "docs" / "runbooks" / "README.md").read_text()
    assert rule["labels"]["severity"] in ("page", "ticket")
    told = set(TEMPLATE.findall(rule["annotations"]["summary"])) - OF_PROMETHEUS
    known = set().union(*(labels_of(metric) for metric in METRIC.findall(rule["expr"]) if metric not in NOT_OURS))
    assert told <= known


def test_every_page_is_of_an_alert() -> None:
    named = {rule["annotations"]["runbook"].partition("#")[0].rpartition("/")[2] for rule in ALERTS.values()}
    assert {page.name for page in (ROOT / "docs" / "runbooks").glob("*.md")} == named | {"README.md"}


def test_what_is_an_alarm_has_an_alert() -> None:
    asked = " ".join(rule["expr"] for rule in ALERTS.values())
    alarms = [found.name for found in REGISTRY.collect() if found.name.startswith("c360_") and ": an alarm" in found.documentation]
    assert len(alarms) > 5
    assert [name for name in alarms if name not in asked] == []


def test_every_objective_is_watched_over_short_windows_and_long_ones() -> None:
    counted = {kind: {rule["labels"]["slo"] for rule in RULES if rule.get("record") == f"c360:slo_{kind}"} for kind in WATCHED}
    assert len({frozenset(slos) for slos in counted.values()}) == 1
    windows = {re.search(r"ratio(\d+[mhd])", name)[1] for name in RECORDED if "slo_errors" in name}  # type: ignore[index]
    assert windows == {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}


WATCHED = ("bad:rate5m", "all:rate5m", "budget")


def test_prometheus_is_given_them() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    [place] = config["rule_files"]
    assert f"./deploy/alerts.yml:{place}:ro" in compose["services"]["prometheus"]["volumes"]

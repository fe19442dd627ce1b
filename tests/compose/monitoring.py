"""What Prometheus has, asked as Grafana would ask it, from beside it: it has no door."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.compose.containers import Containers

DASHBOARDS = Path("deploy/grafana/dashboards")
SCRAPED_S = 60.0  # several rounds of 10 s
POLL_S = 1.0


def problems(containers: Containers) -> list[str]:
    missing = _not_up(containers)
    boards = sorted((containers.folder / DASHBOARDS).glob("*.json"))
    assert boards
    return missing + _bad_rules(containers) + [problem for board in boards for problem in _unanswered(containers, board)]


def _not_up(containers: Containers) -> list[str]:
    """Waits a while: a target is asked every ten seconds."""
    give_up_at = time.monotonic() + SCRAPED_S
    while True:
        answer = _ask(containers, "query?query=up")
        up = {one["metric"]["instance"].partition(":")[0] for one in answer["result"] if one["value"][1] == "1"}
        missing = set(containers.services) - up
        if not missing or time.monotonic() > give_up_at:
            return [f"Prometheus doesn't reach {name}" for name in sorted(missing)]
        time.sleep(POLL_S)


def _bad_rules(containers: Containers) -> list[str]:
    """Those that Prometheus can't evaluate."""
    groups = _ask(containers, "rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if not rules:
        return ["Prometheus has no rules"]
    return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]


def _unanswered(containers: Containers, board: Path) -> list[str]:
    """Most of what should stay at zero has no sample; that the names exist is told by tests/unit/test_dashboards.py."""
    panels = json.loads(board.read_text())["panels"]
    asked = [target["expr"].replace("$__rate_interval", "1m") for panel in panels for target in panel["targets"]]
    results = {query: _ask(containers, f"query?query={quote(query, safe='')}")["result"] for query in asked}
    return [] if any(results.values()) else [f"no panel of {board.name} shows anything"]


def _ask(containers: Containers, question: str) -> Any:
    """A query that Prometheus refuses raises ContainersFailed: wget ends with an error."""
    url = f"http://127.0.0.1:9090/api/v1/{question}"
    return json.loads(containers.ask("prometheus", "wget", "-q", "-O", "-", url))["data"]

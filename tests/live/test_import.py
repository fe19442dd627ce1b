"""Files become events, each row once, whatever happens on the way; and what went in comes out again."""

import csv
import json
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.stack.stack import Stack
from tests.live.command import Command
from tests.live.gate import Gate
from tests.stacks import fresh_stack

GUIDE = Path(__file__).parents[2] / "docs" / "import.md"
ROWS = 20_000
PERSONS = 4_000
IDENTIFY = {
    "type": {"value": "identify"},
    "userId": "id",
    "traits": {"plan": "plan", "visits": {"column": "visits", "as": "integer"}},
}


class Bulk:
    """A source, and files of rows for it. Persons are this instance's own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.folder = folder
        self.url = stack.endpoints.ingest_http
        self.c360 = Command(stack.data_directory)
        self.name = f"bulk-{uuid4().hex[:8]}"
        self.mark = uuid4().hex[:8]
        self.c360.environment["C360_WRITE_KEY"] = self.c360.json("sources", "create", self.name)["write_key"]

    def mapping(self, **fields: Any) -> Path:
        path = self.folder / "mapping.json"
        path.write_text(json.dumps(IDENTIFY | fields))
        return path

    def csv(self, rows: int, name: str = "rows.csv") -> Path:
        path = self.folder / name
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "plan", "visits"])
            writer.writerows([f"{self.mark}-{row % PERSONS}", f"plan {row}", row] for row in range(1, rows + 1))
        return path

    def arguments(self, file: Path, url: str = "") -> tuple[str, ...]:
        return ("import", str(file), "--mapping", str(self.folder / "mapping.json"), "--url", url or self.url)

    def run(self, file: Path, *options: str, url: str = "", code: int = 0) -> dict[str, Any]:
        done = self.c360.run(*self.arguments(file, url), *options, "--json", code=code)
        return json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    def exported(self, position: str, name: str = "out.jsonl") -> list[dict[str, Any]]:
        """All events of the source, after those up to the position are applied."""
        self.settle(position)
        path = self.folder / name
        self.c360.run("export", self.name, "--to", str(path), "--force")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def settle(self, position: str) -> None:
        """Waits until it is applied, longer than a read usually may: it may stand behind twenty thousand rows."""
        if position:
            self.c360.run("profile", "get", f"user_id:{self.mark}-1", "-P", "service", "--fresh", position, "--timeout", "60")


@pytest.fixture
def bulk(stack: Stack) -> Iterator[Bulk]:
    with tempfile.TemporaryDirectory() as folder:
        yield Bulk(stack, Path(folder))


def plan_of(bulk: Bulk, person: str) -> Any:
    found = bulk.c360.json("profile", "get", f"user_id:{bulk.mark}-{person}", "--purpose", "service")
    return found["traits"]["plan"]["value"]


def test_a_csv_file_becomes_profiles(bulk: Bulk) -> None:
    bulk.mapping()
    result = bulk.run(bulk.csv(10))
    assert (result["rows"], result["accepted"], result["rejected"]) == (10, 10, 0)
    events = bulk.exported(result["position"])
    assert sorted(event["traits"]["visits"] for event in events) == list(range(1, 11))
    assert plan_of(bulk, "7") == "plan 7"


@pytest.mark.parametrize("after_ingest", [False, True], ids=["before-ingest-saw-it", "after-ingest-answered"])
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_goes_on_and_doubles_nothing(bulk: Bulk, way: signal.Signals, after_ingest: bool) -> None:
    bulk.mapping()
    file = bulk.csv(ROWS)
    with Gate(bulk.url, hold_from=20, after_ingest=after_ingest) as gate:
        command = bulk.c360.start(*bulk.arguments(file, gate.url))
        with command:
            assert gate.held.wait(30)
            command.send_signal(way)
            if way is signal.SIGINT:
                gate.open()
            code = command.wait(30)
    assert code == (130 if way is signal.SIGINT else -signal.SIGKILL)
    before = json.loads((bulk.folder / "rows.csv.progress.json").read_bytes())
    assert before["counts"].get("statuses", {}).get("accepted", 0) < ROWS
    result = bulk.run(file)
    assert result["rows"] == ROWS == result["accepted"] + result.get("duplicate", 0)
    events = bulk.exported(result["position"])
    assert sorted(event["traits"]["visits"] for event in events) == list(range(1, ROWS + 1))
    assert bulk.run(file)["rows"] == ROWS  # done: nothing is sent again


def test_without_its_progress_file_an_import_doubles_nothing(bulk: Bulk) -> None:
    bulk.mapping()
    file = bulk.csv(3_000)
    bulk.settle(bulk.run(file)["position"])
    (bulk.folder / "rows.csv.progress.json").unlink()
    result = bulk.run(file.rename(bulk.folder / "renamed.csv"))
    assert result["rows"] == 3_000
    assert len(bulk.exported(result["position"])) == 3_000


def test_rows_of_a_person_arrive_in_order_whatever_is_refused(bulk: Bulk) -> None:
    """Without a timestamp the instant of receipt decides, so the last row of each person has to come last."""
    bulk.mapping()
    with Gate(bulk.url, refuse=6) as gate:
        result = bulk.run(bulk.csv(ROWS), url=gate.url)
    assert gate.refused == 6
    newest: dict[str, tuple[str, int]] = {}
    for event in bulk.exported(result["position"]):
        at = (event["received_at"], event["traits"]["visits"])
        newest[event["user_id"]] = max(newest.get(event["user_id"], at), at)
    assert len(newest) == PERSONS
    assert {visits for _, visits in newest.values()} == set(range(ROWS - PERSONS + 1, ROWS + 1))


def test_rejects_are_listed_by_row_and_reason_once_and_without_the_row(bulk: Bulk) -> None:
    bulk.mapping(timestamp="when")
    file = bulk.folder / "rows.csv"
    rows = [f"{bulk.mark}-{row},p,{'many' if row % 7 == 0 else row},{'tomorrow-ish' if row == 3 else ''}" for row in range(1, 2001)]
    file.write_text("\n".join(["id,plan,visits,when", *rows, "too,few", ",nobody,1,"]) + "\n")
    result = bulk.run(file, code=1)
    listed = [json.loads(line) for line in (bulk.folder / "rows.csv.rejects.jsonl").read_text().splitlines()]
    assert listed[0] == {"row": 3, "line": 4, "reason": "VALUE_INVALID", "field": "timestamp"}
    assert [item["row"] for item in listed] == [3, *range(7, 2001, 7), 2001, 2002]
    assert [item["reason"] for item in listed[-2:]] == ["COLUMNS_WRONG", "IDS_MISSING"]
    assert result["reasons"] == {"VALUE_INVALID": 286, "COLUMNS_WRONG": 1, "IDS_MISSING": 1}
    assert bulk.mark not in (bulk.folder / "rows.csv.rejects.jsonl").read_text()


def test_what_the_service_rejects_is_listed_too(bulk: Bulk) -> None:
    bulk.mapping()
    file = bulk.folder / "rows.csv"
    file.write_text(f"id,plan,visits\n{bulk.mark}-1,{'x' * 40_000},1\nnull,p,2\n{bulk.mark}-2,p,3\n")
    result = bulk.run(file, code=1)
    assert result["reasons"] == {"EVENT_TOO_LARGE": 1, "IDS_UNUSABLE": 1}
    assert result["accepted"] == 1


def test_a_file_that_has_grown_is_not_taken_for_a_new_one(bulk: Bulk) -> None:
    """Its rows would count twice; a file that is another one altogether is another delivery."""
    bulk.mapping()
    file = bulk.csv(10)
    bulk.run(file)
    file.write_bytes(file.read_bytes() + f"{bulk.mark}-99,new,99\n".encode())
    assert bulk.run(file, code=2)["error"].startswith("FILE_CHANGED: ")
    assert bulk.run(file, "--restart")["rows"] == 11
    file.write_text(f"id,plan,visits\n{bulk.mark}-1,other,1\n")
    assert bulk.run(file)["rows"] == 1
    assert (bulk.folder / "rows.csv.progress.1.json").exists()


def test_rows_that_wait_are_told_with_where_to_look(bulk: Bulk) -> None:
    bulk.mapping()
    plan = bulk.folder / "plan.json"
    plan.write_text(json.dumps({"traits": {"identify": {"required": ["must"]}}, "rules": {"schema_violation": "quarantine"}}))
    bulk.c360.run("plans", "publish", bulk.name, str(plan))
    told = bulk.c360.run(*bulk.arguments(bulk.csv(10))).stderr
    assert "10 rows wait: `c360 plans quarantine SOURCE`" in told


def test_an_unknown_write_key_is_refused_at_once(bulk: Bulk) -> None:
    bulk.mapping()
    assert "WRITE_KEY_UNKNOWN" in bulk.run(bulk.csv(10), "--write-key", "wk_wrong", code=1)["error"]


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Stack]:
    with fresh_stack() as stack:
        yield stack


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_an_export_imported_elsewhere_gives_the_same_traits(bulk: Bulk, elsewhere: Stack, ending: str) -> None:
    bulk.mapping()
    first = bulk.run(bulk.csv(500))
    bulk.settle(first["position"])
    out = bulk.folder / f"out.{ending}"
    gone, page = f"{bulk.mark}-gone", {"type": "page", "userId": f"{bulk.mark}-1", "name": "Home", "category": "Shop"}
    lines = "\n".join(json.dumps(event) for event in ({"type": "identify", "userId": gone, "traits": {"a": 1}}, page))
    bulk.settle(bulk.c360.json("events", "send", text=lines)["position"])
    bulk.c360.json("customer", "erase", f"user_id:{gone}", "--reason", "GDPR Art. 17", "--yes")
    assert json.loads(bulk.c360.run("export", bulk.name, "--to", str(out), "--json").stdout)["events"] == 502
    other = Bulk(elsewhere, bulk.folder)
    other.mark = bulk.mark
    (bulk.folder / "mapping.json").write_text(re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)[-1])
    result = other.run(out)
    assert (result["accepted"], result["skipped"]) == (501, 1)
    page = next(event for event in other.exported(result["position"]) if event["type"] == "page")
    assert (page["name"], page["category"]) == ("Home", "Shop")
    other.settle(result["position"])
    for person in ("1", "250", "500"):
        assert traits_of(other, person) == traits_of(bulk, person)


def traits_of(bulk: Bulk, person: str) -> dict[str, Any]:
    arguments = ("profile", "get", f"user_id:{bulk.mark}-{person}", "--purpose", "service")
    found: dict[str, Any] = bulk.c360.json(*arguments)["traits"]
    return {name: (trait["value"], trait["occur_time"]) for name, trait in found.items()}


@pytest.mark.parametrize("most", ["1", "7"])
def test_a_source_that_may_send_few_events_at_a_time_is_imported_and_sent_to(bulk: Bulk, most: str) -> None:
    rows = 40 if most == "1" else 2_000
    bulk.c360.run("sources", "update", bulk.name, "--max-batch-events", most)
    bulk.mapping()
    assert bulk.run(bulk.csv(rows))["accepted"] == rows
    lines = "\n".join(
        json.dumps({"type": "identify", "userId": f"{bulk.mark}-{n}", "traits": {"visits": -n}}) for n in range(1, 31)
    )
    sent = bulk.c360.json("events", "send", text=lines)
    assert (sent["accepted"], sent["rejected"]) == (30, 0)
    visits = [event["traits"]["visits"] for event in bulk.exported(sent["position"])]
    assert sorted(visits) == [*range(-30, 0), *range(1, rows + 1)]

"""What comes out: a source's events with all their clocks, as far as the purpose, each customer and erasures allow."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pyarrow
import pytest
from c360.profile.v1 import export_pb2, export_pb2_grpc
from pyarrow import parquet

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.live.command import TIMEOUT_S, Command

PERSONAL = ("name", "category", "target_id", "properties", "traits", "context", "user_id", "anonymous_id", "resolved_by")


class Shop:
    """A source of its own, which sends and is exported."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.c360 = Command(stack.data_directory)
        self.name = f"shop-{uuid4().hex[:8]}"
        self.c360.environment["C360_WRITE_KEY"] = self.c360.json("sources", "create", self.name)["write_key"]
        self.mark = uuid4().hex[:8]
        self.folder = folder
        self.position = ""

    def send(self, *events: dict[str, Any]) -> None:
        text = "\n".join(json.dumps(event) for event in events)
        self.position = self.c360.json("events", "send", "-", text=text)["position"]

    def user(self, name: str) -> str:
        return f"{name}-{self.mark}"

    def export(self, *options: str, ending: str = "jsonl") -> list[dict[str, Any]]:
        path = self.folder / f"out.{ending}"
        fresh = ("--fresh", self.position) if self.position else ()
        told = json.loads(self.c360.run("export", self.name, "--to", str(path), "--force", *fresh, *options, "--json").stdout)
        self.withheld, self.redacted = told["withheld"], told["redacted"]
        found: list[dict[str, Any]]
        if ending == "parquet":
            found = parquet.read_table(path).to_pylist()
        else:
            found = [json.loads(line) for line in path.read_text().splitlines()]
        assert told["events"] == len(found)
        return found


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Shop:
    return Shop(stack, tmp_path)


def test_every_kind_of_event_comes_out_with_all_its_clocks(shop: Shop) -> None:
    user, happened = shop.user("ann"), "2026-03-03T10:02:11.000052Z"
    shop.send(
        {"type": "identify", "userId": user, "traits": {"plan": "gold", "email": None}, "timestamp": happened},
        {"type": "track", "userId": user, "event": "Bought", "properties": {"total": 12.5}, "context": {"ip": "::1"}},
        {"type": "page", "anonymousId": user, "name": "Home", "category": "Shop"},
        {"type": "group", "userId": user, "groupId": "g1", "traits": {"seats": 3}},
        {"type": "alias", "userId": user, "previousId": f"{user}-before"},
    )
    rows = {row["type"]: row for row in shop.export(ending="parquet")}
    assert set(rows) == {"identify", "track", "page", "group", "alias"}
    assert json.loads(rows["identify"]["traits"]) == {"plan": "gold", "email": None}
    assert rows["identify"]["original_at"] == rows["identify"]["occurred_at"] == datetime.fromisoformat(happened)
    assert (rows["track"]["name"], json.loads(rows["track"]["properties"])) == ("Bought", {"total": 12.5})
    assert json.loads(rows["track"]["context"])["ip"] == "::1"
    assert (rows["page"]["name"], rows["page"]["category"], rows["page"]["anonymous_id"]) == ("Home", "Shop", user)
    assert (rows["group"]["target_id"], json.loads(rows["group"]["traits"])) == ("g1", {"seats": 3})
    assert rows["alias"]["target_id"] == f"{user}-before"
    for row in rows.values():
        assert row["occurred_at"] <= row["received_at"] <= row["recorded_at"] <= datetime.now(UTC)
        assert not row["redacted"]
    assert rows["track"]["resolved_by"] == f"user_id:{user}"
    assert rows["track"]["properties"] is not None
    assert rows["track"]["traits"] is None
    schema = parquet.read_schema(shop.folder / "out.parquet")
    assert schema.field("recorded_at").type == pyarrow.timestamp("us", "UTC")


def test_other_sources_stay_out(shop: Shop, stack: Stack, tmp_path: Path) -> None:
    other = Shop(stack, tmp_path)
    other.send({"type": "track", "userId": shop.user("ann"), "event": "Elsewhere"})
    shop.send({"type": "track", "userId": shop.user("ann"), "event": "Here"})
    assert [row["name"] for row in shop.export()] == ["Here"]


def test_an_erased_customers_events_are_redacted(shop: Shop) -> None:
    erased, other = shop.user("canary"), shop.user("bob")
    shop.send(
        {"type": "identify", "userId": erased, "traits": {"first_name": erased}},
        {"type": "track", "userId": erased, "event": erased, "properties": {"note": erased}},
        {"type": "track", "userId": other, "event": "Seen"},
    )
    assert len(shop.export()) == 3
    why = ("--reason", "GDPR Art. 17", "--by", "privacy-desk", "--yes")
    shop.c360.json("customer", "erase", f"user_id:{erased}", *why, "--fresh", shop.position)
    rows = shop.export(ending="parquet")
    gone = [row for row in rows if row["redacted"]]
    assert sorted(row["type"] for row in gone) == ["identify", "track"]
    assert {row[column] for row in gone for column in PERSONAL} == {None}
    assert [row["name"] for row in rows if not row["redacted"]] == ["Seen"]
    assert (shop.redacted, shop.withheld) == (2, 0)
    assert erased.encode() not in (shop.folder / "out.parquet").read_bytes()


def test_who_does_not_permit_the_purpose_is_left_out_and_counted(shop: Shop) -> None:
    yes, no = (f"{shop.user(name)}@example.com" for name in ("yes", "no"))
    shop.send(*({"type": "identify", "userId": mail, "traits": {"email": mail, "secret_note": "x"}} for mail in (yes, no)))
    assert len(shop.export()) == 2
    shop.c360.json("consent", "grant", f"email:{yes}", "marketing")
    rows = shop.export("--purpose", "marketing")
    assert [row["traits"] for row in rows] == [{"email": yes}]
    assert shop.withheld == 1
    assert "context" not in rows[0]
    assert "user_id" not in rows[0]


def test_one_exports_end_is_the_next_ones_beginning(shop: Shop) -> None:
    for number in range(3):
        shop.send({"type": "track", "userId": shop.user(f"p{number}"), "event": f"n{number}"})
        shop.export()
    whole = shop.export()
    cuts = sorted(row["recorded_at"] for row in whole)
    parts = [shop.export("--until", cuts[1]), shop.export("--since", cuts[1], "--until", cuts[2]), shop.export("--since", cuts[2])]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert sorted(row["name"] for part in parts for row in part) == ["n0", "n1", "n2"]
    assert shop.export("--since", "now") == []


@pytest.mark.parametrize("reason", ["PURPOSE_UNKNOWN", "FORMAT_UNKNOWN"])
def test_an_export_that_fails_leaves_no_file(shop: Shop, reason: str) -> None:
    wrong = ("--purpose", "whim") if reason == "PURPOSE_UNKNOWN" else ("--format", "xml")
    to = shop.folder / "out.jsonl"
    code = 1 if reason == "PURPOSE_UNKNOWN" else 2
    assert reason in shop.c360.run("export", shop.name, "--to", str(to), *wrong, code=code).stderr
    assert list(shop.folder.iterdir()) == []


def test_a_source_that_is_not_there_is_refused_and_one_that_sent_nothing_is_empty(shop: Shop) -> None:
    to = shop.folder / "out.csv"
    assert "SOURCE_UNKNOWN" in shop.c360.run("export", "nosuch", "--to", str(to), code=1).stderr
    assert list(shop.folder.iterdir()) == []
    assert shop.export() == []


@pytest.fixture
def full_shop(shop: Shop) -> Shop:
    """With more events than fit between a server and a reader who doesn't read."""
    events = [
        {"type": "track", "userId": shop.user(f"p{number}"), "event": "Read", "properties": {"text": "x" * 25_000}}
        for number in range(1_500)
    ]
    shop.send(*events)
    shop.c360.run("profile", "get", f"user_id:{shop.user('p0')}", "-P", "service", "--fresh", shop.position, "--timeout", TIMEOUT_S)
    return shop


def test_exports_that_nobody_reads_wait_and_a_third_is_refused(full_shop: Shop, stack: Stack) -> None:
    request = export_pb2.ExportEventsRequest(source=full_shop.name, purpose="audit")
    with grpc.insecure_channel(stack.endpoints.profile) as channel:
        stub = export_pb2_grpc.ExportServiceStub(channel)
        waiting = [stub.ExportEvents(request) for _ in range(2)]
        begun = [len(next(call).events) for call in waiting]
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.ExportEvents(request))
        assert reason_of(refused.value) == "EXPORTS_BUSY"
        waiting.pop().cancel()
        assert begun[0] + sum(len(answer.events) for answer in waiting.pop()) == 1_500
    assert len(full_shop.export()) == 1_500


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_refused_export_says_why_and_nothing_else(shop: Shop, ending: str) -> None:
    path = shop.folder / f"out.{ending}"
    for arguments, reason in (("nope",), "SOURCE_UNKNOWN"), ((shop.name, "--purpose", "nope"), "PURPOSE_UNKNOWN"):
        told = shop.c360.run("export", *arguments, "--to", str(path), code=1).stderr
        assert told.startswith(f"{reason}: ")
        assert "Exception" not in told
    assert list(shop.folder.iterdir()) == []


def test_a_file_that_is_there_is_overwritten_only_when_told_to(shop: Shop) -> None:
    path = shop.folder / "out.jsonl"
    path.write_text("precious")
    assert shop.c360.run("export", shop.name, "--to", str(path), code=2).stderr.startswith("FILE_EXISTS: ")
    assert path.read_text() == "precious"
    shop.c360.run("export", shop.name, "--to", str(path), "--force")
    assert path.read_text() == ""


def test_what_is_odd_about_an_event_comes_out_with_it(shop: Shop) -> None:
    user = shop.user("ann")
    shop.send(
        {"type": "track", "userId": user, "event": "Old", "timestamp": "1999-01-01T00:00:00Z"},
        {"type": "track", "userId": user, "event": "New"},
    )
    assert {row["name"]: row["flags"] for row in shop.export(ending="parquet")} == {"Old": "CLOCK_FAR_PAST", "New": None}

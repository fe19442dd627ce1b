"""The data lake: what the log has, each row once, readable by DuckDB, whatever dies in between."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from c360.profile.v1 import export_pb2
from pyarrow import parquet

from services.cli.lake.directory import AFTER_MANIFEST, POINTS
from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.live.command import Command
from tests.stacks import fresh_stack
from tests.waiting import eventually

DAWN = "2026-03-03T06:00:00Z"
LAKE_PAGE = Path(__file__).parents[2] / "docs" / "lake.md"


class LakeShop:
    """A source of its own whose customers are found in a lake of its own."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.c360 = Command(stack.data_directory)
        self.mark = uuid4().hex[:8]
        self.name = f"lake-{self.mark}"
        self.c360.environment["C360_WRITE_KEY"] = self.c360.json("sources", "create", self.name)["write_key"]
        self.lake = folder / "lake"
        self.position = ""

    def send(self, *events: dict[str, Any]) -> None:
        text = "\n".join(json.dumps(event) for event in events)
        self.position = self.c360.json("events", "send", "-", text=text)["position"]

    def user(self, name: str) -> str:
        return f"{name}-{self.mark}"

    def export(self, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        fresh = ("--fresh", self.position) if self.position else ()
        return self.c360.run("lake", "export", str(self.lake), *fresh, *options, code=code)

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        """In the order of the log."""
        return self.ask(table, columns, "ORDER BY seq, log_position")

    def count(self, table: str) -> tuple[int, int]:
        """Rows, and how many are different."""
        found: tuple[int, int] = self.ask(table, "count(*), count(DISTINCT id)")[0]
        return found

    def ask(self, table: str, columns: str, order: str = "") -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {self.files(table)} WHERE event_source_id = '{self.name}' {order}"
        return duckdb.execute(query).fetchall()

    def files(self, table: str) -> str:
        return f"read_parquet('{self.lake}/{table}/*/*.parquet', union_by_name = true, hive_partitioning = true)"

    def holding(self, text: str) -> list[str]:
        """Where it stands: as plain bytes anywhere, which holds for names and statistics, or in a row."""
        everything = [path for path in self.lake.rglob("*") if path.is_file()]
        found = [str(path) for path in everything if text.encode() in str(path).encode() + path.read_bytes()]
        for path in self.lake.rglob("*.parquet"):
            if text in str(parquet.read_table(path, partitioning=None).to_pylist()):
                found.append(str(path))
        return found

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.lake / "manifest.json").read_text())
        return found


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Everything on servers of its own: what is in a lake, and its columns, depends on all that was ever sent."""
    with fresh_stack() as running:
        yield running


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> LakeShop:
    return LakeShop(stack, tmp_path)


def orders(shop: LakeShop, name: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "track",
            "userId": shop.user(f"{name}{number % 7}"),
            "event": "Order Completed",
            "properties": {"total": number + 0.5},
        }
        for number in range(count)
    ]


def test_every_kind_of_event_is_in_its_table(shop: LakeShop) -> None:
    user, happened = shop.user("ann"), "2026-03-03T10:02:11.000052Z"
    shop.send(
        {"type": "identify", "userId": user, "traits": {"plan": "gold", "address": {"city": "Bonn"}}, "timestamp": happened},
        {
            "type": "track",
            "userId": user,
            "event": "Order Completed",
            "properties": {"total": 12.5},
            "context": {"app": {"build": "7"}},
        },
        {"type": "page", "anonymousId": user, "name": "Home", "properties": {"path": "/"}},
        {"type": "screen", "userId": user, "name": "Basket"},
        {"type": "group", "userId": user, "groupId": "g1", "traits": {"seats": 3}},
        {"type": "alias", "userId": user, "previousId": f"{user}-before"},
    )
    shop.export()
    assert shop.rows("identifies", "user_id, plan, address_city, timestamp::TIMESTAMP::TEXT") == [
        (user, "gold", "Bonn", "2026-03-03 10:02:11.000052")
    ]
    assert shop.rows("tracks", "event, event_text, context_app_build") == [("order_completed", "Order Completed", "7")]
    assert shop.rows("order_completed", "total, properties") == [(12.5, '{"total":12.5}')]
    assert shop.rows("pages", "anonymous_id, name, path") == [(user, "Home", "/")]
    assert shop.rows("screens", "name") == [("Basket",)]
    assert shop.rows("groups", "group_id, seats") == [("g1", 3.0)]
    assert shop.rows("aliases", "previous_id") == [(f"{user}-before",)]
    assert shop.rows("tracks", "day = uuid_ts::DATE") == [(True,)]
    queries = re.findall(r"```sql\n(.*?)```", LAKE_PAGE.read_text(), re.DOTALL)
    assert len(queries) == 3
    for query in queries:
        assert duckdb.execute(query.replace("/data/lake", str(shop.lake))).fetchall()


def test_a_crash_at_any_point_loses_no_row_and_doubles_none(shop: LakeShop) -> None:
    shop.send(*orders(shop, "crash", 40))
    for point in POINTS:
        shop.c360.environment["C360_FAULT"] = f"{point}:2" if point.startswith("amid") else point
        shop.export(code=-signal.SIGKILL)
        assert point != AFTER_MANIFEST or shop.count("tracks") == (40, 40), "whoever reads it while it is down"
    del shop.c360.environment["C360_FAULT"]
    shop.send(*orders(shop, "later", 2))
    shop.export()
    assert shop.count("tracks") == shop.count("order_completed") == (42, 42)
    listed = {file["path"] for files in shop.manifest()["tables"].values() for file in files}
    assert listed == {str(path.relative_to(shop.lake)) for path in shop.lake.rglob("*.parquet")}
    assert not (shop.lake / ".staging").exists()


def test_who_follows_has_what_came_meanwhile_and_is_alone(shop: LakeShop, stack: Stack) -> None:
    shop.export()
    process = shop.c360.start("lake", "export", str(shop.lake), "--follow", "--every", "0.5", "--json")
    for round_number in (1, 2):
        shop.send(*orders(shop, "follow", 20))
        sent = (20 * round_number, 20 * round_number)
        eventually(lambda: (shop.lake / "order_completed").exists() and shop.count("order_completed") == sent)  # noqa: B023
        stack.kill("profile")
    stack.wait_ready("profile")
    assert shop.export(code=2).stderr.startswith("LAKE_BUSY: ")
    process.send_signal(signal.SIGINT)
    told = json.loads(process.communicate(timeout=30)[0])
    assert (process.returncode, told["events"] >= 20) == (0, True)


def test_a_lake_is_of_one_log_and_one_purpose(shop: LakeShop) -> None:
    shop.export()
    assert shop.export("--purpose", "service", code=2).stderr.startswith("LAKE_OF_ANOTHER_PURPOSE: ")
    manifest = shop.manifest()
    (shop.lake / "manifest.json").write_text(json.dumps(manifest | {"log": "customer360/elsewhere/profile"}))
    assert shop.export(code=2).stderr.startswith("LAKE_OF_ANOTHER_LOG: ")
    (shop.lake / "manifest.json").write_text(json.dumps(manifest | {"next_positions": {"0": 10**9}}))
    assert shop.export(code=1).stderr.startswith("LOG_SHORTER: ")
    (shop.lake / "manifest.json").unlink()
    assert shop.export(code=2).stderr.startswith("LAKE_NOT_EMPTY: ")


def test_merges_and_splits_are_rows_and_the_golden_traits_come_out_of_a_join(shop: LakeShop) -> None:
    one, other = shop.user("ann"), shop.user("bob")
    shop.send(
        {"type": "identify", "userId": one, "traits": {"plan": "free", "city": "Bonn"}, "timestamp": "2026-03-03T10:00:00Z"},
        {"type": "identify", "userId": other, "traits": {"plan": "gold", "email": f"{other}@example.com"}},
    )
    shop.export()
    triggered = f"SELECT triggering_event_type FROM {shop.files('id_graph_updates')} WHERE triggering_event_source_id = ?"
    assert duckdb.execute(triggered, [shop.name]).fetchall() == [("identify",), ("identify",)]
    alone = {name: golden(shop, f"user_id:{name}") for name in (one, other)}
    assert in_lake(shop, one) == alone[one]
    assert in_lake(shop, other) == alone[other]

    by = ("--by", "desk", "--reason", "ticket 4711")
    shop.position = shop.c360.json("identity", "merge", f"user_id:{one}", f"user_id:{other}", *by)["position"]
    shop.send({"type": "identify", "userId": other, "traits": {"tier": 3}})
    shop.export()
    merged = golden(shop, f"user_id:{one}")
    assert merged.keys() == {"plan", "city", "email", "tier"}
    assert in_lake(shop, one) == in_lake(shop, other) == merged

    shop.position = shop.c360.json("identity", "split", f"user_id:{one}", f"user_id:{other}", *by)["position"]
    shop.export()
    for name in (one, other):
        assert in_lake(shop, name) == golden(shop, f"user_id:{name}")
    assert in_lake(shop, one) == alone[one]
    paths = sorted((canonicals_of(shop, name) for name in (one, other)), key=len)
    (older,), (itself, merged_into, itself_again) = paths
    assert (merged_into, itself) == (older, itself_again)


def canonicals_of(shop: LakeShop, user: str) -> list[str]:
    """Who answered for the customer, one after the other."""
    customer = shop.c360.json("identity", "resolve", f"user_id:{user}")["customer_id"]
    query = f"SELECT canonical_segment_id FROM {shop.files('id_graph_updates')} WHERE segment_id = ? ORDER BY seq"
    return [found for (found,) in duckdb.execute(query, [customer]).fetchall()]


def golden(shop: LakeShop, person: str) -> dict[str, Any]:
    """As a read gives them now."""
    found = shop.c360.json("profile", "get", person, "--purpose", "audit", "--fresh", shop.position)
    return {name: trait["value"] for name, trait in found["traits"].items()}


def in_lake(shop: LakeShop, user: str) -> dict[str, Any]:
    """As a user of the lake finds them: who has the identifier, who answers for that customer, what is known of the one who does."""
    found = duckdb.execute(
        f"""WITH mapping AS (SELECT segment_id FROM {shop.files("external_id_mapping_updates")}
                             WHERE external_id_type = 'user_id' AND external_id_value = ? GROUP BY segment_id
                             HAVING NOT arg_max(unlinked, log_position)),
                 id_graph AS (SELECT segment_id, arg_max(canonical_segment_id, seq) AS canonical_segment_id
                              FROM {shop.files("id_graph_updates")} GROUP BY segment_id),
                 profile_traits AS (SELECT segment_id AS canonical_segment_id, arg_max(traits, seq) AS traits
                                    FROM {shop.files("profile_traits_updates")} GROUP BY segment_id)
            SELECT traits FROM mapping JOIN id_graph USING (segment_id) JOIN profile_traits USING (canonical_segment_id)""",
        [user],
    ).fetchall()
    ((traits,),) = found
    values: dict[str, Any] = json.loads(traits)
    return values


def test_nothing_is_left_of_the_erased_and_all_is_left_of_the_others(shop: LakeShop) -> None:
    erased, other = f"canary{shop.mark}", shop.user("bob")
    shop.send(
        {"type": "identify", "userId": erased, "traits": {f"name of {erased}": erased, "note": erased, "plan": "gold"}},
        {"type": "track", "userId": erased, "event": f"Bought {erased}", "properties": {erased: erased}, "context": {erased: 1}},
        {"type": "page", "userId": erased, "name": erased},
        {"type": "identify", "userId": other, "traits": {"plan": "free", "age": 40}},
        {"type": "page", "userId": other, "name": "Home"},
    )
    shop.export()
    assert shop.holding(erased)
    before = shop.count("identifies")
    why = ("--reason", "GDPR Art. 17", "--by", "privacy-desk", "--yes")
    shop.c360.json("customer", "erase", f"user_id:{erased}", *why, "--fresh", shop.position)
    shop.send({"type": "page", "userId": other, "name": "Again"})
    shop.c360.environment["C360_FAULT"] = AFTER_MANIFEST
    shop.export(code=-signal.SIGKILL)
    del shop.c360.environment["C360_FAULT"]
    shop.export()
    assert shop.holding(erased) == []
    assert before == (2, 2)
    assert shop.rows("identifies", "user_id, plan, age") == [(other, "free", 40.0)]
    assert shop.rows("pages", "user_id, name") == [(other, "Home"), (other, "Again")]
    assert in_lake(shop, other) == golden(shop, f"user_id:{other}")


def test_what_an_erased_customer_had_added_to_another_is_gone_with_it(shop: LakeShop) -> None:
    erased, other = f"canary{shop.mark}", shop.user("bob")
    shop.send(
        {"type": "identify", "userId": other, "traits": {"plan": "free"}},
        {"type": "identify", "userId": erased, "traits": {"city": erased}},
    )
    shop.send({"type": "page", "userId": other})
    by = ("--by", "desk", "--reason", "ticket 4711")
    shop.c360.json("identity", "merge", f"user_id:{erased}", f"user_id:{other}", *by, "--fresh", shop.position)
    shop.send({"type": "identify", "userId": other, "traits": {"tier": 3}})
    shop.export()
    assert in_lake(shop, other)["city"] == erased
    shop.position = shop.c360.json("identity", "split", f"user_id:{erased}", f"user_id:{other}", *by)["position"]
    shop.export()
    why = ("--reason", "GDPR Art. 17", "--by", "privacy-desk", "--yes")
    shop.c360.json("customer", "erase", f"user_id:{erased}", *why, "--fresh", shop.position)
    shop.send({"type": "page", "userId": other})
    shop.export()
    assert shop.holding(erased) == []
    assert in_lake(shop, other) == golden(shop, f"user_id:{other}") == {"plan": "free", "tier": 3}
    assert_as_if_begun_now(shop)


def assert_as_if_begun_now(shop: LakeShop) -> None:
    """A lake that was written in many runs, and taken people out of, is the one that one run gives."""
    anew = LakeShop.__new__(LakeShop)
    anew.__dict__ |= shop.__dict__ | {"lake": shop.lake.parent / "anew"}
    anew.export()
    shop.export()
    tables = {path.name for path in anew.lake.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert tables == {path.name for path in shop.lake.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for table in tables:
        both = [
            duckdb.execute(f"SELECT id, segment_id, seq, log_position FROM {one.files(table)} ORDER BY ALL").fetchall()
            for one in (shop, anew)
        ]
        assert both[0] == both[1], table


def test_who_does_not_permit_the_purpose_any_more_is_taken_out(shop: LakeShop) -> None:
    stays, goes = (f"{name}{shop.mark}@example.com" for name in ("stays", "goes"))

    def views(*mails: str) -> list[dict[str, Any]]:
        return [{"type": "identify", "userId": mail, "traits": {"email": mail, "secret_note": "x"}} for mail in mails]

    shop.c360.json("consent", "grant", f"email:{stays}", "marketing")
    shop.c360.json("consent", "grant", f"email:{goes}", "marketing")
    shop.send(*views(stays, goes))
    shop.export("--purpose", "marketing")
    assert sorted(shop.rows("identifies", "traits, context")) == [
        (json.dumps({"email": mail}).replace(" ", ""), None) for mail in (goes, stays)
    ]
    shop.c360.json("consent", "withdraw", f"email:{goes}", "marketing")
    shop.send(*views(goes))
    assert json.loads(shop.export("--purpose", "marketing", "--json").stdout)["no_longer_permitted"] == 1
    assert shop.holding(goes) == []
    assert shop.rows("identifies", "email") == [(stays,)]
    shop.c360.json("consent", "grant", f"email:{goes}", "marketing")
    shop.send(*views(goes))
    shop.export("--purpose", "marketing")
    assert sorted(shop.rows("identifies", "email")) == [(goes,), (stays,)], "from then on"


def test_an_export_that_is_interrupted_keeps_what_it_has_and_goes_on(shop: LakeShop) -> None:
    shop.send(*orders(shop, "many", 400))
    shop.c360.run("profile", "get", f"user_id:{shop.user('many1')}", "-P", "audit", "--fresh", shop.position)
    process = shop.c360.start("lake", "export", str(shop.lake))
    eventually((shop.lake / "manifest.json").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    shop.export()
    assert shop.count("order_completed") == (400, 400)


def test_other_rules_are_a_row_for_each_whom_they_change_and_for_nobody_else(shop: LakeShop, tmp_path: Path, stack: Stack) -> None:
    town, rules = f"town_{shop.mark}", tmp_path / "rules.json"
    moved, stayed = [shop.user(f"moved{number}") for number in range(8)], shop.user("stayed")
    shop.send(*({"type": "identify", "userId": user, "traits": {town: "Hull"}, "timestamp": DAWN} for user in (*moved, stayed)),
              *({"type": "identify", "userId": user, "traits": {town: "Kiel"}} for user in moved))  # fmt: skip
    shop.export()
    rules.write_text(json.dumps({"traits": {town: {"rule": "first"}}}))
    told = shop.c360.json("profile", "rules", "activate", str(rules), "--by", "us", "--reason", "to try")
    shop.c360.environment["C360_FAULT"] = AFTER_MANIFEST
    shop.export(code=-signal.SIGKILL)
    del shop.c360.environment["C360_FAULT"]
    shop.export()
    found = duckdb.execute(
        f"""SELECT triggering_event_name, json_extract_string(traits, '{town}'), count(*), bool_and(day = uuid_ts::DATE)
            FROM {shop.files("profile_traits_updates")}
            WHERE triggering_event_type = 'rules' AND json_exists(traits, '{town}') GROUP BY ALL"""
    ).fetchall()
    assert found == [(str(told["version"]), "Hull", 8, True)]
    assert in_lake(shop, moved[0]) == golden(shop, f"user_id:{moved[0]}") == {town: "Hull"}
    whole = changes(stack, export_pb2.ExportChangesRequest(purpose="audit"))
    amid = [one for one in whole if one.new_rules.place]
    assert amid[0].new_rules.looked_at_count < amid[-1].new_rules.looked_at_count
    for one in (amid[0], amid[-1]):
        request = export_pb2.ExportChangesRequest(
            purpose="audit", next_positions=one.next_positions, rules_place=one.new_rules.place
        )
        assert told_of(changes(stack, request)) == told_of(whole[whole.index(one) + 1 :]), "it goes on behind the place"


def test_what_was_made_of_less_than_all_says_so(shop: LakeShop, tmp_path: Path) -> None:
    rules, of = tmp_path / "rules.json", f"event.name == 'Cart {shop.mark}'"
    ever, lately = f"ever_{shop.mark}", f"lately_{shop.mark}"
    shop.send({"type": "identify", "userId": shop.user("few"), "traits": {"city": "Hull"}},
              *({"type": "track", "userId": shop.user("many"), "event": f"Cart {shop.mark}"} for _ in range(1_001)))  # fmt: skip
    counted = {"of": of, "aggregate": "count"}
    rules.write_text(json.dumps({"computed": {ever: counted, lately: counted | {"window": "30d"}}}))
    shop.c360.run("profile", "rules", "activate", str(rules), "--by", "us", "--reason", "windows")
    shop.send({"type": "track", "userId": shop.user("few"), "event": f"Cart {shop.mark}"})
    shop.export()
    found = duckdb.execute(
        f"""SELECT {ever}, {lately}, arg_max(cut_traits, seq) FROM {shop.files("profile_traits_updates")}
            WHERE {ever} > 0 GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
    assert found == [(1, 1, []), (1_001, 1_000, [lately])]
    assert in_lake(shop, shop.user("many")) == golden(shop, f"user_id:{shop.user('many')}")


def changes(stack: Stack, request: export_pb2.ExportChangesRequest) -> list[export_pb2.ExportChangesResponse]:
    with Platform(stack.endpoints) as platform:
        return list(platform.export.ExportChanges(request, timeout=60))


def told_of(responses: list[export_pb2.ExportChangesResponse]) -> list[export_pb2.ExportedChange]:
    return [change for response in responses for change in response.changes]


def test_what_time_or_a_confirmation_changes_is_a_row_of_its_own_once(shop: LakeShop, tmp_path: Path) -> None:
    rules = tmp_path / "rules.json"
    counted = {"orders": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "1s"}}
    rules.write_text(json.dumps({"traits": {"email": {"verified_first": True}}, "computed": counted}))
    shop.c360.run("profile", "rules", "activate", str(rules), "--by", "us", "--reason", "windows")
    user, first = shop.user("dee"), f"dee-{shop.mark}@example.com"
    shop.send({"type": "identify", "userId": user, "traits": {"email": first}})
    shop.send({"type": "track", "userId": user, "event": "Order Completed", "properties": {"total": 1}})
    shop.send({"type": "identify", "userId": user, "traits": {"email": f"new-{first}"}})
    customer = shop.c360.json("profile", "get", f"user_id:{user}", "--purpose", "audit", "--fresh", shop.position)["customer_id"]
    confirmed = shop.c360.json("consent", "grant", f"email:{first}", "marketing", "--method", "link", "--confirmed")["decision_id"]

    def rows() -> list[tuple[Any, ...]]:
        shop.export()
        found = f"SELECT traits, triggering_event_type, triggering_event_id FROM {shop.files('profile_traits_updates')}"
        return duckdb.execute(f"{found} WHERE segment_id = '{customer}' ORDER BY seq").fetchall()

    eventually(lambda: json.loads(rows()[-1][0]) == {"email": first, "orders": 0})
    told = rows()
    assert len(told) == len(set(told)), "each run tells it once"
    by = {(kind, cause) for _, kind, cause in told if kind in ("time", "confirmed")}
    assert by
    assert by <= {("time", None), ("confirmed", confirmed)}, "one a run and customer: the last"

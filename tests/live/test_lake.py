"""The data lake: what the log has, each row once, readable by DuckDB, whatever dies in between."""

import json
import signal
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest

from services.cli.lake.directory import POINTS
from services.stack.stack import Stack
from tests.live.command import Command
from tests.waiting import eventually


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
        files = f"read_parquet('{self.lake}/{table}/*/*.parquet', union_by_name = true, hive_partitioning = true)"
        return duckdb.sql(f"SELECT {columns} FROM {files} WHERE event_source_id = '{self.name}' {order}").fetchall()

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.lake / "manifest.json").read_text())
        return found


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


def test_a_crash_at_any_point_loses_no_row_and_doubles_none(shop: LakeShop) -> None:
    sent = 0
    for point in POINTS:
        shop.send(*orders(shop, "crash", 40))
        sent += 40
        shop.c360.environment["C360_FAULT"] = f"{point}:2" if point == POINTS[-1] else point
        shop.export(code=-signal.SIGKILL)
        del shop.c360.environment["C360_FAULT"]
        shop.export()
        assert shop.count("tracks") == shop.count("order_completed") == (sent, sent)
    shop.export()
    assert shop.count("tracks") == (sent, sent)
    listed = {file["path"] for files in shop.manifest()["tables"].values() for file in files}
    assert listed == {str(path.relative_to(shop.lake)) for path in shop.lake.rglob("*.parquet")}
    assert not (shop.lake / ".staging").exists()


def test_who_follows_has_what_came_meanwhile_and_is_alone(shop: LakeShop) -> None:
    shop.export()
    process = shop.c360.start("lake", "export", str(shop.lake), "--follow", "--every", "0.5", "--json")
    shop.send(*orders(shop, "follow", 20))
    eventually(lambda: (shop.lake / "order_completed").exists() and shop.count("order_completed") == (20, 20))
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

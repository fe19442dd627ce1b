"""Counts, from outside, what became of the events that were sent; and looks at the logs for gaps."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import LiteralString

import grpc
import psycopg
from c360.common.v1.common_pb2 import Position
from psycopg.conninfo import make_conninfo

from tests.e2e.client import TRY_AGAIN, Platform, by_id, by_identifier
from tests.e2e.system import System
from tests.e2e.traffic import Ledger

VISIBLE_DEADLINE_S = 60.0
SETTLE_POLL_S = 0.2
ALARMS = ('"level": "critical"', '"unforeseen error"')  # a service that ended by itself, or an answer without a reason
SCHEMAS = ("ingest", "identity", "profile", "consent")


@dataclass
class Tally:
    """`lost`: acknowledged and nowhere. `doubled`: seen more than once. `problems` holds what else is wrong."""

    sent: int
    acknowledged: int
    visible: int
    doubled: int
    lost: int
    customers: int
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"sent={self.sent} acknowledged={self.acknowledged} visible={self.visible} doubled={self.doubled} lost={self.lost}"

    @property
    def holds(self) -> bool:
        """Something was sent, all of it was answered in the end, and it is there once."""
        return self.doubled == self.lost == 0 < self.visible == self.acknowledged == self.sent and not self.problems


def merged(ledgers: Iterable[Ledger]) -> Ledger:
    whole = Ledger()
    for ledger in ledgers:
        whole.sent |= ledger.sent
        whole.acknowledged |= ledger.acknowledged
        whole.retries += ledger.retries
    return whole


def wait_visible(platform: Platform, write_key: str) -> None:
    """Returns when everything acknowledged so far can be read from identity and from profile."""
    give_up_at = time.monotonic() + VISIBLE_DEADLINE_S
    position: Position | None = None
    while True:
        try:
            position = position or platform.newest_position(write_key)
            _read_both(platform, position)
            return
        except grpc.RpcError as error:
            if error.code() not in TRY_AGAIN or time.monotonic() > give_up_at:
                raise
        time.sleep(SETTLE_POLL_S)


def _read_both(platform: Platform, position: Position) -> None:
    """Nobody has this identifier; what counts is that both have waited for the position before they say so."""
    for read in (
        lambda: platform.resolve("anonymous_id", "nobody-at-all", position),
        lambda: platform.get_profile(by_identifier("anonymous_id", "nobody-at-all"), "audit", position),
    ):
        try:
            read()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise


def count(platform: Platform, ledger: Ledger) -> Tally:
    """Reads the timeline of every customer that an event was sent for."""
    customers = {identifier: _customer_of(platform, identifier) for identifier in set(ledger.sent.values())}
    seen: Counter[str] = Counter()
    problems: list[str] = []
    for customer in sorted({customer for customer in customers.values() if customer}):
        markers = _markers(platform, customer)
        seen.update(markers)
        strays = [marker for marker in markers if marker in ledger.sent and customers[ledger.sent[marker]] != customer]
        problems += [f"{len(strays)} events of others are with customer {customer}"] if strays else []
        problems += _replay_differs(platform, customer)
    return Tally(
        sent=len(ledger.sent),
        acknowledged=len(ledger.acknowledged),
        visible=sum(1 for marker in ledger.sent if seen[marker]),
        doubled=sum(1 for marker in ledger.sent if seen[marker] > 1),
        lost=sum(1 for marker in ledger.acknowledged if not seen[marker]),
        customers=len(set(customers.values())),
        problems=problems,
    )


def _customer_of(platform: Platform, identifier: tuple[str, str]) -> str:
    """Empty when nobody has it: nothing of what was sent for it has arrived."""
    try:
        return platform.resolve(*identifier).customer_id
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return ""
        raise


def _markers(platform: Platform, customer: str) -> list[str]:
    entries = platform.get_timeline(by_id(customer), "audit", kinds=("tracked", "identified"))
    return [str(entry.details["marker"]) for entry in entries if "marker" in entry.details.fields]


def _replay_differs(platform: Platform, customer: str) -> list[str]:
    """The state served now and the one replayed from the log have to be the same."""
    served = platform.get_profile(by_id(customer), "audit")
    replayed = platform.get_profile(by_id(customer), "audit", known_at=datetime.now(UTC))
    same = (served.state_hash, served.version, served.customer_id) == (replayed.state_hash, replayed.version, replayed.customer_id)
    return [] if same else [f"customer {customer} is served otherwise than the log says"]


def gaps(stack: System) -> list[str]:
    """Where positions of a log, or versions of a stream in it, are not contiguous."""
    found = []
    with psycopg.connect(make_conninfo(stack.admin_url, dbname="c360")) as connection:
        for schema in SCHEMAS:
            rows = connection.execute(
                f"""SELECT partition, next_pos, count(pos), coalesce(min(pos), 0), coalesce(max(pos) + 1, 0)
                    FROM {schema}.partition_heads LEFT JOIN {schema}.events USING (partition) GROUP BY partition, next_pos"""
            ).fetchall()
            found += [
                f"{schema} partition {partition}: {held} events from {first} to {end}, head at {head}"
                for partition, head, held, first, end in rows
                if not (first == 0 and held == end == head)
            ]
            broken = connection.execute(
                f"SELECT count(*) FROM (SELECT FROM {schema}.events GROUP BY stream HAVING max(version) <> count(*)) AS gap"
            ).fetchone()
            found += [f"{schema}: {broken[0]} streams with a gap"] if broken and broken[0] else []
    return found


def scalar(stack: System, query: LiteralString) -> int:
    with psycopg.connect(make_conninfo(stack.admin_url, dbname="c360")) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def alarms(stack: System) -> list[str]:
    """A server that is killed is no reason for a service to give up, nor for an error that nobody foresaw."""
    found = []
    for process in stack.processes:
        found += [f"{process} logged {line}" for line in stack.log_lines(process) if any(alarm in line for alarm in ALARMS)]
    return found

"""Whatever happened, identity's tables are what its log tells; what isn't is found, and mended."""

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from services.identity import activating
from services.identity.domain.decision import Decide, Party
from services.identity.graph import resting
from services.identity.rebuild import Found, rebuild, told
from services.identity.tables import bounds
from services.identity.tables.expected import TABLES
from services.stack.stack import Stack
from shared.errors import Fenced
from shared.events.wire import RawEvent
from tests.live.identity_life import Life
from tests.live.test_identity import Store, event_of, partition_of_store, settle_behind, store
from tests.seeds import seeds

__all__ = ["store"]  # the fixture
# Of each table a column that the log tells of, and what somebody made of it.
TAMPERED = {
    "customers": "canonical = sha256('x')",
    "identifiers": "customer = sha256('x')",
    "merges": "other = sha256('x')",
    "former_links": "customer = sha256('x')",
    "decisions": "decided_by = 'nobody'",
    "spent_requests": "decision_id = sha256('x')",
    "proposals": "weight = 99",
    "suppressions": "erased_at = erased_at + 1",
    "erasures": "customer = sha256('x')",
    "holds": "placed_by = 'nobody'",
}


@pytest_asyncio.fixture
async def admin(servers: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    yield connection
    await connection.close()


async def rebuilt(store: Store, *, mend: bool = False) -> Found:
    return await rebuild(store.settings, mend=mend)


def differing(found: Found) -> set[str]:
    return {table.table for table in found.tables if not table.same}


@pytest.mark.parametrize("seed", range(4))
async def test_the_tables_are_what_the_log_tells_whatever_happened(store: Store, seed: int) -> None:
    await lived(store, Life(store, Random(seed)))


@pytest.mark.parametrize("seed", seeds(3))
async def test_the_tables_are_what_the_log_tells_while_rules_and_models_change(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small pages too, so that they are followed between everything else; processes die meanwhile."""
    if seed % 2:
        monkeypatch.setattr(activating, "PAGE_IDENTIFIERS", 7)
    if seed % 3:
        monkeypatch.setattr(bounds, "PAGE_UNSETTLED", 3)
    await lived(store, Life(store, Random(seed), ruled=True))


async def lived(store: Store, life: Life) -> None:
    parts = await store.parts()
    await parts.activator._record_shipped()
    await parts.model_activator.record_shipped()
    await life.live()
    found = await rebuilt(store)
    assert found.same, "\n".join([*told(found), *life.log])
    assert found.moved is not None
    assert found.position == await store.pool.fetchval("SELECT count(*) FROM events")
    again = await rebuilt(store)
    assert [table.digest for table in again.tables] == [table.digest for table in found.tables]


async def test_what_was_altered_is_found_and_mended(store: Store, admin: Any) -> None:
    """Each table in turn; whoever wrote before is fenced, and starts anew."""
    life = Life(store, Random(1))
    await life.live()
    parts, partition = await store.parts(), await partition_of_store(store.pool)
    before = {table.table: table.digest for table in (await rebuilt(store)).tables}
    tampered, questions = set(), await asked_now(store)
    for table, change in TAMPERED.items():
        query = f"UPDATE {table} SET {change} WHERE ctid = (SELECT min(ctid) FROM {table})"
        if (
            await admin.execute(query.replace(table, f"identity.{table}", 1).replace(f"FROM {table}", f"FROM identity.{table}"))
            == "UPDATE 1"
        ):
            tampered.add(table)
    assert tampered > {"customers", "identifiers", "merges", "decisions", "suppressions", "erasures"}
    found = await rebuilt(store)
    assert differing(found) == tampered
    assert all(table.missing == 1 for table in found.tables if not table.same)
    assert all(table.keys for table in found.tables if not table.same)
    assert (await rebuilt(store, mend=True)).mended
    with pytest.raises(Fenced):
        await parts.unifier.unify([event_of("1", user_id="ann")], 10_000, [])
    await life.settled()
    mended = await rebuilt(store)
    assert differing(mended) <= {"spent_requests"}, "a request too many is kept: its row can't be deleted"
    assert {table.table: table.digest for table in mended.tables if table.same} == {
        one: before[one] for one in before.keys() - differing(mended)
    }
    assert await partition_of_store(store.pool) == partition
    assert await asked_now(store) == questions


async def test_rows_that_are_lost_come_back_from_the_log(store: Store, admin: Any) -> None:
    life = Life(store, Random(3))
    await life.live()
    partition = await partition_of_store(store.pool)
    for table in TABLES:
        await admin.execute(f"DELETE FROM identity.{table} WHERE ctid IN (SELECT ctid FROM identity.{table} LIMIT 2)")
    assert (await rebuilt(store, mend=True)).mended
    await life.settled()
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
    assert await partition_of_store(store.pool) == partition


MATCHING = {
    "firstName": "Annegret",
    "lastName": "Castellani",
    "birthday": "1954-03-12",
    "address": {"street": "1 Lindenallee", "city": "Quedlinburg", "postal_code": "06484"},
}


def says(source: str, card: str, traits: dict[str, Any]) -> RawEvent:
    return msgspec.structs.replace(event_of(card[1:], traits=traits), source=source, external_ids=[("card", card)])


@pytest.mark.parametrize("lost", [["c0"], ["c1"], ["c2"], ["c0", "c2"], ["c0", "c1", "c2"]], ids="-".join)
async def test_whom_nothing_joins_that_was_seen_is_one_with_the_others_when_her_row_was_lost(
    store: Store, admin: Any, lost: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two were never seen together and match; the third was joined by hand. They are settled one by one."""
    parts = await store.parts()
    await parts.unifier.unify([says("web", "c0", MATCHING), says("desk", "c1", MATCHING), says("web", "c2", {})], 1, [])
    while await parts.matcher.step():
        pass
    ends = [Party(value_hash=store.hash_of("card", card)) for card in ("c0", "c2")]
    await parts.decider.decide(Decide(request_id="m", act="merge", one=ends[0], other=ends[1], decided_by="desk", reason="seen"))
    partition = await partition_of_store(store.pool)
    assert [len(group) for group in partition] == [3]
    gone = [store.hash_of("card", card) for card in lost]
    recorded = "SELECT value_hash, recorded_by FROM identifiers ORDER BY 1"
    before = await store.pool.fetch(recorded)
    await admin.execute("DELETE FROM identity.identifiers WHERE value_hash = ANY($1)", gone)
    assert (await rebuilt(store, mend=True)).mended
    monkeypatch.setattr(bounds, "PAGE_UNSETTLED", 1)
    await settle_behind(await store.parts())
    found = await rebuilt(store)
    assert found.same, "\n".join(told(found))
    assert found.moved is not None
    assert await partition_of_store(store.pool) == partition
    assert await store.pool.fetch(recorded) == before


async def test_a_question_that_was_never_put_or_for_something_else_is_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two that are asked about is withdrawn without a reason; of two others nobody is asked."""
    unifier = await store.unifier()
    await unifier.unify([event_of(str(n), user_id=f"u{n}", traits={"email": "shared@x.example"}) for n in range(2)], 1, [])
    assert (await rebuilt(store)).same
    assert len(await asked_now(store)) == 1
    with monkeypatch.context() as patched:
        patched.setattr(resting, "questions", lambda *_: {})
        again = [
            event_of(str(20 + n), user_id=f"u{n}", traits={"email": "shared@x.example", "phone": f"+4930123450{n}"})
            for n in range(2)
        ]
        others = [event_of(str(10 + n), user_id=f"v{n}", traits={"email": "other@x.example"}) for n in range(2)]
        await unifier.unify([*again, *others], 2, [])
    found = await rebuilt(store)
    assert not found.same
    assert (found.questions, len(await asked_now(store))) == (2, 0)
    assert "2 questions" in "\n".join(told(found))


async def test_whom_nobody_decided_in_time_is_no_question_that_is_missing(store: Store) -> None:
    parts = await store.parts()
    await parts.unifier.unify([event_of(str(n), user_id=f"u{n}", traits={"email": "shared@x.example"}) for n in range(2)], 1, [])
    assert await store.expiry(parts).expire() == 1
    await settle_behind(parts)
    assert (await rebuilt(store)).same


async def asked_now(store: Store) -> set[tuple[object, ...]]:
    rows = await store.pool.fetch(
        "SELECT proposal_id, customer, other, reason, cause, weight, doubts FROM proposals WHERE state = 'open'"
    )
    return {tuple(tuple(one) if isinstance(one, list) else one for one in row) for row in rows}

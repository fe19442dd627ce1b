"""What people decide about somebody with whom too much hangs together for a turn: nobody else waits for it, and it comes to the same."""

import asyncio
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from services.identity import beside
from services.identity.composition import Parts
from services.identity.domain.decision import Decide, Made, Party
from services.identity.domain.erasure import EraseCustomer
from services.identity.graph import region
from services.identity.graph_writer import GraphWriter
from services.identity.rebuild import rebuild, told
from shared.errors import CustomerError, WrongState
from shared.events.wire import RawEvent
from tests.live.test_identity import Store, event_of, partition_of_store, settle_behind, store

__all__ = ["store"]  # the fixture


def of_many(user: str, first: int) -> list[RawEvent]:
    return [event_of(str(first + n), user_id=user, traits={"email": f"{user}.{n}@x.example"}) for n in range(4)]


async def two_people(store: Store, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Each of too many identifiers for a turn."""
    monkeypatch.setattr(GraphWriter, "most", 2)
    parts = await store.parts()
    await parts.unifier.unify([*of_many("u1", 1), *of_many("u2", 11)], 1, [])
    await settle_behind(parts)
    assert len(await partition_of_store(store.pool)) == 2
    return parts


def asked(store: Store, act: Any, request_id: str = "r") -> Decide:
    ends = [Party(value_hash=store.hash_of("user_id", user)) for user in ("u1", "u2")]
    return Decide(request_id=request_id, act=act, one=ends[0], other=ends[1], decided_by="desk", reason="looked at it")


class Looking:
    """What is looked at beside the writer waits until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, where: ModuleType = beside) -> None:
        self.begun, self._go_on, self._loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
        self.go_on: Callable[[], None] = self._go_on.set
        monkeypatch.setattr(where, "look", self._look)

    def _look(self, *arguments: Any) -> region.Looked:
        self._loop.call_soon_threadsafe(self.begun.set)
        self._go_on.wait()
        return region.look(*arguments)


async def check(store: Store, parts: Parts, groups: int) -> None:
    await settle_behind(parts)
    assert len(await partition_of_store(store.pool)) == groups
    found = await rebuild(store.settings, mend=False)
    assert found.moved is not None
    assert found.same, "\n".join(told(found))


async def test_it_is_made_and_taken_back_as_any_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await two_people(store, monkeypatch)
    before = await partition_of_store(store.pool)
    merged = await parts.decider.decide(asked(store, "merge"))
    await check(store, parts, 1)
    assert (await parts.decider.decide(asked(store, "merge"))).decision == merged.decision, "asked again"
    with pytest.raises(WrongState, match="one customer already"):
        await parts.decider.decide(asked(store, "merge", "again"))
    await parts.decider.withdraw("back", merged.decision.decision_id, "desk", "a mistake")
    await check(store, parts, 2)
    assert await partition_of_store(store.pool) == before


async def test_while_it_is_looked_at_events_go_on_and_those_of_the_two_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await two_people(store, monkeypatch)
    looking = Looking(monkeypatch)
    deciding = asyncio.create_task(parts.decider.decide(asked(store, "merge")))
    await looking.begun.wait()
    ann = event_of("9000", user_id="ann", traits={"email": "ann@y.example"})
    hers = event_of("9001", user_id="u1", traits={"phone": "+4915100000000"})
    await parts.unifier.unify([ann, hers], 2, [])
    assert await store.members("user_id", "ann") == await store.members("email", "ann@y.example") != []
    assert await store.members("phone", "+4915100000000") == []
    assert not deciding.done()
    looking.go_on()
    await deciding
    await check(store, parts, 2)
    assert await store.members("user_id", "u1") == await store.members("phone", "+4915100000000")


async def test_asked_twice_at_once_it_is_decided_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await two_people(store, monkeypatch)
    both: list[Made] = await asyncio.gather(*[parts.decider.decide(asked(store, "forbid")) for _ in range(2)])
    assert both[0].decision == both[1].decision
    with pytest.raises(WrongState, match="decided before"):
        await parts.decider.decide(asked(store, "forbid", "again"))
    await check(store, parts, 2)


async def test_what_is_always_touched_while_it_is_looked_at_is_decided_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, looks = await two_people(store, monkeypatch), 0

    def look(*arguments: Any) -> region.Looked:
        nonlocal looks
        looks += 1
        parts.unifier.forget()
        return region.look(*arguments)

    monkeypatch.setattr(beside, "look", look)
    await parts.decider.decide(asked(store, "merge"))
    assert looks == beside.MOST_IN_VAIN
    await check(store, parts, 1)


async def test_what_was_erased_meanwhile_is_not_decided_about(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = await two_people(store, monkeypatch)
    looking = Looking(monkeypatch)
    deciding = asyncio.create_task(parts.decider.decide(asked(store, "merge")))
    await looking.begun.wait()
    [customer] = await store.members("user_id", "u2")
    command = EraseCustomer(request_id="e", policy="refuse", reason="asked", requested_by="desk", customer=customer, identifier=b"")
    await parts.eraser._begin(await parts.eraser.erase(command))
    looking.go_on()
    with pytest.raises(CustomerError):
        await deciding
    assert await store.pool.fetchval("SELECT count(*) FROM decisions") == 0

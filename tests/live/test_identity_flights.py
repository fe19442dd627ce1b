"""What begins to be looked at beside the writer while a unit is being committed, and whatever comes until it is written: log and tables agree."""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from services.identity import beside, ruled_pages, settling
from services.identity.composition import Parts
from services.identity.domain.decision import Decide, Party
from services.identity.domain.rules_document import read
from services.identity.graph import region
from services.identity.graph_writer import GraphWriter
from services.identity.rebuild import rebuild, told
from shared.errors import CustomerError
from shared.events import customer as events
from shared.events.wire import RawEvent
from shared.log import LogReader
from shared.parked import Parked
from tests.live.test_identity import Store, event_of, settle_behind, store
from tests.live.test_identity_rules import activate
from tests.seeds import seeds

__all__ = ["store"]  # the fixture
ONE_ADDRESS = """{"namespaces": [{"name": "user_id", "limit": 1}, {"name": "email", "limit": 1}, {"name": "*"}]}"""
SOON_S = 1.0  # in which a look begins that waits for nothing


class Committing:
    """A unit that has written its views, and is committed when it may be."""

    def __init__(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written, self.go_on = asyncio.Event(), asyncio.Event()
        self._put = parts.ledger.parked.put
        monkeypatch.setattr(parts.ledger.parked, "put", self._written)

    async def _written(self, connection: Any, parked: Sequence[Parked]) -> None:
        self.written.set()
        await self.go_on.wait()
        await self._put(connection, parked)


def link(number: int, user: str | None = None) -> RawEvent:
    traits = {"email": f"m{(number + 1) // 2}@x.example", "phone": f"+49151{number // 2:08d}"}
    return event_of(str(number + 1), user_id=user, anonymous_id=f"device-{number}", traits=traits)


async def check(store: Store, parts: Parts) -> None:
    while await parts.activator._resettle_page():
        pass
    await settle_behind(parts)
    records = [record.entry for record in await LogReader(store.pool).partition(0, 0, 100_000)]
    ended = {entry.public().link_id for entry in records if entry.type_id == events.UNLINKED.id}
    linked = [e.public().value_hash for e in records if e.type_id == events.LINKED.id and e.event_id not in ended]
    assert len(linked) == len(set(linked)), "each is linked once"
    found = await rebuild(store.settings, mend=False)
    assert found.moved is not None, "\n".join(told(found))
    assert found.same, "\n".join(told(found))


@pytest.mark.parametrize("what", ["waiting", "rules"])
async def test_what_is_being_committed_when_a_look_begins_is_in_the_look(
    store: Store, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(GraphWriter, "most", 8)
    parts = await store.parts()
    people = [event_of(str(n), user_id=user, traits={"email": f"{user}.{n % 4}@x.example"}) for n, user in enumerate(8 * ["u"])]
    await parts.unifier.unify([*people, *[link(n) for n in range(100, 102)]], 1, [])
    await settle_behind(parts)
    monkeypatch.setattr(GraphWriter, "most", 4)
    if what == "rules":
        await activate(store, read(ONE_ADDRESS, store.vault.lookup_key), "one address")
        parts = await store.parts()
    else:
        await parts.unifier.unify([link(n) for n in range(102, 104)], 2, [])
        assert await store.pool.fetchval("SELECT count(*) FROM waiting_sightings"), "something waits"
    begun, committing = asyncio.Event(), Committing(parts, monkeypatch)
    loop = asyncio.get_running_loop()

    def look(*arguments: Any) -> region.Looked:
        loop.call_soon_threadsafe(begun.set)
        return region.look(*arguments)

    monkeypatch.setattr(settling, "look", look)
    monkeypatch.setattr(ruled_pages, "look", look)
    async with parts.unifier.graph.beside:
        monkeypatch.setattr(GraphWriter, "most", 1)
        step = asyncio.create_task(parts.settler.step() if what == "waiting" else parts.activator._resettle_page())
        await asyncio.sleep(0)
        async with parts.ledger.turn():
            monkeypatch.setattr(GraphWriter, "most", 100)  # a page was found to be too large for its turn
        unit = asyncio.create_task(parts.unifier.unify([link(n, "v") for n in range(100, 108)], 3, []))
        await committing.written.wait()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(begun.wait(), SOON_S)
    committing.go_on.set()
    await asyncio.gather(unit, step)
    await check(store, parts)


@pytest.mark.parametrize("seed", seeds(4))
async def test_whatever_comes_while_it_is_looked_at_the_log_tells_what_the_tables_have(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Units, what waits, decisions and new rules all at once, each now and then held up."""
    random = Random(seed)
    monkeypatch.setattr(GraphWriter, "most", 6)
    parts = await store.parts()
    users = [n for n in range(60) if n % 5 == 2]
    links = [link(n, f"u{n}" if n in users else None) for n in range(60)]
    await parts.unifier.unify(links[:30], 1, [])
    await settle_behind(parts)
    await activate(store, read(ONE_ADDRESS, store.vault.lookup_key), "one address")
    parts, loop = await store.parts(), asyncio.get_running_loop()
    put = parts.ledger.parked.put

    async def held_up(connection: Any, parked: Sequence[Parked]) -> None:
        await put(connection, parked)
        await asyncio.sleep(random.random() * 0.05)

    def look(*arguments: Any) -> region.Looked:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(random.random() * 0.05), loop).result()
        return region.look(*arguments)

    monkeypatch.setattr(parts.ledger.parked, "put", held_up)
    for module in (settling, beside, ruled_pages):
        monkeypatch.setattr(module, "look", look)

    async def send() -> None:
        for sequence, n in enumerate(random.sample(range(10, 60), 50), 2):
            await parts.unifier.unify([links[n], link(n + 1000)], sequence, [])

    async def behind() -> None:
        while not sent.done():
            await parts.settler.step()
            await asyncio.sleep(0.01)

    async def decide() -> None:
        while not sent.done():
            one, other = (Party(value_hash=store.hash_of("user_id", f"u{n}")) for n in random.sample(users[:6], 2))
            asked = Decide(
                request_id=f"r{random.random()}", act=random.choice(["merge", "split"]), one=one, other=other,
                decided_by="desk", reason="looked at it", move_others=True,
            )  # fmt: skip
            with contextlib.suppress(CustomerError):
                await parts.decider.decide(asked)
            await asyncio.sleep(0.01)

    async def follow() -> None:
        while await parts.activator._resettle_page():
            pass

    sent = asyncio.create_task(send())
    await asyncio.gather(sent, behind(), decide(), follow())
    await check(store, parts)

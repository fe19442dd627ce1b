"""What hangs together with too much is settled by new rules beside the writer, and it comes to the same as in a turn."""

import asyncio
from typing import Any

import pytest

from services.identity import beside, ruled_pages
from services.identity.activating import ActivateRules, Activator
from services.identity.composition import Parts
from services.identity.domain.rules_document import read
from services.identity.graph import region
from services.identity.rebuild import rebuild, told
from services.identity.tables import resettling
from shared.ids import id_maker
from shared.instants import now_us
from tests.live.test_identity import Store, event_of, partition_of_store, settle_behind, store
from tests.live.test_identity_beside import Looking, two_people
from tests.live.test_identity_rules import activate

__all__ = ["store"]  # the fixture
# Who has several addresses is parted from all but one.
ONE_ADDRESS = """{"namespaces": [{"name": "user_id", "limit": 1}, {"name": "email", "limit": 1}, {"name": "*"}]}"""


async def to_follow(store: Store, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Two of four addresses each, which is too much for a turn, and rules that nothing follows yet."""
    await two_people(store, monkeypatch)
    await activate(store, read(ONE_ADDRESS, store.vault.lookup_key), "one address")
    return await store.parts()


async def followed(store: Store, parts: Parts) -> None:
    while await parts.activator._resettle_page():
        pass
    await settle_behind(parts)
    assert await resettling.under_way(store.pool) is None
    found = await rebuild(store.settings, mend=False)
    assert found.moved is not None
    assert found.same, "\n".join(told(found))


async def addresses(store: Store, user: str) -> int:
    """How many lead to the same customer as the user id."""
    hers = await store.members("user_id", user)
    found = [await store.members("email", f"{user}.{n}@x.example") for n in range(4)]
    assert all(found), "each names somebody"
    return found.count(hers)


async def test_while_a_page_is_looked_at_events_go_on_and_those_of_its_people_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = await to_follow(store, monkeypatch)
    looking = Looking(monkeypatch, ruled_pages)
    following = asyncio.create_task(parts.activator._resettle_page())
    await looking.begun.wait()
    ann = event_of("9000", user_id="ann", traits={"email": "ann@y.example"})
    hers = event_of("9001", user_id="u1", traits={"phone": "+4915100000000"})
    await parts.unifier.unify([ann, hers], 2, [])
    assert await store.members("user_id", "ann") == await store.members("email", "ann@y.example") != []
    assert await store.members("phone", "+4915100000000") == []
    assert not following.done()
    looking.go_on()
    assert await following
    await followed(store, parts)
    assert await store.members("user_id", "u1") == await store.members("phone", "+4915100000000")
    assert [await addresses(store, user) for user in ("u1", "u2")] == [1, 1]


async def test_what_is_always_touched_while_it_is_looked_at_follows_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, looks = await to_follow(store, monkeypatch), 0

    def look(*arguments: Any) -> region.Looked:
        nonlocal looks
        looks += 1
        parts.unifier.forget()
        return region.look(*arguments)

    monkeypatch.setattr(ruled_pages, "look", look)
    assert await parts.activator._resettle_page()
    assert looks == beside.MOST_IN_VAIN
    await followed(store, parts)
    assert [await addresses(store, user) for user in ("u1", "u2")] == [1, 1]


async def test_newer_rules_that_come_while_a_page_is_looked_at_begin_from_the_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = await to_follow(store, monkeypatch)
    before, looking = await partition_of_store(store.pool), Looking(monkeypatch, ruled_pages)
    following = asyncio.create_task(parts.activator._resettle_page())
    await looking.begun.wait()
    newer = Activator(store.pool, parts.ledger, parts.unifier.graph, parts.simulation.rules, now_us, id_maker(now_us))
    document = read(ONE_ADDRESS.replace('"email", "limit": 1', '"email", "limit": 2'), store.vault.lookup_key)
    command = ActivateRules(request_id="newer", document=document, reason="to try", activated_by="test")
    async for _ in newer.activate(command):
        pass
    looking.go_on()
    assert await following
    assert await partition_of_store(store.pool) == before
    await followed(store, parts)
    assert [await addresses(store, user) for user in ("u1", "u2")] == [2, 2]

"""A log that told a second customer for one identifier, through a bug that is mended: it is said by name, the newest counts, and nothing flips."""

from typing import Any

import pytest

from services.identity.composition import Parts
from services.identity.domain.erasure import EraseCustomer
from services.identity.rebuild import Found, told
from services.identity.tables import erasures, views
from shared.ids import to_text
from tests.live.test_identity import Store, event_of, partition_of_store, settle_behind, store
from tests.live.test_identity_rebuild import admin, differing, rebuilt

__all__ = ["admin", "store"]  # fixtures
BLANKED = """UPDATE identity.identifiers SET customer = NULL, link_id = NULL, own = false, resolving = false, said_in = NULL
             WHERE value_hash = $1"""


async def customer_of(store: Store, namespace: str, value: str) -> bytes:
    found = await views.resolve(store.pool, store.hash_of(namespace, value))
    assert found is not None
    return found.customer


async def linked_twice(store: Store, admin: Any, *, merged: bool) -> tuple[Parts, bytes, bytes]:
    """A browser that ann uses, or nobody known, is founded anew, since its row was lost; the process, and what it founded before and now."""
    parts = await store.parts()
    await parts.unifier.unify([event_of("1", anonymous_id="browser")], 1, [])
    if merged:
        ann = [
            event_of("2", user_id="ann", anonymous_id="browser"),
            event_of("3", user_id="ann", traits={"email": "ann@x.example"}),
        ]
        await parts.unifier.unify(ann, 2, [])
    before = await customer_of(store, "anonymous_id", "browser")
    await admin.execute(BLANKED, store.hash_of("anonymous_id", "browser"))
    parts = await store.parts()
    await parts.unifier.unify([event_of("4", anonymous_id="browser")], 3, [])
    return parts, before, await customer_of(store, "anonymous_id", "browser")


async def mended(store: Store) -> Found:
    """Until nothing is left that mending could mend."""
    await rebuilt(store, mend=True)
    await settle_behind(await store.parts())
    return await rebuilt(store, mend=True)


@pytest.mark.parametrize("merged", [False, True], ids=["alone", "merged"])
async def test_a_second_look_mends_nothing_and_tells_who_was_linked_twice(store: Store, admin: Any, merged: bool) -> None:
    _, before, now = await linked_twice(store, admin, merged=merged)
    assert before != now
    found = await mended(store)
    assert (found.same, found.mended) == (True, False), "\n".join(told(found))
    assert found.moved is not None
    [double] = found.doubles
    assert (double.value_hash, double.former, double.customer) == (store.hash_of("anonymous_id", "browser"), [before], now)
    lines = "\n".join(told(found))
    assert to_text(before) in lines
    assert to_text(now) in lines
    assert await customer_of(store, "anonymous_id", "browser") == now


async def test_who_lost_its_founder_is_in_no_merge_any_more(store: Store, admin: Any) -> None:
    parts, before, now = await linked_twice(store, admin, merged=True)
    await parts.unifier.unify([event_of("5", user_id="ann", anonymous_id="browser", traits={"phone": "+4915112345001"})], 4, [])
    await mended(store)
    assert await views.members(store.pool, before) == [before]
    ann = store.hash_of("user_id", "ann")
    assert {len(group) for group in await partition_of_store(store.pool) if ann in group} == {4}
    assert now in await store.members("user_id", "ann")
    assert before not in await store.members("user_id", "ann")


async def test_an_altered_row_beside_it_is_mended_and_the_double_stays_told(store: Store, admin: Any) -> None:
    await linked_twice(store, admin, merged=True)
    await mended(store)
    await admin.execute(
        "UPDATE identity.identifiers SET customer = sha256('x') WHERE value_hash = $1", store.hash_of("user_id", "ann")
    )
    assert differing(await rebuilt(store)) == {"identifiers"}
    found = await mended(store)
    assert (found.same, found.mended, len(found.doubles)) == (True, False, 1), "\n".join(told(found))


async def test_each_of_the_two_is_erased_by_its_id_and_the_log_brings_neither_back(store: Store, admin: Any) -> None:
    parts, before, now = await linked_twice(store, admin, merged=False)
    await mended(store)
    parts = await store.parts()
    for customer in (now, before):
        asked = EraseCustomer(
            request_id=to_text(customer), customer=customer, policy="start_clean", reason="asked", requested_by="desk"
        )
        erasure = await parts.eraser._begin(await parts.eraser.erase(asked))
        await parts.eraser._destroy_keys(erasure)
        found = await mended(store)
        assert (found.same, found.mended, found.doubles) == (True, False, []), "\n".join(told(found))
        parts = await store.parts()
    assert await erasures.erased_among(store.pool, [before, now]) == {before, now}

"""A database that was restored from an older backup than the vault knows customers that were erased since, whose keys are gone."""

import asyncio

import psycopg
import pytest
from nats.aio.client import Client

from services.identity.epochs import Epochs
from services.identity.erasing import Eraser
from services.identity.tables import erasures
from services.stack.stack import Stack
from shared.events import customer as events
from shared.ids import id_maker
from shared.instants import now_us
from shared.waiting import end
from tests.live import test_erasure_isolated, test_identity
from tests.live.test_erasure_isolated import LONG_AGO, TIMEOUT_S, Services
from tests.live.test_identity import Store, event_of

store, client, keyring = test_identity.store, test_erasure_isolated.client, test_erasure_isolated.keyring


async def erased_after_the_backup(store: Store, *users: str) -> list[bytes]:
    """Those customers of these people that were founded by their names."""
    gone = []
    for user in users:
        found = await store.pool.fetchval("SELECT customer FROM identifiers WHERE value_hash = $1", store.hash_of("user_id", user))
        gone.append(found)
    await store.vault.destroy(gone, now_us())
    return gone


async def carried_through(store: Store, client: Client, erased: list[bytes]) -> None:
    """As identity does at its start, with all that is left to settle."""
    unifier, _, ledger = await store.started()
    await Services(client).start()  # identity's own account may ask its peers, and not answer for them
    epochs = Epochs(store.client, ledger, store.vault, lambda: LONG_AGO)
    eraser = Eraser(
        store.pool,
        store.client,
        ledger,
        store.vault,
        epochs,
        store.keyring,
        unifier.graph,
        unifier.forget,
        now_us,
        id_maker(now_us),
    )
    running = asyncio.ensure_future(eraser.run())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while await erasures.erased_among(store.pool, erased) != set(erased) or await erasures.unfinished(store.pool):
                assert not running.done(), running.exception()
            unsettled = True
            while unsettled:
                unsettled = await store.pool.fetchval("SELECT EXISTS (SELECT FROM unsettled)")
    finally:
        await end([running])


async def test_a_key_that_the_vault_never_had_is_no_erasure(servers: Stack, store: Store) -> None:
    """The vault is the older one: what is said of who was founded since waits."""
    await (await store.unifier()).unify([event_of("1", user_id="ann")], 1, [])
    with psycopg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360_vault") as vault:
        vault.execute(
            "DELETE FROM vault.data_keys WHERE wrapped IS NOT NULL AND owner = ANY(%s)", [await store.members("user_id", "ann")]
        )
    store.vault.forget_all()
    await (await store.unifier()).unify([event_of("2", user_id="ann"), event_of("3", user_id="bea")], 2, [])
    assert await store.pool.fetchval("SELECT array_agg(reason) FROM parked") == ["CUSTOMER_KEY_LOST"]
    assert await store.members("user_id", "bea")


@pytest.mark.parametrize("first", ["events", "the start"])
async def test_who_was_erased_after_the_backup_is_refused_and_erased_again(store: Store, client: Client, first: str) -> None:
    unifier = await store.unifier()
    mail = {"email": "ann@x.example"}
    await unifier.unify([event_of("1", user_id="ann", traits=mail), event_of("2", user_id="bea")], 1, [])
    gone = await erased_after_the_backup(store, "ann")
    if first == "the start":
        await carried_through(store, client, gone)
    unifier = await store.unifier()
    hers = [
        event_of("3", user_id="ann"),
        event_of("4", user_id="ann", traits={"phone": "+4915112345001"}),
        event_of("5", traits=mail),
    ]
    await unifier.unify([*hers, event_of("6", user_id="bea", traits={"email": "bea@x.example"})], 2, [])
    assert await store.members("email", "bea@x.example") == await store.members("user_id", "bea") != []
    assert not await store.members("phone", "+4915112345001")
    assert await store.pool.fetchval("SELECT count(*) FROM parked") == 0
    await carried_through(store, client, gone)
    await (await store.unifier()).unify([event_of("7", user_id="ann")], 3, [])
    assert not await store.members("user_id", "ann")
    assert await store.pool.fetchval("SELECT count(*) FROM customers") == 2
    assert not await store.vault.keys(gone)


async def test_who_had_been_split_from_the_erased_stays(store: Store, client: Client) -> None:
    """The backup has them as one: Ann's name is the oldest, and Bea's and Cem's are merged through her."""
    unifier = await store.unifier()
    pairs = [
        ("1", "ann", "a", None),
        ("2", None, "b", {"email": "x@x.example"}),
        ("3", "ann", "b", None),
        ("4", None, "c", None),
        ("5", "ann", "c", None),
    ]
    for number, user, device, traits in pairs:
        await unifier.unify([event_of(number, user_id=user, anonymous_id=device, traits=traits or {})], int(number), [])
    cluster = await store.members("user_id", "ann")
    [gone] = await erased_after_the_backup(store, "ann")
    stay = [customer for customer in cluster if customer != gone]
    assert len(stay) == 2
    await carried_through(store, client, [gone])
    assert (await store.vault.keys(stay)).keys() == set(stay)
    assert not await erasures.erased_among(store.pool, stay)
    for customer in stay:
        assert gone not in [
            row["customer"] for row in await store.pool.fetch("SELECT customer FROM customers WHERE canonical = $1", customer)
        ]
        told = await store.pool.fetch("SELECT type_id FROM events WHERE stream = $1", customer)
        assert events.SPLIT.id in {row["type_id"] for row in told}
    unifier = await store.unifier()
    await unifier.unify([event_of("6", anonymous_id="b")], 6, [])
    later = await store.members("anonymous_id", "b")
    assert later == await store.members("email", "x@x.example")
    assert len({*later, *stay, gone}) == len(later) + 2, "Bea's alone"

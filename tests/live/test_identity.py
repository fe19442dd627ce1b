"""Identity's writer on a real PostgreSQL decides as the pure domain does, whatever the units, restarts and repetitions."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from nats.aio.client import Client

from services.identity import follow
from services.identity.app import Unifier
from services.identity.composition import IdentitySettings, Parts, compose
from services.identity.deciding import Decider
from services.identity.domain.decision import Act, Decide, Party
from services.identity.domain.sighting import Named, Sighting, Suppression, admit
from services.identity.graph.facts import Facts, pair
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.ledger import Ledger
from services.identity.matching.blocking import MAX_BLOCK_RECORDS
from services.identity.reviewing import Expiry
from services.identity.tables import bounds, erasures, views
from services.identity.tables.leftovers import leftovers
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.errors import InvalidInput, WrongState
from shared.events import customer as events
from shared.events.promotion import identifiers_of
from shared.events.wire import RawEvent, decode_unit
from shared.identifiers import Identifier, hash_of, normalise
from shared.ids import id_maker
from shared.instants import DAY, now_us
from shared.log import LogReader
from shared.parked import ParkedTable
from shared.poison import Poison
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault
from tests.emptying import empty_log


@dataclass
class Store:
    settings: IdentitySettings
    pool: Any
    vault: Vault
    keyring: FileKeyring
    client: Client

    async def unifier(self) -> Unifier:
        """A process that has just started."""
        return (await self.started())[0]

    def hash_of(self, namespace: str, value: str) -> bytes:
        return hash_of(normalise(namespace, value), self.vault.lookup_key)

    async def members(self, namespace: str, value: str) -> list[bytes]:
        """The customers of whom this identifier leads to; none when it leads nowhere."""
        found = await views.resolve(self.pool, self.hash_of(namespace, value))
        return await views.members(self.pool, found.customer) if found else []

    async def started(self) -> tuple[Unifier, Decider, Ledger]:
        parts = await self.parts()
        return parts.unifier, parts.decider, parts.ledger

    async def parts(self, block_records: int = MAX_BLOCK_RECORDS) -> Parts:
        parts = compose(self.settings, self.pool, self.vault, self.keyring, self.client, block_records)
        await parts.unifier.load()
        return parts

    def expiry(self, parts: Parts, later_us: int = 91 * DAY) -> Expiry:
        """Of what waits for 90 days, as of later."""
        return Expiry(self.pool, parts.ledger, 90, lambda: now_us() + later_us, id_maker(now_us), parts.settler.tell)


async def settle_behind(parts: Parts) -> None:
    while await parts.settler.step():
        pass


@pytest.fixture
async def store(servers: Stack) -> AsyncIterator[Store]:
    environment = servers.environment_of("identity")
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    await empty_log(admin, "identity")
    await admin.close()
    settings = read_settings(IdentitySettings, environment)
    pool = await open_pool(settings.database_url, "identity")
    vault_pool = await open_pool(settings.vault_url, "vault")
    keyring = FileKeyring(Path(settings.keyring_file))
    client = await bus.connect(settings.nats_url, "test")
    yield Store(settings, pool, Vault(vault_pool, keyring), keyring, client)
    await client.close()
    await pool.close()
    await vault_pool.close()


def traffic(random: Random, amount: int) -> list[RawEvent]:
    """People with several devices, a shared tablet, and a family mailbox now and then."""
    made = []
    for number in range(amount):
        person = random.randrange(12)
        device = random.choice([f"device-{person}-{random.randrange(3)}", f"device-{person}-0", "family-tablet"])
        known = random.random() < 0.5
        traits = {"email": random.choice([f"p{person}@shop.example", "family@shop.example"])} if random.random() < 0.3 else {}
        made.append(
            RawEvent(
                kind="identify",
                message_id=f"message-{number}",
                source="web",
                user_id=f"user-{person}" if known else None,
                anonymous_id=device if not known or random.random() < 0.7 else None,
                traits=traits,
                occurred_at=number,
                received_at=number,
            )
        )
    return made


def in_units(random: Random, raw: list[RawEvent]) -> list[list[RawEvent]]:
    units, rest = [], list(raw)
    while rest:
        size = random.randrange(1, 12)
        units.append(rest[:size])
        rest = rest[size:]
    return units


def by_strength(identifiers: list[Identifier]) -> list[Identifier]:
    return sorted(identifiers, key=lambda identifier: (DEFAULT_RULES.rank(identifier.namespace), identifier))


def sighting_of(event: RawEvent, key: bytes) -> Sighting:
    identifiers = [(hash_of(identifier, key), identifier) for identifier in by_strength(identifiers_of(event))]
    return Sighting(event.message_id.encode(), Named.of(identifiers), event.occurred_at)


def oracle(
    sightings: list[Sighting],
    decided: Sequence[Any] = (),
    rules: Rules = DEFAULT_RULES,
    erased: frozenset[bytes] = frozenset(),
) -> set[frozenset[bytes]]:
    """The partition of all facts together; `decided` are rows of decisions in force. Nothing is of who is erased.

    An identifier is somebody also by itself when an event resolves by it.
    """
    facts, resolving = Facts(), set()
    nodes = {node.value_hash: node for sighting in sightings for node in sighting.seen().nodes}
    for row in decided:
        (facts.forced if row["kind"] == "merge" else facts.forbidden).add(pair(nodes[row["one"]], nodes[row["other"]]))
    for sighting in sightings:
        seen = sighting.seen()
        left = [node for node in seen.nodes if node.value_hash not in erased]
        if seen.nodes[0] in left:
            resolving.add(seen.nodes[0])
        elif len(left) < 2:
            continue
        facts.see(left, seen.evidence)
    partition = divide(facts, rules)
    groups = {frozenset(node.value_hash for node in group) for group in partition.groups()}
    return groups - {frozenset({node.value_hash}) for node in partition.shared - resolving}


def named(partition: set[frozenset[bytes]], sightings: Sequence[Sighting]) -> set[frozenset[str]]:
    """So that a failure tells who it is about."""
    names = {found: f"{name.namespace} {name.value}" for sighting in sightings for found, name in sighting.identifiers}
    return {frozenset(names[value_hash] for value_hash in group) for group in partition}


async def partition_of_store(pool: Any) -> set[frozenset[bytes]]:
    """What resolves, and with whom."""
    rows = await pool.fetch(
        """SELECT array_agg(value_hash) AS hashes FROM identifiers JOIN customers USING (customer) WHERE link_id IS NOT NULL
           GROUP BY canonical"""
    )
    return {frozenset(row["hashes"]) for row in rows}


@pytest.mark.parametrize("seed", range(6))
async def test_units_restarts_and_repetitions_decide_as_one_event_after_the_other(store: Store, seed: int) -> None:
    random = Random(seed)
    raw = traffic(random, 150)
    unifier = await store.unifier()
    for sequence, unit in enumerate(in_units(random, raw), 1):
        if random.random() < 0.2:
            unifier = await store.unifier()
        repeated = random.sample(raw[: raw.index(unit[0])], k=min(2, raw.index(unit[0])))
        await unifier.unify([*repeated, *unit, unit[0]], sequence, [])
    sightings = [sighting_of(event, store.vault.lookup_key) for event in raw]
    assert named(await partition_of_store(store.pool), sightings) == named(oracle(sightings), sightings)
    resolving = await store.pool.fetch("SELECT value_hash FROM identifiers WHERE resolving")
    assert {row["value_hash"] for row in resolving} == {sighting.identifiers[0][0] for sighting in sightings}
    assert await store.pool.fetchval("SELECT count(*) FROM seen_messages") == len(raw)


@pytest.mark.parametrize("seed", range(4))
async def test_who_is_erased_is_in_no_fact_and_the_others_are_as_they_are_without(store: Store, seed: int) -> None:
    """The tables of the graph, settled anew, are as the facts and decisions that are left."""
    random = Random(seed)
    raw = traffic(random, 120)
    unifier, decider, _ = await store.started()
    await unifier.unify(raw[:80], 1, [])
    for number in range(8):
        await decide_something(decider, store.pool, random, number)
    decided = await store.pool.fetch("SELECT * FROM decisions WHERE withdrawn_at IS NULL ORDER BY decision_id")
    who = [("email", "family@shop.example"), ("anonymous_id", "family-tablet"), ("user_id", "user-1"), ("user_id", "user-2")][seed]
    suppression = Suppression(b"e", "refuse", 1_000)
    key = store.vault.lookup_key
    before = [sighting_of(event, key) for event in raw[:80]]
    hers = await hashes_of(store.pool, members := await store.members(*who))
    hashes = await erase(store, members, suppression)
    assert hashes.intersection(sighting.identifiers[0][0] for sighting in before) <= hers  # nobody else whom an event is about
    unifier.forget()
    await unifier.unify(raw[80:], 2, [])

    suppressions = dict.fromkeys(hashes, suppression)
    after = [admit(suppressions, sighting_of(event, key), DEFAULT_RULES) for event in raw[80:]]
    before += [sighting for sighting in after if isinstance(sighting, Sighting)]
    decided = [row for row in decided if hashes.isdisjoint((row["one"], row["other"]))]
    kept = await store.pool.fetch("SELECT decision_id FROM decisions WHERE withdrawn_at IS NULL ORDER BY decision_id")
    assert [row["decision_id"] for row in kept] == [row["decision_id"] for row in decided]
    expected = oracle(before, decided, erased=hashes)
    assert named(await partition_of_store(store.pool), before) == named(expected, before)


@pytest.mark.parametrize("seed", range(3))
async def test_a_value_that_is_seen_in_many_ways_is_as_the_function_of_all_facts_says(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when events come late, and when some of its first sightings are erased, which is settled in pages between events."""
    monkeypatch.setattr(bounds, "PAGE_UNSETTLED", 1)
    random, few = Random(seed), msgspec.structs.replace(DEFAULT_RULES, max_sightings=3)
    instants = random.sample(range(500), 120)
    raw = [
        msgspec.structs.replace(e, occurred_at=at, received_at=500) for e, at in zip(traffic(random, 120), instants, strict=True)
    ]
    monkeypatch.setattr(Ledger, "rules", few)
    unifier = await store.unifier()
    for sequence, unit in enumerate(in_units(random, raw[:80]), 1):
        await unifier.unify(unit, sequence, [])
    before = [sighting_of(event, store.vault.lookup_key) for event in raw[:80]]
    assert named(await partition_of_store(store.pool), before) == named(oracle(before, rules=few), before)
    seen_often = await store.pool.fetch(
        """SELECT customer FROM identifiers JOIN sightings ON nodes @> ARRAY[value_hash] WHERE own
           GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 2"""
    )
    someone = seen_often[seed % 2]["customer"]
    suppression = Suppression(b"e", "refuse", 2_000)
    hashes = await erase(store, await views.members(store.pool, someone), suppression)
    unifier.forget()
    assert await store.pool.fetchval("SELECT count(*) FROM unsettled") > 1
    await unifier.unify(raw[80:], 100, [])
    while await unifier.graph.settle_left():
        pass
    suppressions = dict.fromkeys(hashes, suppression)
    after = [admit(suppressions, sighting_of(event, store.vault.lookup_key), few) for event in raw[80:]]
    left = before + [sighting for sighting in after if isinstance(sighting, Sighting)]
    assert named(await partition_of_store(store.pool), left) == named(oracle(left, rules=few, erased=hashes), left)


async def erase(store: Store, members: Sequence[bytes], suppression: Suppression) -> frozenset[bytes]:
    """As the eraser does; returns the hashes of what is erased."""
    hers = await hashes_of(store.pool, members)
    erased = [*members, *await leftovers(store.pool, members, sorted(hers))]
    hashes = frozenset(h for found in (await erasures.erased_identifiers_of(store.pool, erased)).values() for h in found)
    async with store.pool.acquire() as connection, connection.transaction():
        await erasures.erase(connection, erased, sorted(hashes), suppression)
    return hashes


async def hashes_of(pool: Any, customers: Sequence[bytes]) -> frozenset[bytes]:
    return frozenset(h for found in (await erasures.identifiers_of(pool, customers)).values() for h in found)


async def test_erasing_one_person_takes_no_identifier_and_no_decision_of_another(store: Store) -> None:
    """A browser that two decisions were told to is erased by itself, and so is the owner of a phone that both use."""
    unifier, decider, _ = await store.started()
    party = {name: Party(value_hash=store.hash_of("user_id", name)) for name in ("ann", "bea")}
    party["browser"] = Party(value_hash=store.hash_of("anonymous_id", "browser"))
    await unifier.unify([event_of("1", anonymous_id="browser")], 1, [])
    ann = event_of("2", user_id="ann", anonymous_id="browser", traits={"email": "ann@x.example"})
    await unifier.unify([ann, event_of("3", user_id="bea", traits={"email": "bea@x.example"})], 2, [])
    who: Any = {"decided_by": "desk", "reason": "looked at it"}
    merge = Decide(request_id="m", act="merge", one=party["browser"], other=party["bea"], **who)
    merged, *_ = await decider.decide(merge)
    split = Decide(request_id="s", act="split", one=party["browser"], other=party["ann"], **who)
    await decider.decide(split)
    await erase(store, await store.members("anonymous_id", "browser"), Suppression(b"e", "start_clean", 1_000))
    unifier.forget()
    await unifier.unify([event_of("4", user_id="ann", traits={"phone": "+4915112345001"})], 3, [])
    assert await store.members("user_id", "ann") == await store.members("user_id", "bea")
    withdrawn, *_ = await decider.withdraw("w", merged.decision_id, "desk", "a mistake")
    assert not await erasures.erased_among(store.pool, [withdrawn.customer, withdrawn.other_customer])
    assert await store.members("user_id", "ann") != await store.members("user_id", "bea")

    traits = {"email": "cem@x.example", "phone": "+4915112345001"}
    await unifier.unify([event_of("5", user_id="cem", traits=traits)], 4, [])
    await erase(store, await store.members("user_id", "ann"), Suppression(b"f", "start_clean", 1_001))
    unifier.forget()
    await unifier.unify([event_of("6", user_id="bea")], 5, [])
    assert await store.members("email", "cem@x.example") == await store.members("user_id", "cem") != []
    assert not await store.members("phone", "+4915112345001")


async def test_a_request_that_decided_about_who_is_erased_is_not_carried_out_again(store: Store) -> None:
    unifier, decider, _ = await store.started()
    events_of_both = [event_of("1", user_id="ann"), event_of("2", user_id="bea")]
    await unifier.unify(events_of_both, 1, [])
    ann, bea = (Party(value_hash=store.hash_of("user_id", name)) for name in ("ann", "bea"))
    merge = Decide(request_id="m", act="merge", one=ann, other=bea, decided_by="desk", reason="the same person")
    merged, *_ = await decider.decide(merge)
    await decider.withdraw("w", merged.decision_id, "desk", "a mistake")
    suppression = Suppression(b"e", "start_clean", 1)
    await erase(store, await store.members("user_id", "bea"), suppression)
    unifier.forget()
    await unifier.unify([event_of("3", user_id="bea")], 2, [])
    with pytest.raises(WrongState, match="erased") as refused:
        await decider.decide(merge)
    assert refused.value.reason == "CUSTOMER_ERASED"
    assert await store.members("user_id", "ann") != await store.members("user_id", "bea") != []


def event_of(message_id: str, **named: Any) -> RawEvent:
    at = int(message_id)
    none: dict[str, Any] = {"user_id": None, "anonymous_id": None, "traits": {}}
    return RawEvent(kind="identify", message_id=message_id, source="web", occurred_at=at, received_at=at, **(none | named))


@pytest.mark.parametrize("seed", range(4))
async def test_decisions_in_the_mix_leave_the_tables_as_the_function_of_all_facts_says(store: Store, seed: int) -> None:
    random = Random(seed)
    raw = traffic(random, 150)
    unifier, decider, _ = await store.started()
    done = 0
    for sequence, unit in enumerate(in_units(random, raw), 1):
        if random.random() < 0.2:
            unifier, decider, _ = await store.started()
        await unifier.unify(unit, sequence, [])
        done += len(unit)
        await decide_something(decider, store.pool, random, sequence)
        decided = await store.pool.fetch("SELECT * FROM decisions WHERE withdrawn_at IS NULL")
        sightings = [sighting_of(event, store.vault.lookup_key) for event in raw[:done]]
        assert named(await partition_of_store(store.pool), sightings) == named(oracle(sightings, decided), sightings)
    assert await store.pool.fetchval("SELECT count(*) FROM decisions WHERE withdrawn_at IS NOT NULL")
    await check_proposals(store.pool)


async def decide_something(decider: Decider, pool: Any, random: Random, number: int) -> None:
    rows = await pool.fetch("SELECT * FROM decisions WHERE withdrawn_at IS NULL ORDER BY decision_id")
    if rows and random.random() < 0.4:
        await decider.withdraw(f"back-{number}", random.choice(rows)["decision_id"], "desk", "a mistake")
        return
    proposals = await views.proposals(pool, "open", (-1, b""), 100)
    with contextlib.suppress(WrongState, InvalidInput):  # what was drawn may not be possible
        if proposals and random.random() < 0.5:
            chosen = random.choice(proposals).proposal_id
            said = random.random() < 0.5, "desk", "looked at it", random.random() < 0.7
            await decider.decide_proposal(f"answer-{number}", chosen, *said)
            return
        customers = [row["customer"] for row in await pool.fetch("SELECT customer FROM identifiers WHERE own ORDER BY value_hash")]
        if not customers:  # all are erased
            return
        one, other = (Party(customer=customer) for customer in random.sample(customers * 2, 2))
        act: Act = random.choice(["merge", "split", "forbid"])
        who: dict[str, Any] = {"decided_by": "desk", "reason": "looked at it", "move_others": random.random() < 0.7}
        await decider.decide(Decide(request_id=f"do-{number}", act=act, one=one, other=other, **who))


async def check_proposals(pool: Any) -> None:
    """What is open is of two customers; what is closed says so in both streams, once."""
    rows = await pool.fetch("SELECT * FROM proposals")
    records = await LogReader(pool).partition(0, 0, 10_000)
    closed = [
        (r.entry.public().proposal_id, r.entry.public().state) for r in records if r.entry.type_id == events.PROPOSAL_CLOSED.id
    ]
    assert sorted(closed) == sorted(2 * [(row["proposal_id"], row["state"]) for row in rows if row["state"] != "open"])
    canonical = {row["customer"]: row["canonical"] for row in await pool.fetch("SELECT customer, canonical FROM customers")}
    pairs = [frozenset({canonical[row["customer"]], canonical[row["other"]]}) for row in rows if row["state"] == "open"]
    assert all(len(found) == 2 for found in pairs)


async def test_a_proposal_expires_when_nobody_decides_and_comes_again_when_the_two_are_seen_again(store: Store) -> None:
    parts = await store.parts()
    unifier, decider = parts.unifier, parts.decider
    await unifier.unify([names("1", "u1", "fam@shop.example"), names("2", "u2", "fam@shop.example")], 1, [])
    [first] = await views.proposals(store.pool, "open", (-1, b""), 10)
    assert await store.expiry(parts, 0).expire() == 0
    assert await store.expiry(parts).expire() == 1
    assert await store.expiry(parts).expire() == 0
    with pytest.raises(WrongState, match="closed"):
        await decider.decide_proposal("too-late", first.proposal_id, True, "desk", "the same person")
    await unifier.unify([names("3", "u2", "fam@shop.example", "device")], 2, [])
    [again] = await views.proposals(store.pool, "open", (-1, b""), 10)
    decision, *_ = await decider.decide_proposal("in-time", again.proposal_id, True, "desk", "the same person")
    assert (await views.proposals(store.pool, "accepted", (-1, b""), 10))[0].decision_id == decision.decision_id
    assert await store.pool.fetchval("SELECT count(DISTINCT canonical) FROM customers") == 1
    await check_proposals(store.pool)


async def test_of_each_address_that_two_people_use_it_is_asked_whether_they_are_one(store: Store) -> None:
    """However many such addresses there are in a row: each is at hand when both of its people are, and else left alone."""
    unifier, decider, _ = await store.started()
    await unifier.unify([names(str(2 * n + end), f"u{n + end}", f"m{n}@shop.example") for n in range(3) for end in (0, 1)], 1, [])
    asked = await views.proposals(store.pool, "open", (-1, b""), 10)
    customers = [(await store.members("user_id", f"u{n}"))[0] for n in range(4)]
    assert {frozenset({one.customer, one.other}) for one in asked} == {frozenset(customers[n : n + 2]) for n in range(3)}
    await unifier.unify([event_of("9", user_id="u0"), event_of("10", user_id="u1", anonymous_id="browser")], 2, [])
    assert await views.proposals(store.pool, "open", (-1, b""), 10) == asked
    largest = (
        "SELECT max(held) FROM (SELECT count(*) AS held FROM identifiers WHERE component IS NOT NULL GROUP BY component) AS all_of"
    )
    assert await store.pool.fetchval(largest) == 2

    first = next(one for one in asked if {one.customer, one.other} == set(customers[:2]))
    decision, *_ = await decider.decide_proposal("one", first.proposal_id, True, "desk", "the same person")
    assert set(await store.members("email", "m0@shop.example")) == set(customers[:2])
    assert await store.members("email", "m1@shop.example") == []
    await decider.withdraw("two", decision.decision_id, "desk", "a mistake")
    assert await store.members("email", "m0@shop.example") == []
    again = await views.proposals(store.pool, "open", (-1, b""), 10)
    assert {frozenset({one.customer, one.other}) for one in again} == {frozenset(customers[n : n + 2]) for n in range(3)}
    await check_proposals(store.pool)


async def test_people_are_asked_of_the_browser_that_is_one_too_many(store: Store) -> None:
    unifier = await store.unifier()
    browsers = [event_of(str(n), anonymous_id=f"browser-{n}") for n in range(1, 102)]
    logins = [event_of(str(n + 200), user_id="ann", anonymous_id=f"browser-{n}") for n in range(1, 102)]
    await unifier.unify([*browsers, *logins], 1, [])
    [asked] = await views.proposals(store.pool, "open", (-1, b""), 10)
    [last] = await store.members("anonymous_id", "browser-101")
    assert (asked.reason, last in (asked.customer, asked.other)) == ("LIMIT_REACHED", True)


async def test_what_a_decision_made_so_happened_when_it_was_made(store: Store) -> None:
    unifier, decider, _ = await store.started()
    await unifier.unify([event_of("1", user_id="ann"), event_of("2", user_id="bea")], 1, [])
    ann, bea = (Party(value_hash=store.hash_of("user_id", name)) for name in ("ann", "bea"))
    acts: list[Act] = ["merge", "split"]
    for act in acts:
        made = Decide(request_id=act, act=act, one=ann, other=bea, decided_by="desk", reason="looked at it")
        decision, *_ = await decider.decide(made)
        told = [record.entry for record in await LogReader(store.pool).partition(0, 0, 10_000)]
        of_it = [e for e in told if decision.decision_id in (getattr(e.public(), name, b"") for name in ("cause", "decision_id"))]
        assert len(of_it) == 4
        assert {entry.occurred_at for entry in of_it} == {decision.decided_at}


def names(message_id: str, user_id: str, email: str, device: str | None = None) -> RawEvent:
    return RawEvent(
        kind="identify",
        message_id=message_id,
        source="web",
        user_id=user_id,
        anonymous_id=device,
        traits={"email": email},
        occurred_at=int(message_id),
        received_at=int(message_id),
    )


async def test_an_event_of_a_customer_whose_key_is_lost_is_parked_and_the_rest_goes_on(servers: Stack, store: Store) -> None:
    unifier = await store.unifier()
    await unifier.unify([names("1", "u1", "u1@shop.example"), names("2", "u2", "u2@shop.example")], 1, [])
    customer = await views.resolve(store.pool, hash_of(Identifier("user_id", "u1"), store.vault.lookup_key))
    assert customer is not None
    vault = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360_vault")
    change = "UPDATE vault.data_keys SET wrapped = $2 WHERE owner = $1"
    whole = await vault.fetchval("SELECT wrapped FROM vault.data_keys WHERE owner = $1", customer.customer)
    await vault.execute(change, customer.customer, whole[:-1] + bytes([whole[-1] ^ 1]))
    store.vault.forget_all()
    more = [names(str(n), f"u{n % 3}", f"u{n % 3}@shop.example", f"device-{n}") for n in range(3, 12)]
    await unifier.unify(more, 2, [])
    table = ParkedTable(store.pool, now_us)
    parked = await store.pool.fetch("SELECT parked_id, reason FROM parked")
    assert {row["reason"] for row in parked} == {"CUSTOMER_KEY_LOST"}
    assert len(parked) == sum(event.user_id == "u1" for event in more)
    assert await store.pool.fetchval("SELECT count(*) FROM seen_messages") == 2 + len(more) - len(parked)
    [one] = (await table.find([parked[0]["parked_id"]])).values()
    with pytest.raises(Poison):
        await follow.replay(one, unifier, store.vault)
    await vault.execute(change, customer.customer, whole)
    await vault.close()
    store.vault.forget_all()
    for row in parked:
        [one] = (await table.find([row["parked_id"]])).values()
        await follow.replay(one, unifier, store.vault)
    assert await table.count() == 0
    assert await store.pool.fetchval("SELECT count(*) FROM seen_messages") == 2 + len(more)


async def test_the_hand_over_has_every_event_once_in_the_stream_of_its_customer(store: Store) -> None:
    raw = traffic(Random(7), 120)
    unifier = await store.unifier()
    for sequence, unit in enumerate(in_units(Random(7), raw), 1):
        await unifier.unify(unit, sequence, [])
    units = [decode_unit(row["unit"]) for row in await store.pool.fetch("SELECT unit FROM outbox ORDER BY number")]
    assert [unit.number for unit in units] == list(range(len(units)))
    assert [unit.consumed["INGEST"] for unit in units] == list(range(1, len(units) + 1))
    activities = [entry for unit in units for entry in unit.entries if entry.type_id == events.IDENTIFIED.id]
    assert [entry.occurred_at for entry in activities] == [event.occurred_at for event in raw]
    for entry in activities:
        linked = await views.resolve(store.pool, entry.public().resolved_by)
        assert linked is not None
        assert linked.customer == entry.stream
        personal = entry.personal(await store.vault.key(entry.stream))
        assert isinstance(personal, events.Identified)


async def test_the_log_holds_what_was_concluded_and_the_view_follows_from_it(store: Store) -> None:
    raw = traffic(Random(8), 150)
    unifier = await store.unifier()
    for sequence, unit in enumerate(in_units(Random(8), raw), 1):
        await unifier.unify(unit, sequence, [])
    records = await LogReader(store.pool).partition(0, 0, 10_000)
    assert [record.pos for record in records] == list(range(len(records)))
    undone = {r.entry.public().link_id for r in records if r.entry.type_id == events.UNLINKED.id}
    linked = [r.entry for r in records if r.entry.type_id == events.LINKED.id and r.entry.event_id not in undone]
    rows = await store.pool.fetch("SELECT * FROM identifiers WHERE customer IS NOT NULL")
    assert {row["value_hash"]: row["customer"] for row in rows} == {e.public().value_hash: e.stream for e in linked}
    versions: dict[bytes, int] = {}
    for record in records:
        assert record.version == versions.get(record.entry.stream, 0) + 1
        versions[record.entry.stream] = record.version
    assert {row["customer"]: row["version"] for row in await store.pool.fetch("SELECT * FROM customers")} == versions

"""Rules of profiles on a real PostgreSQL: what was predicted happens, what was known stays known, and what is kept follows."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from services.profile.app import Instant
from services.profile.choosing import RulesChoice
from services.profile.composition import Parts
from services.profile.domain.activation import ActivateRules
from services.profile.domain.difference import Change, changes
from services.profile.domain.rules_document import read, rules_of
from services.profile.domain.state import state_hash
from services.profile.profile import Profile
from services.profile.simulating import Progress, Simulation
from services.profile.tables.rulebook import RULES_STREAM, Activation
from services.stack.stack import Stack
from shared.errors import NotFound
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import PurposeDefined
from shared.ids import id_maker
from shared.instants import END_OF_TIME, now_us
from shared.vault import DataKey, Vault
from tests.live.test_deliveries import empty, fed
from tests.live.test_deliveries import started as started  # noqa: PLC0414
from tests.live.test_deliveries import vault as vault  # noqa: PLC0414
from tests.live.test_log import pool as pool  # noqa: PLC0414

new_id = id_maker(now_us)
CUSTOMERS = 40
AUDIT = PurposeDefined(
    request_id="a",
    name="audit",
    version=1,
    description="",
    legal_basis="legal_obligation",
    traits=("*", "events"),
    despite_restriction=("legal_claims",),
)
RULES = """{"traits": {"city": {"rule": "source_priority", "sources": ["crm"]}, "tags": {"rule": "union"},
            "size": {"rule": "max", "type": "number"}, "name": {"rule": "most_frequent"}},
            "computed": {"told": {"of": "event.type == 'identify'", "aggregate": "count"}}}"""


def told(customer: bytes, key: DataKey, choose: random.Random) -> Entry:
    traits = {
        "city": choose.choice(["Kiel", "Lyon", None]),
        "tags": choose.sample(["a", "b", "c"], 2),
        "size": choose.choice([1, 2, 30, "large"]),
        "name": choose.choice(["Ann", "Anna"]),
        "other": choose.randrange(3),
    }
    sent = events.Identified(traits={name: traits[name] for name in choose.sample(sorted(traits), 3)})
    activity = events.Activity(source=choose.choice(["crm", "web"]), resolved_by=customer, received_at=choose.randrange(100))
    return make_entry(events.IDENTIFIED, customer, new_id(), choose.randrange(1_000), activity, sent, key)


def people(keys: dict[bytes, DataKey], choose: random.Random) -> list[Entry]:
    """Customers with traits; some were merged, and one was erased."""
    found: list[Entry] = []
    streams = sorted(keys)
    for number, customer in enumerate(streams):
        found.append(make_entry(events.FOUNDED, customer, new_id(), 1, events.CustomerFounded(founding_number=number)))
        linked = events.IdentifierLinked(namespace="user_id", value_hash=customer, cause=b"")
        found.append(
            make_entry(events.LINKED, customer, new_id(), 2, linked, events.LinkedValue(value=customer.hex()), keys[customer])
        )
        found += [told(customer, keys[customer], choose) for _ in range(choose.randrange(1, 8))]
    for one, other in zip(streams[:8:2], streams[1:8:2], strict=True):
        merge = new_id()
        for stream, second in ((one, other), (other, one)):
            public = events.CustomersMerged(merge_id=merge, other=second, other_founding_number=0, cause=b"")
            found.append(make_entry(events.MERGED, stream, new_id(), 30, public))
    erased = events.CustomerErased(erasure_id=b"e", policy="refuse", identifier_hashes=())
    found.append(make_entry(events.ERASED, streams[-1], new_id(), 2_000, erased))
    return found


async def profiles(parts: Parts, streams: list[bytes], instant: Instant, choice: RulesChoice = "then") -> dict[bytes, Profile]:
    """By canonical customer."""
    found = [await parts.profiles.profile(stream, AUDIT, instant, choice) for stream in streams]
    return {one.record.members[0]: one for one in found}


def shown(found: dict[bytes, Profile]) -> dict[bytes, dict[str, Any]]:
    return {customer: {n: (t.value, t.event_id) for n, t in one.record.traits.items()} for customer, one in found.items()}


def command(text: str, request_id: str = "") -> ActivateRules:
    return ActivateRules(request_id=request_id or new_id().hex(), document=read(text), reason="ticket 12", activated_by="ops")


async def activated(parts: Parts, wanted: ActivateRules, purpose: PurposeDefined | None = None) -> Activation:
    steps = [step async for step in parts.activator.activate(wanted, purpose)]
    assert isinstance(steps[-1], Activation)
    return steps[-1]


async def simulated(simulation: Simulation, text: str, purpose: PurposeDefined = AUDIT) -> Progress:
    return [step async for step in simulation.rules(rules_of(read(text), 0), 1_000, purpose)][-1]


@asynccontextmanager
async def following(parts: Parts) -> AsyncIterator[None]:
    """What runs behind the rules."""
    work = asyncio.create_task(parts.activator.run())
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


async def until(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    while await ask() != wanted:
        assert asyncio.get_running_loop().time() < deadline, "states do not follow the rules"
        await asyncio.sleep(0.02)


async def settled(parts: Parts) -> None:
    async def ask() -> bool:
        return parts.rulebook.in_force.settled

    await until(ask, True)


async def test_what_is_predicted_happens_and_what_was_served_then_is_still_served_for_then(
    started: Callable[[], Parts], servers: Stack, vault: Vault
) -> None:
    await empty(servers)
    choose, parts = random.Random(7), started()
    keys = await vault.create_keys([new_id() for _ in range(CUSTOMERS)], 1)
    *living, erased = sorted(keys)
    await fed(parts, people(keys, choose))
    before = await profiles(parts, living, Instant())
    async with following(parts):
        report = await simulated(parts.simulation, RULES)
        wanted = command(RULES, "r-1")
        activation = await activated(parts, wanted, AUDIT)
        then = activation.recorded_at - 1
        after = await profiles(parts, living, Instant())
        happened = [change for customer in before for change in changes(before[customer].record, after[customer].record)]
        assert happened, "else nothing is tested"
        assert report.found.customers == len(before), "merged ones count once, erased ones not at all"
        assert sorted(report.examples, key=place) == sorted(happened, key=place)
        expected = activation.expected
        assert sum(expected.traits.values()) == len(happened)
        assert expected.changed_customers == len({change.customer for change in happened})
        assert await activated(parts, wanted) is parts.rulebook.version(2), "repeated, it is the same"

        await settled(parts)
        assert shown(await profiles(parts, living, Instant(known_at=then))) == shown(before), "the rules of then"
        assert shown(await profiles(parts, living, Instant(), 1)) == shown(before), "another version"
        assert shown(await profiles(parts, living, Instant(known_at=then), "now")) == shown(after), "the rules of now"
        assert await parts.states.count_settled() == await parts.states.count() == CUSTOMERS
        await parts.states._pool.execute("UPDATE states SET fold = 'another'")  # an edition made for other rules took their place
        parts.on_replaced()
        await until(parts.states.count_settled, CUSTOMERS)

    again = started()  # as after a restart
    await again.recorder.load()
    assert again.rulebook.in_force.settled
    assert shown(await profiles(again, living, Instant())) == shown(after)
    history = again.profiles.history.of(again.rulebook.rules.keeping)
    kept, folded = await again.states.load(living), await history.fold(await history.read(living))
    assert {s: state_hash(one.state) for s, one in kept.items()} == {s: state_hash(one.state) for s, one in folded.items()}
    assert [one.version for one in again.rulebook.activations] == [1, 2]
    assert erased not in shown(after)
    with pytest.raises(NotFound):
        await parts.profiles.profile(RULES_STREAM, AUDIT, Instant())  # it is in the log, and no customer
    assert RULES_STREAM not in {stream async for page in again.states.pages(100) for stream in page}
    await empty(servers)


def place(change: Change) -> tuple[bytes, str]:
    return change.customer, change.trait


async def members(parts: Parts) -> dict[str, set[bytes]]:
    while await parts.keeper.step():
        pass
    return {name: {one.customer for one in await parts.memberships.members(name, b"", 500)} for name in ("kiel", "told", "big")}


async def test_whoever_is_predicted_to_enter_or_leave_a_segment_does(
    started: Callable[[], Parts], servers: Stack, vault: Vault
) -> None:
    await empty(servers)
    parts = started()
    keys = await vault.create_keys([new_id() for _ in range(CUSTOMERS)], 1)
    await fed(parts, people(keys, random.Random(5)))
    segments = {"kiel": {"when": "traits.city == 'Kiel'"}, "told": {"when": "computed.told >= 3"}}
    rules = json.loads(RULES) | {"traits": {}, "segments": segments}
    await activated(parts, command(json.dumps(rules)))
    before = await members(parts)
    chosen = {"city": {"rule": "first"}, "size": {"rule": "max", "type": "number"}}
    other = rules | {"traits": chosen, "segments": {"kiel": segments["kiel"], "big": {"when": "traits.size >= 2"}}}
    report = await simulated(parts.simulation, json.dumps(other))
    await activated(parts, command(json.dumps(other)))
    after = await members(parts)
    assert before["told"]
    assert after["big"]
    assert before["kiel"] ^ after["kiel"], "as another value of the city is chosen"
    moved = {(one.segment, one.customer, one.entered) for one in report.moves}
    assert moved == {(name, customer, customer in after[name]) for name in before for customer in before[name] ^ after[name]}
    counted = {name: (one.entered, one.left, one.members) for name, one in report.found.segments.items()}
    assert counted == {
        name: (len(after[name] - before[name]), len(before[name] - after[name]), len(after[name])) for name in before
    }
    await activated(parts, command("{}"))
    await members(parts)
    await empty(servers)


async def test_every_trait_is_explained_as_it_is_served_and_events_meanwhile_follow_the_new_rules(
    started: Callable[[], Parts], servers: Stack, vault: Vault
) -> None:
    await empty(servers)
    choose, parts = random.Random(11), started()
    keys = await vault.create_keys([new_id() for _ in range(CUSTOMERS)], 1)
    *living, _ = sorted(keys)
    entries = people(keys, choose)
    await fed(parts, entries)
    await activated(parts, command(RULES))
    later = [told(customer, keys[customer], choose) for customer in living]
    await fed(parts, later)  # before any state was folded anew behind the activation
    for customer, profile in (await profiles(parts, living, Instant())).items():
        computed = await parts.explaining.trait(customer, "told", AUDIT, Instant(), "then")
        assert computed.served == profile.record.traits["told"]
        assert len(computed.assertions) == computed.served.value, "it is made of these events"
        assert not computed.explanation.lost
        for name, trait in profile.record.traits.items():
            if name == "told":
                continue
            found = await parts.explaining.trait(customer, name, AUDIT, Instant(), "then")
            assert found.served == trait
            chosen = found.explanation.chosen
            assert chosen is not None
            assert (chosen.value, chosen.by[0].event_id) == (trait.value, trait.event_id)
            told_by = {one.assertion.event_id for one in found.assertions}
            assert found.explanation.lost.keys() | {one.event_id for one in chosen.by} == told_by
            assert all(one.public.received_at == one.assertion.received_at for one in found.assertions)
    assert (await simulated(parts.simulation, "{}")).found.changed_customers > 0
    assert parts.rulebook.known_at(END_OF_TIME).version == 2
    await empty(servers)


def seeing(*traits: str) -> PurposeDefined:
    return msgspec.structs.replace(AUDIT, name="some", traits=traits)


def borrowing(expression: str) -> str:
    """Rules that show something under the name of a trait that may be seen."""
    computed = {"tier": {"of": "event.type == 'identify'", "aggregate": "unique_list", "value": f"string({expression})"}}
    return json.dumps({"computed": computed})


async def test_a_computed_trait_is_shown_to_who_may_see_what_it_is_made_of_whatever_its_name(
    started: Callable[[], Parts], servers: Stack, vault: Vault
) -> None:
    await empty(servers)
    parts = started()
    keys = await vault.create_keys([new_id() for _ in range(12)], 1)
    await fed(parts, people(keys, random.Random(3)))
    await activated(parts, command(borrowing("event.traits.name")))
    found = await profiles(parts, sorted(keys)[:-1], Instant())
    customer = next(customer for customer, one in found.items() if "tier" in one.record.traits)
    sights = [
        (("tier",), False),
        (("tier", "name"), False),
        (("tier", "events"), False),
        (("tier", "events", "name"), True),
        (("*",), True),
    ]
    for sees, shows in sights:
        last = await simulated(parts.simulation, "{}", seeing(*sees))
        assert any(one.trait == "tier" for one in last.examples) is shows
        assert ("tier" in last.found.traits, "tier" in last.found.withheld_traits) == (shows, not shows)
        assert bool(last.found.changed_customers) is shows
        explained = await parts.explaining.trait(customer, "tier", seeing(*sees), Instant(), "then")
        assert explained.assertions
        assert all(one.withheld is not shows and (one.assertion.value is not None) is shows for one in explained.assertions)
    other = await simulated(parts.simulation, borrowing("event.traits.city"), seeing("tier", "events", "name"))
    assert "tier" in other.found.withheld_traits, "what is tried decides too"
    assert not other.found.traits
    await empty(servers)


async def test_who_restricts_meanwhile_is_no_example_and_who_tries_rules_holds_up_no_activation(
    started: Callable[[], Parts], servers: Stack, vault: Vault
) -> None:
    await empty(servers)
    parts, purpose = started(), msgspec.structs.replace(AUDIT, legal_basis="contract")
    [customer] = keys = await vault.create_keys([new_id()], 1)
    await fed(parts, [make_entry(events.FOUNDED, customer, new_id(), 1, events.CustomerFounded(founding_number=0))])
    await fed(parts, [told(customer, keys[customer], random.Random(1))])
    async with aclosing(parts.simulation.rules(rules_of(read(RULES), 0), 100, purpose)) as pages:
        async for step in pages:
            if step.found.traits:
                break  # found, and not sent
        await fed(parts, [make_entry(events.RESTRICTED, customer, new_id(), 2, events.CustomerRestricted(erasure_id=b"r"))])
        assert (await activated(parts, command(RULES))).version == 2, "meanwhile"
        last = [step async for step in pages][-1]
    assert last.found.traits
    assert not last.examples
    await empty(servers)

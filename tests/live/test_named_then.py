"""As of an instant an identifier is known when an event that names it had happened, whatever came first: told against all events."""

from random import Random

import msgspec
import pytest

from services.identity.domain.rules_document import document_of
from services.identity.domain.sighting import Suppression
from services.identity.graph.facts import Facts, Node
from services.identity.graph.ownership import divide
from services.identity.graph.region import Seen
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.recall import Instants
from services.identity.tables import rulebook
from shared.errors import NotFound
from shared.events.wire import RawEvent
from tests.live.test_identity import Store, erase, event_of, in_units, sighting_of, store
from tests.live.test_identity_explained import LAST, Played

__all__ = ["store"]  # the fixture

FEW = msgspec.structs.replace(DEFAULT_RULES, max_sightings=4)
Groups = set[frozenset[Node]]


@pytest.fixture(params=[DEFAULT_RULES, FEW], ids=["shipped", "crowded"])
def rules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rules:
    found: Rules = request.param
    monkeypatch.setattr(rulebook, "SHIPPED", msgspec.structs.replace(rulebook.SHIPPED, rules=found, document=document_of(found)))
    return found


def world(random: Random, amount: int, wide: int = 1) -> list[RawEvent]:
    """Many events name one identifier only; of `wide` times as many people."""
    made = []
    for number, at in enumerate(random.sample(range(LAST), amount)):
        kinds = random.sample(["user", "email", "phone", "device"], random.choice([1, 1, 2, 2, 3]))
        traits = {}
        if "email" in kinds:
            traits["email"] = f"p{random.randrange(4 * wide)}@shop.example"
        if "phone" in kinds:
            traits["phone"] = f"+49151123450{random.randrange(4 * wide):02}"
        event = RawEvent(
            kind="identify",
            message_id=f"message-{number}",
            source="web",
            user_id=f"user-{random.randrange(5 * wide)}" if "user" in kinds else None,
            anonymous_id=f"device-{random.randrange(5 * wide)}" if "device" in kinds else None,
            traits=traits,
            occurred_at=at,
            received_at=at,
        )
        made.append(event)
    return made


async def play(store: Store, random: Random, raw: list[RawEvent]) -> tuple[Played, dict[int, list[RawEvent]]]:
    """In this order; and by instants of the log, what was known by then."""
    nodes = {node for event in raw for node in seen_in(store, event).nodes}
    played, known, so_far = Played(store, await store.parts(), raw, sorted(nodes)), {}, list[RawEvent]()
    for sequence, unit in enumerate(in_units(random, raw), 1):
        if random.random() < 0.2:  # what a process remembers is gone
            played.parts = await store.parts()
        await played.parts.unifier.unify(unit, sequence, [])
        so_far += unit
        known[played.ledger.recording] = list(so_far)
    return played, known


def seen_in(store: Store, event: RawEvent) -> Seen:
    return sighting_of(event, store.vault.lookup_key).seen()


def expected(store: Store, rules: Rules, raw: list[RawEvent], as_of: int) -> Groups:
    """By all events, also by those that name one identifier only."""
    facts, resolving = Facts(), set[Node]()
    named = [seen for event in raw if event.occurred_at <= as_of and (seen := seen_in(store, event))]
    for seen in named:
        resolving.add(seen.nodes[0])
        facts.see(seen.nodes, seen.evidence)
    partition = divide(facts, rules)
    return {frozenset(group) for group in partition.groups()} - {frozenset({n}) for n in partition.shared - resolving}


async def told(played: Played, instants: Instants) -> Groups:
    groups: dict[bytes, set[Node]] = {}
    for node, resolved in (await played.state(instants)).items():
        groups.setdefault(resolved.canonical, set()).add(node)
    return {frozenset(group) for group in groups.values()}


@pytest.mark.parametrize("seed", range(3))
async def test_who_had_been_seen_by_then_is_told_by_all_events_in_any_order(store: Store, rules: Rules, seed: int) -> None:
    random = Random(seed)
    raw = world(random, 60)
    if seed:
        raw.sort(key=lambda event: event.occurred_at, reverse=seed == 2)
    played, known = await play(store, random, raw)
    for as_of in random.sample(range(LAST), 8):
        assert await told(played, Instants(as_of=as_of)) == expected(store, rules, raw, as_of)
        at = random.choice(sorted(known))
        assert await told(played, Instants(as_of, at)) == expected(store, rules, known[at], as_of)


async def told_of(played: Played, node: Node, *instants: int) -> list[str]:
    """At each instant, whether it names somebody; else why not."""
    found = []
    for as_of in instants:
        try:
            await played.explanations.resolve(node, Instants(as_of=as_of))
            found.append("SOMEBODY")
        except NotFound as error:
            found.append(error.reason)
    return found


async def test_what_was_seen_late_by_itself_was_known_before(store: Store) -> None:
    """Found by who judged it: the event of a user alone that came late said nothing, and a customer that a late event founded said too much."""
    z, phones = {"user_id": "z"}, {"phone": "+4915112345001"}
    late = [event_of("1000", **z, traits={"email": "z@x.example"}), event_of("100", **z)]
    order = [*late, event_of("1001", anonymous_id="b", traits=phones), event_of("121", user_id="u1", traits=phones)]
    order.append(event_of("101", user_id="u2", traits=phones))
    parts = await store.parts()
    for sequence, event in enumerate(order, 1):
        await parts.unifier.unify([event], sequence, [])
    played = Played(store, parts, order, [])
    assert await told_of(played, Node("user_id", store.hash_of("user_id", "z")), 99, 500) == ["IDENTIFIER_UNKNOWN", "SOMEBODY"]
    browser = Node("anonymous_id", store.hash_of("anonymous_id", "b"))
    assert await told_of(played, browser, 110, 500, 1001) == ["IDENTIFIER_UNKNOWN", "IDENTIFIER_UNKNOWN", "SOMEBODY"]


async def test_who_was_seen_with_the_erased_only_was_known_by_then(store: Store) -> None:
    """What is left of a sighting is one identifier: a tablet of two people, of whom one is erased."""
    order = [event_of("100", user_id="ann", anonymous_id="t"), event_of("200", user_id="bea", anonymous_id="t")]
    parts = await store.parts()
    await parts.unifier.unify([*order, event_of("300", anonymous_id="t")], 1, [])
    played, tablet = Played(store, parts, order, []), Node("anonymous_id", store.hash_of("anonymous_id", "t"))
    await erase(store, await store.members("user_id", "ann"), Suppression(b"e", "refuse", 1_000))
    parts.unifier.forget()
    while await parts.unifier.graph.settle_left():
        pass
    assert await told_of(played, tablet, 99, 150, 250) == ["IDENTIFIER_UNKNOWN", "SOMEBODY", "SOMEBODY"]
    await erase(store, await store.members("anonymous_id", "t"), Suppression(b"f", "refuse", 1_001))
    assert await told_of(played, tablet, 150, 1_000) == ["IDENTIFIER_UNKNOWN"] * 2
    assert not await store.pool.fetchval("SELECT count(*) FROM superseded_alone")

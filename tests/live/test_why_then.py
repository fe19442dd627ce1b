"""Why two were one or two at a past instant, on a real PostgreSQL: of who was known then, and of what was proposed by then."""

from itertools import combinations, pairwise
from random import Random

import msgspec
import pytest

from services.identity.domain.rules_document import RulesDocument, rules_of
from services.identity.explaining import Explanations, Why
from services.identity.graph.facts import Node
from services.identity.graph.rules import Rules
from services.identity.recall import NOW, Instants
from services.identity.tables import rulebook
from shared.errors import InvalidInput, NotFound
from shared.identifiers import hash_of, normalise
from tests.live.test_identity import Store, names, store
from tests.live.test_identity_explained import LAST, Played, play, some
from tests.live.test_identity_rules import activate, activator, whole_log

__all__ = ["store"]  # the fixture

NOBODY_S = ("IDENTIFIER_SHARED", "IDENTIFIER_CONTESTED")  # it was seen, and why tells by whom


async def why_of(played: Played, one: Node | bytes, other: Node | bytes, instant: int) -> Why:
    return await played.explanations.why(one, other, Instants(known_at=instant))


def asked_of(played: Played, instant: int, why: Why) -> set[bytes]:
    ends = {why.one.customer, why.other.customer}
    return {proposal for proposal, customers in played.asked[instant].items() if customers == ends}


async def propose_and_decline(played: Played) -> None:
    """Two known people come with one address: which proposals the other events make follows from hashes, and so from chance."""
    await played.parts.unifier.unify([names(f"{at}", f"carla-{at}", "carla@shop.example") for at in (2_001, 2_002)], 1_000, [])
    await played.remember()
    hashes = [hash_of(normalise("user_id", f"carla-{at}"), played.store.vault.lookup_key) for at in (2_001, 2_002)]
    found = {
        row["customer"]
        for row in await played.store.pool.fetch("SELECT customer FROM identifiers WHERE value_hash = ANY($1)", hashes)
    }
    [proposal] = [one for one, customers in played.asked[played.ledger.recording].items() if customers == found]
    await played.parts.decider.decide_proposal("declined", proposal, False, "ann", "they are mother and daughter")
    await played.remember()


async def test_the_two_and_what_was_proposed_of_them_are_those_of_then(store: Store) -> None:
    played, random = await play(store, 4, decisions=True), Random(4)
    await propose_and_decline(played)
    for instant in some(played, 6):
        then = played.states[instant]
        for one, other in (random.sample(sorted(then), 2) for _ in range(6)):
            why = await why_of(played, one, other, instant)
            assert (why.one.customer, why.other.customer) == (then[one].canonical, then[other].canonical)
            assert why.explained.together is (why.one.customer == why.other.customer)
            assert set(why.proposals) == (set() if why.explained.together else asked_of(played, instant, why))
        for two in [sorted(customers) for customers in played.asked[instant].values()]:
            why = await why_of(played, two[0], two[1], instant)
            assert [why.one.customer, why.other.customer] == two
            assert set(why.proposals) == asked_of(played, instant, why)
    asked = [played.asked[instant].keys() for instant in sorted(played.asked)]
    assert any(one - two for one, two in pairwise(asked)), "none was closed"
    assert any(two - one for one, two in pairwise(asked)), "none was proposed later"


async def test_who_was_not_known_then_is_refused_as_when_she_is_resolved(store: Store) -> None:
    played, refused = await play(store, 4), set()
    first, last = min(played.states), max(played.states)
    someone, now = min(played.states[first]), played.states[last]
    unknown_first = sorted(now.keys() - played.states[first].keys())[:12]
    for instants in (Instants(known_at=first), Instants(LAST, first), Instants(as_of=100)):
        then = await played.state(instants)
        for end in (end for end in unknown_first if someone in then and end not in then):
            with pytest.raises(NotFound) as nobody:
                await played.explanations.resolve(end, instants)
            if nobody.value.reason in NOBODY_S:
                assert (await played.explanations.why(someone, end, instants)).other.customer is None
                continue
            with pytest.raises(NotFound) as unknown:
                await played.explanations.why(someone, end, instants)
            assert unknown.value.reason == nobody.value.reason == "IDENTIFIER_UNKNOWN"
            refused.add(instants)
    assert refused
    customer = next(r.customer for r in now.values() if r.customer not in {k.customer for k in played.states[first].values()})
    with pytest.raises(NotFound) as nobody:
        await why_of(played, customer, someone, first)
    assert nobody.value.reason == "CUSTOMER_UNKNOWN"


async def test_a_blocked_value_names_the_rules_from_which_on_it_is(store: Store) -> None:
    """Blocked by the second version and the third, given back by the fourth, blocked again by the fifth."""
    played = await play(store, 4)
    people = [node for node in sorted(played.states[max(played.states)]) if node.namespace == "user_id"]
    whys = [await played.explanations.why(one, other, NOW) for one, other in combinations(people, 2)]
    why, value = next((w, o.nodes[0]) for w in whys for o in w.explained.obstacles if o.kind in ("SHARED", "CONTESTED"))
    for version, since in ((2, 2), (3, 2), (4, None), (5, 5)):
        document = rules_blocking([value.value_hash.hex()] if since else [], 100 + version)
        activated = await activate(store, document, f"version {version}")
        then = Instants(known_at=activated.recorded_at)
        told = await (await store.parts()).explanations.why(why.one.node, why.other.node, then)
        found = {value_hash: one.version for value_hash, one in told.grounded.blocked_since.items()}
        assert found == ({value.value_hash: since} if since else {})


def rules_blocking(hashes: list[str], max_cluster: int) -> RulesDocument:
    shipped = rulebook.SHIPPED.document
    first = msgspec.structs.replace(shipped.namespaces[0], blocked_hashes=tuple(hashes))
    return msgspec.structs.replace(shipped, namespaces=(first, *shipped.namespaces[1:]), max_cluster=max_cluster)


async def test_other_rules_that_are_tried_tell_what_they_would_conclude_once_in_force(store: Store) -> None:
    """Now, of what had happened by any instant, and, of those in force, of what was known at any: nothing is written."""
    played, random = await play(store, 4), Random(4)
    nodes = sorted(played.states[max(played.states)])
    pairs = [
        (one, other, at)
        for at in (NOW, Instants(as_of=LAST // 2), Instants(as_of=LAST))
        for one, other in (random.sample(nodes, 2) for _ in range(25))
    ]
    shipped = rulebook.SHIPPED.document
    for known_at in some(played, 3):
        then = Instants(known_at=known_at)
        for one, other in (random.sample(sorted(played.states[known_at]), 2) for _ in range(5)):
            same = await played.explanations.why(one, other, then, rules_of(shipped, 0))
            assert same.explained == (await played.explanations.why(one, other, then)).explained
    stricter = msgspec.structs.replace(
        shipped,
        namespaces=tuple(msgspec.structs.replace(rule, shared_after=rule.shared_after and 1) for rule in shipped.namespaces),
    )
    events = await whole_log(store.pool)
    before = [await _joined(played.explanations, *pair, rules_of(stricter, 0)) for pair in pairs]
    plainly = [await _joined(played.explanations, *pair) for pair in pairs]
    assert await whole_log(store.pool) == events
    assert before != plainly, "these rules change something"
    await activate(store, stricter, "stricter")
    while await (await activator(store))._resettle_page():
        pass
    parts = await store.parts()
    assert before == [await _joined(parts.explanations, *pair) for pair in pairs]
    few = msgspec.structs.replace(stricter, max_sightings=2)
    if stricter.max_sightings > few.max_sightings:
        with pytest.raises(InvalidInput) as refused:
            await parts.explanations.why(*pairs[0][:2], NOW, rules_of(few, 0))
        assert refused.value.reason == "RULES_NOT_TRIED"


async def _joined(explanations: Explanations, one: Node, other: Node, instants: Instants, tried: Rules | None = None) -> str:
    """What is told, but for who had a name."""
    try:
        explained = (await explanations.why(one, other, instants, tried)).explained
    except NotFound as unknown:
        return unknown.reason
    return repr((explained.together, explained.links, sorted(explained.obstacles, key=repr)))

"""What identity tells about the past, on a real PostgreSQL, is what was so, and what the pure domain makes of the facts."""

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import msgspec
import pytest

from services.identity.composition import Parts
from services.identity.domain.decision import Act, Decide, Party
from services.identity.domain.rules_document import document_of
from services.identity.domain.sighting import Suppression
from services.identity.explaining import Explanations, Why
from services.identity.graph.crowding import Taking, shared
from services.identity.graph.explain import Explained, explain
from services.identity.graph.facts import Facts, Node
from services.identity.graph.ownership import contests, divide
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.graph.standing import Obstacle, standing_on
from services.identity.grounding import MOST_OWNERS
from services.identity.ledger import Ledger
from services.identity.recall import Instants
from services.identity.tables import erasures, rulebook, views
from services.identity.tables.views import Resolved
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.wire import RawEvent
from shared.instants import now_us
from tests.live.test_identity import Store, in_units, sighting_of, store, traffic
from tests.properties.recalled import first_told

__all__ = ["store"]  # the fixture

LAST = 1_000  # all of it happened by then
FEW = msgspec.structs.replace(DEFAULT_RULES, max_sightings=3)
# With kiosks, values of two people, logins and kiosks that were seen in more ways than count, and what is known of them by an instant.
SEEDS = [4, 5, 6, 8]
COUNTED = ("SHARED", "CONTESTED")  # of what is so the owners are told
State = dict[Node, Resolved]


@dataclass
class Played:
    """What was so at each instant at which something became known."""

    store: Store
    parts: Parts
    raw: list[RawEvent]
    nodes: list[Node]
    states: dict[int, State] = field(default_factory=dict)
    asked: dict[int, dict[bytes, set[bytes]]] = field(default_factory=dict)  # by proposal that is open, the two customers

    async def remember(self) -> None:
        self.states[self.ledger.recording] = await state_of(self.store)
        rows = await self.store.pool.fetch(
            """SELECT proposal_id, one.canonical AS one, two.canonical AS two FROM proposals
               JOIN customers AS one USING (customer) JOIN customers AS two ON two.customer = other WHERE state = 'open'"""
        )
        self.asked[self.ledger.recording] = {row["proposal_id"]: {row["one"], row["two"]} for row in rows}

    @property
    def ledger(self) -> Ledger:
        return self.parts.ledger

    @property
    def explanations(self) -> Explanations:
        return self.parts.explanations

    async def state(self, instants: Instants) -> State:
        found = {}
        for node in self.nodes:
            try:
                found[node] = await self.explanations.resolve(node, instants)
            except NotFound:
                continue
        return found

    def resolving(self, as_of: int) -> set[Node]:
        """What events resolved by, also those that saw nothing else."""
        return {sighting_of(e, self.store.vault.lookup_key).seen().nodes[0] for e in self.raw if e.occurred_at <= as_of}

    def facts(self, as_of: int) -> Facts:
        facts = Facts()
        for event in self.raw:
            seen = sighting_of(event, self.store.vault.lookup_key).seen()
            if len(seen.nodes) > 1 and event.occurred_at <= as_of:
                facts.see(seen.nodes, seen.evidence)
        return facts


async def state_of(store: Store) -> State:
    """Now, by the tables."""
    rows = await store.pool.fetch(
        "SELECT namespace, value_hash, customer, canonical FROM identifiers JOIN customers USING (customer)"
    )
    return {Node(row["namespace"], row["value_hash"]): Resolved(row["customer"], row["canonical"]) for row in rows}


@pytest.fixture(params=[DEFAULT_RULES, FEW], ids=["shipped", "crowded"])
def rules(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Rules:
    """As shipped, in force from the beginning."""
    rules: Rules = request.param
    shipped = msgspec.structs.replace(rulebook.SHIPPED, rules=rules, document=document_of(rules))
    monkeypatch.setattr(rulebook, "SHIPPED", shipped)
    return rules


async def play(store: Store, seed: int, decisions: bool = False) -> Played:
    """Late events among them: what happened first is not what is known first."""
    random = Random(seed)
    times = random.sample(range(LAST), 100)
    raw = [msgspec.structs.replace(e, occurred_at=t, received_at=t) for e, t in zip(traffic(random, 100), times, strict=True)]
    nodes = {node for event in raw for node in sighting_of(event, store.vault.lookup_key).seen().nodes}
    played = Played(store, await store.parts(), raw, sorted(nodes))
    for sequence, unit in enumerate(in_units(random, raw), 1):
        await played.parts.unifier.unify(unit, sequence, [])
        await played.remember()
        if decisions and random.random() < 0.6:
            await decide(played, random)
    return played


async def decide(played: Played, random: Random) -> None:
    """People join, keep apart, and change their minds."""
    known = sorted(played.states[max(played.states)])
    if len(known) < 2:
        return
    one, other = (Party(value_hash=node.value_hash) for node in random.sample(known, 2))
    act: Act = random.choice(["merge", "merge", "forbid"])
    name = f"request-{len(played.states)}"
    try:
        who: Any = {"decided_by": "ann", "reason": "they say so", "move_others": True}
        made, *_ = await played.parts.decider.decide(Decide(request_id=name, act=act, one=one, other=other, **who))
        await played.remember()
        if random.random() < 0.4:
            await played.parts.decider.withdraw(f"{name}-withdrawn", made.decision_id, "ben", "they were wrong")
            await played.remember()
    except (InvalidInput, WrongState):
        return


def some(played: Played, amount: int) -> list[int]:
    instants = sorted(played.states)
    return instants[:: max(1, len(instants) // amount)]


def canonical(state: State) -> dict[Node, bytes]:
    return {node: resolved.canonical for node, resolved in state.items()}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("rules")
async def test_as_known_then_is_what_was_so_then(store: Store, seed: int) -> None:
    played = await play(store, seed, decisions=True)
    for instant in some(played, 6):
        assert await played.state(Instants(known_at=instant)) == played.states[instant]
        # Conclusions replayed, and concluded anew from the facts that were known: the two never differ.
        assert canonical(await played.state(Instants(LAST, instant))) == canonical(played.states[instant])


@pytest.mark.parametrize("seed", [3, 7])  # with values that are contested before any event is known by them
async def test_as_of_an_instant_is_what_the_facts_that_had_happened_come_to(store: Store, rules: Rules, seed: int) -> None:
    played = await play(store, seed)
    numbers = {row["customer"]: row["founding_number"] for row in await store.pool.fetch("SELECT * FROM customers")}
    rows = await store.pool.fetch("SELECT * FROM identifiers WHERE own")
    own = {Node(row["namespace"], row["value_hash"]): row["customer"] for row in rows}
    told = set()
    for as_of in (100, 200, 300, LAST):
        facts = played.facts(as_of)
        partition = divide(facts, rules)
        found = canonical(await played.state(Instants(as_of=as_of)))
        resolving = played.resolving(as_of)
        for node, group in partition.group_of.items():
            if node in partition.shared and group.nodes == {node} and node not in resolving:
                assert node not in found, "nothing resolved by it yet: it is nobody's"
                assert await why_nobody(played, node, as_of) == whose_not(node, partition)
                continue
            founded = sorted((numbers[own[other]], own[other]) for other in group.nodes if other in own)
            assert found.get(node) == (founded[0][1] if founded else None)
        told |= {whose_not(node, partition) for node in partition.shared - found.keys()}
        for node in found.keys() - partition.group_of.keys():
            assert found[node] == own[node], "it was seen, but with nothing else"
    assert "IDENTIFIER_CONTESTED" in told


async def why_nobody(played: Played, node: Node, as_of: int) -> str:
    with pytest.raises(NotFound) as refused:
        await played.explanations.resolve(node, Instants(as_of=as_of))
    return refused.value.reason


def whose_not(node: Node, partition: Partition) -> str:
    return "IDENTIFIER_CONTESTED" if node in partition.contested else "IDENTIFIER_SHARED"


@pytest.mark.parametrize("whose", ["user_id", "anonymous_id"])  # the latter may be the tablet, which was linked to people
async def test_an_erased_customer_is_told_of_at_no_instant(store: Store, whose: str) -> None:
    played = await play(store, 5)
    rows = await store.pool.fetch(
        "SELECT customer FROM identifiers WHERE own AND namespace = $1 ORDER BY shared DESC, customer", whose
    )
    someone = rows[0]["customer"]
    members = await views.members(store.pool, someone)
    hashes = sorted({h for found in (await erasures.identifiers_of(store.pool, members)).values() for h in found})
    async with store.pool.acquire() as connection, connection.transaction():
        await erasures.erase(connection, members, hashes, Suppression(b"e", "refuse", now_us()))
    for table in ("former_links", "identifiers"):
        assert await store.pool.fetchval(f"SELECT count(*) FROM {table} WHERE value_hash = ANY($1::bytea[])", hashes) == 0
    assert (
        await store.pool.fetchval(
            "SELECT count(*) FROM superseded_evidence LEFT JOIN sightings USING (sighting_id) WHERE nodes IS NULL"
        )
        == 0
    )
    for instants in [Instants(known_at=known_at) for known_at in some(played, 4)] + [Instants(as_of=300)]:
        state = await played.state(instants)
        assert not {node.value_hash for node in state} & set(hashes)
        for resolved in state.values():
            assert not {resolved.canonical, resolved.customer} & set(members)
        for one, other in pairwise(sorted(node for node in state if node.namespace == "user_id")):
            why = await played.explanations.why(one, other, instants)
            assert not {owner.node.value_hash for found in why.grounded.owned.values() for owner in found.earliest} & set(hashes)
    for row in await store.pool.fetch("SELECT customer FROM customers WHERE erased_by IS NULL"):
        history = await played.explanations.history(row["customer"])
        assert not {getattr(record.entry.public(), "value_hash", None) for record in history.records} & set(hashes)
        assert not {history.other_of(record) for record in history.records} & set(members)
    for instant in some(played, 4):
        left = {n: r for n, r in played.states[instant].items() if n.value_hash not in hashes and r.customer not in members}
        then = await played.state(Instants(known_at=instant))
        assert {n: r.customer for n, r in then.items()} == {n: r.customer for n, r in left.items()}


def times(explained: Explained) -> list[int]:
    """Of the evidence; no two events happened at one instant."""
    return [link.evidence.occurred_at for link in explained.links if link.evidence is not None]


def shown(obstacle: Obstacle) -> tuple[object, ...]:
    link = obstacle.link
    return *obstacle[:3], link and (link.strong, link.weak, link.evidence and link.evidence.occurred_at)


def owned(why: Why, value: Node) -> dict[Node, int]:
    """Whose a value is, and when each was first seen with it."""
    told = why.grounded.owned[value.value_hash]
    assert len(told.earliest) == min(MOST_OWNERS, sum(told.counts.values()))
    assert all(owner.told.source == "web" for owner in told.earliest)
    return {owner.node: owner.evidence.occurred_at for owner in told.earliest}


def expected_owners(facts: Facts, rules: Rules, value: Node, contested: bool) -> dict[Node, int]:
    taking, outside = Taking(facts, rules), shared(facts, rules)
    first: dict[Node, int] = {}
    for together, evidence in facts.together.items():
        if value in taking.part(together, evidence):
            for node in together - {value}:
                first[node] = min(evidence.occurred_at, first.get(node, evidence.occurred_at))
    rank, rule = rules.rank(value.namespace), rules.of(value.namespace)
    if not contested:
        return {node: at for node, at in first.items() if rules.rank(node.namespace) < rank}
    return {
        node: at
        for node, at in first.items()
        if node not in outside and (node.namespace in rule.owned_by or (rules.of(node.namespace).device and not rule.device))
    }


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_pair_is_explained_as_by_all_facts(store: Store, rules: Rules, seed: int) -> None:
    played, random = await play(store, seed), Random(seed)
    for as_of in (300, LAST):
        facts = played.facts(as_of)
        whole = standing_on(facts, rules, shared(facts, rules))
        then = await played.state(Instants(as_of=as_of))
        for _ in range(25):
            one, other = random.sample(sorted(then), 2)
            expected = explain(whole, one, other)
            why = await played.explanations.why(one, other, Instants(as_of=as_of))
            assert (why.one, why.other) == ((one, then[one].canonical), (other, then[other].canonical))
            assert why.explained.together is expected.together
            assert times(why.explained) == times(expected)
            assert why.explained.crowded == expected.crowded
            assert list(map(shown, first_told(why.explained))) == list(map(shown, first_told(expected)))
            assert {o for o in why.explained.obstacles if o.kind in COUNTED} == {o for o in expected.obstacles if o.kind in COUNTED}
            for obstacle in why.explained.obstacles:
                if obstacle.kind in COUNTED:
                    [value] = obstacle.nodes
                    counted = list(why.grounded.owned[value.value_hash].counts.items())
                    by_two = value in contests(facts, rules, shared(facts, rules)).open
                    assert by_two is (obstacle.kind == "CONTESTED")
                    assert by_two or rules.is_shared(value.namespace, counted)
                    assert owned(why, value) == expected_owners(facts, rules, value, by_two)
            for link in why.explained.links:
                assert link.evidence is not None
                assert why.told[link.evidence.event_id].source == "web"

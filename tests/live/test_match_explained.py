"""A match is told as it was concluded, at any instant since: its parts, its model, and the events that say so."""

from dataclasses import dataclass, field
from itertools import combinations
from random import Random
from typing import Any

import pytest

from services.identity.composition import Parts
from services.identity.graph.facts import Node
from services.identity.matching.model import default
from services.identity.matching.record import Person
from services.identity.matching.score import Scorer
from services.identity.recall import Instants
from services.identity.records.likeness import Likeness, RecordPair
from services.identity.records.said import Said, merge, person_of
from services.identity.records.said import read as read_said
from services.identity.tables import record_tables
from services.identity.tables.modelbook import read
from services.identity.weighing import Weighed
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.wire import RawEvent, decode_unit
from tests.live.test_identity import Store, in_units, sighting_of, store
from tests.live.test_identity_explained import state_of
from tests.live.test_matching import CAP, GIVEN, SURNAMES, misspelt, settled, traffic
from tests.live.test_matching_models import activate, shifted

__all__ = ["store"]  # the fixture

LAST = 100_000  # all of it had happened by then
Kept = dict[RecordPair, Likeness]


@dataclass
class Played:
    """What was said and what matched at each instant, as it was while it was the present."""

    store: Store
    parts: Parts
    matches: dict[int, Kept] = field(default_factory=dict)
    persons: dict[int, dict[tuple[bytes, str], Person]] = field(default_factory=dict)  # by founding identifier and source
    scorers: dict[int, Scorer] = field(default_factory=dict)
    states: dict[int, dict[Node, bytes]] = field(default_factory=dict)

    async def remember(self, scorer: Scorer) -> None:
        rows = await record_tables.after(self.store.pool, b"", 1_000)
        opened = await self.parts.matcher.comparing.open(rows)
        now = self.parts.ledger.recording
        self.matches[now] = await record_tables.likenesses_between(self.store.pool, rows.keys())
        self.persons[now] = {(kept.value_hash, kept.source): kept.person for kept in opened.values()}
        self.scorers[now] = scorer
        self.states[now] = {node: resolved.canonical for node, resolved in (await state_of(self.store)).items()}

    def check(self, instant: int, weighed: Weighed) -> None:
        """The sum of its parts is what the scorer said then, of what was said by then."""
        total, explained = weighed.explanation.prior_weight, weighed.explanation
        for part in explained.parts:
            total += part.weight + part.term_weight
        one, other = (self.persons[instant][side.value_hash, side.source] for side in (weighed.one, weighed.other))
        scorer = self.scorers[instant]
        assert total == explained.weight
        assert explained.weight in (scorer.weigh(one, other), scorer.weigh(other, one))
        assert explained.model == scorer.model.version

    def some(self, amount: int) -> list[int]:
        instants = sorted(self.matches)
        return instants[1 :: max(1, len(instants) // amount)]


async def play(store: Store, seed: int) -> Played:
    """Halfway comes another model."""
    random, scorer = Random(seed), Scorer(default())
    played = Played(store, await store.parts(CAP))
    await played.parts.model_activator.record_shipped()
    units = in_units(random, traffic(random, 90))
    for sequence, unit in enumerate(units, 1):
        if sequence == len(units) // 2:
            await activate(store, shifted(-2), "another")
            played.parts, scorer = await store.parts(CAP), Scorer(read(shifted(-2)))
        await played.parts.unifier.unify(unit, sequence, [])
        await settled(played.parts.unifier, played.parts.matcher)
        await played.remember(scorer)
    return played


def mostly_in_order(random: Random, amount: int) -> list[RawEvent]:
    """Few people with two cards each, of whom much is said; some of it comes late, or is taken back."""
    made = []
    for number in range(amount):
        person = random.randrange(4)
        said: dict[str, Any] = {
            "firstName": misspelt(random, GIVEN[person]),
            "lastName": misspelt(random, SURNAMES[person]),
            "birthday": f"1950-01-1{person}",
            "address": {"street": f"{person} Lindenallee", "city": "Quedlinburg", "postal_code": "06484"},
        }
        at = max(1, 10 * number - (random.randrange(300) if random.random() < 0.03 else 0))
        made.append(
            RawEvent(
                kind="identify",
                message_id=f"message-{number}",
                source="web",
                external_ids=[("card", f"card-{person}-{random.randrange(2)}")],
                traits={name: None if random.random() < 0.1 else value for name, value in said.items() if random.random() < 0.7},
                occurred_at=at,
                received_at=100_000,
            )
        )
    return made


def persons_as_of(raw: list[RawEvent], instant: int, key: bytes) -> dict[tuple[bytes, str], Person]:
    """From all events that had happened, in whatever order they came; by founding identifier and source."""
    said: dict[tuple[bytes, str], dict[str, Said]] = {}
    for event in raw:
        if event.occurred_at <= instant:
            seen = sighting_of(event, key).seen()
            record = seen.nodes[0].value_hash, event.source
            said[record] = merge(said.get(record, {}), read_said(event.traits, seen.evidence))
    return {record: person_of(found) for record, found in said.items()}


async def events_by_unit(store: Store) -> dict[tuple[int, bytes], str]:
    """The source of each event, by where it stands."""
    units = await store.pool.fetch("SELECT number, unit FROM outbox")
    entries = [(row["number"], entry) for row in units for entry in decode_unit(row["unit"]).entries]
    return {(number, e.event_id): e.public().source for number, e in entries if e.type_id == "customer.identified"}


async def test_a_match_of_any_instant_is_told_as_it_was_concluded(store: Store) -> None:
    played = await play(store, 2)
    where, last = await events_by_unit(store), max(played.matches)
    changed = 0
    for instant in played.some(6):
        rows = await record_tables.records(store.pool, {i for ids in played.matches[instant] for i in ids})
        for ids, like in list(played.matches[instant].items())[:12]:
            one, other = (rows[i].customer for i in ids)
            told, _ = await played.parts.explanations.compare(one, other, Instants(known_at=instant))
            wanted = {(rows[i].value_hash, rows[i].source) for i in ids}
            [weighed] = [w for w in told if {(w.one.value_hash, w.one.source), (w.other.value_hash, w.other.source)} == wanted]
            played.check(instant, weighed)
            assert (weighed.explanation.weight, weighed.witnessed, weighed.veto) == (like.weight, like.witnessed, like.veto)
            for side in (weighed.one, weighed.other):
                assert side.said_by
                assert all(where[saying.unit, saying.event_id] == side.source for saying in side.said_by)
            changed += played.matches[last].get(ids) != like
    assert changed, "nothing had another weight later"


async def test_a_match_in_a_chain_of_links_has_its_grounds(store: Store) -> None:
    played, seen = await play(store, 3), 0
    nodes = {
        row["value_hash"]: Node(*row.values()) for row in await store.pool.fetch("SELECT namespace, value_hash FROM identifiers")
    }
    for instant in played.some(4):
        for like in list(played.matches[instant].values())[:12]:
            why = await played.parts.explanations.why(nodes[like.one], nodes[like.other], Instants(known_at=instant))
            links = [*why.explained.links, *(one.link for one in why.explained.obstacles if one.link is not None)]
            for link in links:
                if link.weight is not None:
                    seen += 1
                    played.check(instant, why.grounds[link].weighed)
                    assert why.grounds[link].weighed.explanation.weight == link.weight
    assert seen


async def test_who_was_one_by_a_match_was_so_as_it_was_known(store: Store) -> None:
    """Concluded anew from the facts of then, by the model of then: another one came in between."""
    played = await play(store, 4)
    for instant in played.some(4):
        for node, canonical in played.states[instant].items():
            found = await played.parts.explanations.resolve(node, Instants(LAST, instant))
            assert found.canonical == canonical
    assert len({len(set(state.values())) for state in played.states.values()}) > 1


async def test_what_is_not_known_of_then_is_not_told_from_what_is_said_now(store: Store) -> None:
    """Of two that never matched it is told as long as both say the same; then it is refused."""
    played, told_of, refused = await play(store, 2), 0, 0
    rows = list((await record_tables.after(store.pool, b"", 1_000)).values())
    for instant in played.some(4):
        for one, other in zip(rows, rows[7:], strict=False):
            try:
                told, _ = await played.parts.explanations.compare(one.customer, other.customer, Instants(known_at=instant))
            except (InvalidInput, NotFound):
                continue  # one of them wasn't founded yet, or both are one customer's own
            except WrongState as refusal:
                refused += refusal.reason == "RECORDS_OF_THEN_UNKNOWN"
                continue
            told_of += len(told)
            for weighed in told:
                played.check(instant, weighed)
    assert told_of
    assert refused


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_told_as_of_an_instant_is_what_had_been_said(store: Store, seed: int) -> None:
    """Though some of it came late, or was taken back; where nobody knows it is not told."""
    random, scorer, parts = Random(seed), Scorer(default()), await store.parts()
    raw = mostly_in_order(random, 120)
    units = [raw[at : at + 2] for at in range(0, len(raw), 2)]
    for sequence, unit in enumerate(units, 1):
        await parts.unifier.unify(unit, sequence, [])
        await settled(parts.unifier, parts.matcher)
    rows = list((await record_tables.after(store.pool, b"", 1_000)).values())
    told_of = past = unknown = 0
    for as_of in range(100, 1_200, 100):
        persons = persons_as_of(raw, as_of, store.vault.lookup_key)
        for one, other in combinations(rows, 2):
            try:
                told, missing = await parts.explanations.compare(one.customer, other.customer, Instants(as_of=as_of))
            except InvalidInput:
                continue  # of one customer
            except WrongState:
                unknown += 1
                continue
            unknown += missing
            for weighed in told:
                ends = [persons[side.value_hash, side.source] for side in (weighed.one, weighed.other)]
                assert weighed.explanation.weight in (scorer.weigh(*ends), scorer.weigh(*ends[::-1]))
                told_of += 1
                past += weighed.since is not None
    assert told_of
    assert past
    assert unknown


def of_card(number: int, card: str, **said: Any) -> RawEvent:
    traits = {
        "lastName": "Oppenheimer",
        "address": {"street": "12 Lindenallee", "city": "Quedlinburg", "postal_code": "06484"},
        **said,
    }
    return RawEvent(
        kind="identify",
        message_id=f"message-{number}",
        source="desk",
        external_ids=[("card", card)],
        traits=traits,
        occurred_at=number,
        received_at=10_000,
    )


async def test_who_is_no_match_any_more_is_split_by_what_was_said_then(store: Store) -> None:
    """A merge and a split name the events that made them so."""
    parts = await store.parts()
    told = [
        of_card(1, "one", firstName="Wilhelmine", birthday="1950-07-21"),
        of_card(2, "two", firstName="Wilhelmina", birthday="1950-07-21"),
        of_card(3, "two", firstName="Theodora", birthday="1990-09-02"),
    ]
    for sequence, event in enumerate(told, 1):
        await parts.unifier.unify([event], sequence, [])
        await settled(parts.unifier, parts.matcher)
    [first] = await store.members("card", "one")
    units = await events_by_unit(store)
    ids = [event_id for _, event_id in sorted(units)]
    history = await parts.explanations.history(first)
    caused = [(r.entry.type_id, r.entry.public().cause, r.entry.occurred_at) for r in history.records[2:]]
    assert caused == [("customer.merged", ids[1], 2), ("customer.split", ids[2], 3)]

"""The law of `since`: from then on, and just before it not, the past as it is asked for says the same, however late all of it came."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.profile import beginnings
from services.profile.beginnings import Beginnings, Mover
from services.profile.belonging import Belongings
from services.profile.causes import Cause, begins_with, cause_of
from services.profile.domain import runs
from services.profile.domain.clocks import NOW, Instant
from services.profile.domain.golden import golden_record, unconfirmed
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import Standing, by_events_alone, moves, standing, standing_by
from services.profile.domain.rules_document import RulesDocument, rules_of
from services.profile.domain.segments import members
from services.profile.domain.state import Held
from services.profile.tables.history import History
from services.profile.tables.rulebook import Activation
from shared.errors import NotFound
from shared.events import customer as events
from shared.identifiers import hash_of, normalise
from shared.instants import SECOND
from shared.log import LogReader
from shared.log.reader import NEWEST
from shared.pieces import AT_ONCE, Pieces
from shared.vault import Vault
from tests.properties.past_store import AUDIT, PARTITIONS, Past
from tests.properties.pasts import CUSTOMERS, Teller, activity
from tests.properties.people_read import decision
from tests.properties.purchases import START
from tests.turns import Turns

Life = list[tuple[int, list[tuple[Any, ...]]]]
DOCUMENT: dict[str, Any] = {
    "traits": {"email": {"rule": "most_recent", "verified_first": True}},
    "computed": {
        "recent": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "5s"},
        "orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"},
        "since": {"of": "event.name == 'Order Completed'", "aggregate": "time_since"},
    },
    "segments": {
        "many": {"when": "computed.orders >= 2"},
        "kiel": {"when": "traits.city == 'Kiel'"},
        "nowhere": {"when": "!has(traits.city)"},
        "buyers": {"when": "computed.recent >= 2"},
        "lapsed": {"when": "computed.since > duration('4s') && traits.city == 'Kiel'"},
        "moved": {"when": "instant(traits.moved) > now - duration('3s')"},
        "mail": {"when": "traits.email == 'a@shop.example'"},
    },
}
WITHOUT_CONFIRMING = DOCUMENT | {"traits": {}, "segments": {n: one for n, one in DOCUMENT["segments"].items() if n != "mail"}}
moments = st.integers(0, 12)
values = st.one_of(
    st.tuples(st.just("city"), st.sampled_from(["Kiel", "Kiel", "Bremen", None])),
    st.tuples(st.just("moved"), st.sampled_from(["2026-05-28T20:26:44Z", "2026-05-28T20:26:48Z"])),
    st.tuples(st.just("email"), st.sampled_from(["a@shop.example", "b@shop.example"])),
)
who = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("order"), who, moments),
    st.tuples(st.just("order"), who, moments),
    st.tuples(st.just("identify"), who, moments, values),
    st.tuples(st.just("identify"), who, moments, values),
    st.tuples(st.just("confirm"), st.sampled_from("ab"), moments),
    st.tuples(st.just("merge"), st.just(0), st.just(1), st.just(0)),
    st.tuples(st.just("split"), st.integers(0, 3), st.just(0)),
)
# How long nothing happens, and what becomes known then: mostly one thing.
lives = st.lists(st.tuples(st.sampled_from([0, 1, 2, 5]), st.lists(steps, min_size=1, max_size=2)), min_size=2, max_size=6)
A, B = ("email", "a@shop.example"), ("email", "b@shop.example")


class Kept:
    """What the service keeps of memberships, with looks as it takes them, in memory."""

    def __init__(self, document: Mapping[str, Any], walked_events: int) -> None:
        self.past = Past()
        self.rules = rules_of(msgspec.convert(document, RulesDocument), 1)
        self.chooser = self.past.profiles.chooser
        self.chooser._rulebook._activations = [Activation(rules=self.rules, document=RulesDocument())]
        self.history = self.past.history.of(self.rules.keeping)
        self.beginnings = Beginnings(cast(Vault, self.past.keys), self.chooser, PARTITIONS, walked_events)
        self.belongings = Belongings(self.past.profiles, lambda: self.past.log.now)
        self.turns = Pieces(AT_ONCE)
        self.written: dict[bytes, set[str]] = {}
        self.due: dict[bytes, int] = {}
        self.followed = 0

    async def pass_time(self, until: int) -> list[tuple[bytes, str, bool, int]]:
        """Looks whenever somebody is due, and at the end."""
        found = []
        while (at := min(self.due.values(), default=until + 1)) <= until:
            self.past.log.now = at
            due = {customer: when for customer, when in self.due.items() if when <= at}
            self.due = {customer: when for customer, when in self.due.items() if when > at}
            found += await self.look({customer: Cause("time", when, alone=True) for customer, when in due.items()})
        self.past.log.now = until
        return found

    async def follow(self) -> list[tuple[bytes, str, bool, int]]:
        new, self.followed = self.past.log.records[self.followed :], len(self.past.log.records)
        held = await self.held()
        lineage = canonicals(list(held), held)
        of = {c: [r for r in new if lineage[r.entry.stream] == c] for c in set(lineage.values())}
        return await self.look({canonical: cause_of(records) for canonical, records in of.items() if records})

    async def confirmed(self) -> list[tuple[bytes, str, bool, int]]:
        return await self.look({canonical: Cause("consent", self.past.log.now) for canonical in await self.held()})

    async def held(self) -> dict[bytes, Held]:
        return await self.history.states({record.entry.stream for record in self.past.log.records})

    async def look(self, causes: Mapping[bytes, Cause]) -> list[tuple[bytes, str, bool, int]]:
        """(customer, segment, whether it is in, since when)."""
        held, now, movers = await self.held(), self.past.log.now, {}
        lineage = canonicals(list(held), held)
        for canonical, cause in causes.items():
            cluster = {member: held[member] for member in held if lineage[member] == canonical}
            if not cluster:
                continue  # it is another's by now, and looked at as such
            found = await self.standing(cluster, now)
            wanted = {}
            for move in moves(self.written, cluster, canonical, found.segments):
                own = self.written.setdefault(move.customer, set())
                (own.add if move.entered else own.remove)(move.segment)
                if move.customer == canonical:
                    wanted[move.segment] = move.entered
            self.due = {member: at for member, at in self.due.items() if member not in cluster}
            begins = begins_with(cause, cluster, dict.fromkeys(cluster, NEWEST), by_events_alone(self.rules, wanted))
            movers[canonical] = Mover(cluster, wanted, cause.valid_at if begins else None)
            if found.due_at is not None:
                self.due[canonical] = found.due_at
        began = await self.beginnings.of(self.history, cast(LogReader, self.past.log), self.rules, movers, now, self.turns)
        assert began.keys() == {(customer, name) for customer, mover in movers.items() for name in mover.wanted}
        return [(customer, name, movers[customer].wanted[name], at) for (customer, name), at in began.items()]

    async def standing(self, cluster: Mapping[bytes, Held], at: int) -> Standing:
        states = {member: one.state for member, one in cluster.items()}
        verified = await self.chooser.confirmed(unconfirmed(states.values(), self.rules), NOW)
        return standing(states.values(), golden_record(states, self.rules, verified, at), self.rules, at)

    async def naive(self, customer: bytes, at: int) -> set[str] | None:
        """None: nothing had happened by then."""
        try:
            return set((await self.belongings.of(customer, AUDIT, Instant(valid_at=at))).segments)
        except NotFound:
            return None

    def confirm(self, letter: str, at: int) -> None:
        value_hash = hash_of(normalise("email", f"{letter}@shop.example"), self.past.keys.lookup_key)
        self.past.decisions.setdefault(value_hash, []).append(decision(value_hash, "granted", at, confirmed=True))


async def live(kept: Kept, life: Life) -> list[list[tuple[bytes, str, bool, int]]]:
    teller, found = Teller(kept.past), []
    now = START + 5 * SECOND
    for gap, known in life:
        now += gap * SECOND
        found.append(await kept.pass_time(now))
        await check(kept, found[-1])
        for step in known:
            play(kept, teller, step, now)
        teller.commit()
        now = kept.past.log.now
        found.append(await kept.follow())
        if any(step[0] == "confirm" for step in known):
            found[-1] += await kept.confirmed()
        await check(kept, found[-1])
    return found


def play(kept: Kept, teller: Teller, step: tuple[Any, ...], now: int) -> None:
    match step:
        case ("order", one, moment):
            at = min(START + moment * SECOND, now)
            teller._event(one, at, events.TRACKED, activity("web", at), events.Tracked(name="Order Completed"))
        case ("identify", one, moment, (trait, value)):
            at = min(START + moment * SECOND, now)
            teller._event(one, at, events.IDENTIFIED, activity("web", at), events.Identified(traits={trait: value}))
        case ("confirm", letter, moment):
            kept.confirm(letter, min(START + moment * SECOND, now))
        case ("merge" | "split", *_):
            teller.play(step)


async def check(kept: Kept, began: list[tuple[bytes, str, bool, int]]) -> None:
    now = kept.past.log.now
    for customer, segment, is_in, since in began:
        assert since <= now
        between = [at for at in range(START + SECOND // 2, now, SECOND) if since < at] + [since, now]
        for at in between:
            found = await kept.naive(customer, at)
            assert found is not None
            assert (segment in found) is is_in, (segment, at - since)
        before = await kept.naive(customer, since - 1)
        if kept.beginnings._walked_events > 100:
            assert before is None or (segment in before) is not is_in


@example(life=[(5, [("order", 0, 8)]), (0, [("order", 0, 3)])], document=DOCUMENT, walked_events=500)
@example(life=[(5, [("order", 0, 8)]), (0, [("order", 0, 3)])], document=WITHOUT_CONFIRMING, walked_events=500)
@example(life=[(0, [("order", 0, 0), ("order", 0, 1)]), (0, [("order", 0, 2)])], document=WITHOUT_CONFIRMING, walked_events=500)
@example(
    life=[(5, [("identify", 0, 1, A), ("identify", 0, 2, B)]), (2, [("confirm", "a", 4)])], document=DOCUMENT, walked_events=500
)
@given(life=lives, document=st.sampled_from([DOCUMENT, WITHOUT_CONFIRMING]), walked_events=st.sampled_from([500, 500, 3]))
def test_since_is_when_the_past_says_so_whenever_it_became_known(
    life: Life, document: Mapping[str, Any], walked_events: int
) -> None:
    asyncio.run(live(Kept(document, walked_events), life))


def test_a_late_event_counts_from_when_it_happened_and_of_two_the_one_that_made_the_difference() -> None:
    kept = Kept(WITHOUT_CONFIRMING, 500)
    late: Life = [(5, [("identify", 0, 8, ("moved", "x"))]), (2, [("identify", 0, 3, ("city", "Kiel")), ("order", 0, 9)])]
    [*_, found] = asyncio.run(live(kept, late))
    assert (CUSTOMERS[0], "kiel", True, START + 3 * SECOND) in found


class Heard(Pieces):
    """Counts what is done before a transaction that waits for it can be heard."""

    def __init__(self) -> None:
        super().__init__(AT_ONCE)
        self.work = Turns()

    async def done(self, much: int) -> None:
        self.work.most, self.work.done = max(self.work.most, self.work.done), 0
        await super().done(much)


async def since(heard: Pieces, work: Turns) -> int:
    """When somebody came to have many orders, of whom most happened at one instant."""
    kept = Kept(WITHOUT_CONFIRMING, 500)
    teller = Teller(kept.past)
    for moment in [*range(9), *[9] * 4 * AT_ONCE]:
        play(kept, teller, ("order", 0, moment) if moment else ("identify", 0, 0, A), START + 12 * SECOND)  # who is new has one
    teller.commit()
    mover = Mover(await kept.held(), {"many": True})
    log, now = cast(LogReader, kept.past.log), START + 12 * SECOND
    with patch.object(History, "add", work.of(History.add)), patch.object(runs, "members", work.of(members)):
        found = await kept.beginnings.of(kept.history, log, kept.rules, {CUSTOMERS[0]: mover}, now, heard)
    return found[CUSTOMERS[0], "many"] - START


async def test_a_transaction_can_be_heard_between_every_two_things_that_are_done() -> None:
    heard = Heard()
    assert await since(heard, heard.work) == SECOND
    assert heard.work.most == 1


async def test_others_have_their_turn_while_many_events_of_one_instant_are_folded() -> None:
    async with Turns() as turns:
        await since(Pieces(AT_ONCE), turns)
    assert 0 < turns.most <= AT_ONCE


async def test_who_would_be_looked_at_too_often_may_be_in_for_longer_than_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "LOOKS_AT_MOST", 4)
    assert await since(Pieces(AT_ONCE), Turns()) == 6 * SECOND


@given(life=lives, at=st.integers(START, START + 20 * SECOND))
def test_at_each_instant_those_conditions_alone_are_asked_that_may_have_changed_and_all_are_known(life: Life, at: int) -> None:
    asyncio.run(pieces_are_what_looking_at_all_gives(life, at))


async def pieces_are_what_looking_at_all_gives(life: Life, at: int) -> None:
    kept = Kept(WITHOUT_CONFIRMING, 500)
    teller, now = Teller(kept.past), START + 12 * SECOND
    for _, known in life:
        for step in known:
            play(kept, teller, step, now)
    teller.commit()
    states = {member: one.state for member, one in (await kept.held()).items()}
    segments = kept.rules.segments
    if not states or segments is None:
        return
    asked = runs.Interval(START + 12 * SECOND, states)
    found = list(runs.pieces(asked, at + 20 * SECOND, kept.rules, segments, {}))
    for (begin, names), (end, _) in pairwise([*found, (at + 20 * SECOND, frozenset())]):
        for instant in (begin, (begin + end) // 2, end - 1):
            assert standing_by(states, kept.rules, segments, (), instant).segments == names

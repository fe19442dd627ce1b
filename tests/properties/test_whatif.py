"""Laws of what-if: what is predicted happens, and a report tells nothing that its purpose couldn't read of each customer."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Mapping
from random import Random
from typing import Any, cast
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile import simulating
from services.profile.app import Instant
from services.profile.batches import Batches
from services.profile.cache import LoadingCache
from services.profile.clusters import joined, oldest_first
from services.profile.domain import survivorship
from services.profile.domain.membership import judged_by_less, standing
from services.profile.domain.rules_document import read, rules_of, to_json
from services.profile.domain.sample import Sample
from services.profile.domain.state import Held, close
from services.profile.domain.values import same
from services.profile.simulating import Progress, Simulation
from services.profile.tables.rulebook import RULES_STREAM
from shared.errors import CustomerError, LimitExceeded
from shared.events.catalogue import make_entry
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, ProfileRulesActivated, ProfileRulesDiffer, SegmentDiffers
from shared.ids import derived_id
from tests.properties.past_store import AUDIT, SUPPORT, Past
from tests.properties.pasts import CUSTOMERS, Teller, pasts
from tests.properties.people_read import decision
from tests.unrecorded import calm

CONSENT = msgspec.structs.replace(AUDIT, name="support", legal_basis="consent")
COMPUTED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "orders": {"orders": {"of": "event.type == 'track'", "aggregate": "count"}},
    "others": {"orders": {"of": "event.type == 'identify'", "aggregate": "count"}},
    "towns": {"city": {"of": "event.type == 'identify'", "aggregate": "unique_list", "value": "string(event.traits.tier)"}},
}
CONDITIONS = {"nothing": "traits.city == 'Kiel'", "orders": "computed.orders >= 2", "others": "computed.orders >= 2"}
CONDITIONS["towns"] = "'1' in computed.city"
traits = st.sampled_from(
    [{}, {"city": {"rule": "union"}}, {"city": {"rule": "first"}}, {"city": {"rule": "most_frequent"}, "tier": {"rule": "first"}}]
)
conditions = st.sampled_from(["traits.tier == 1", "has(traits.tier)", "has(traits.tier) && traits.tier == 'Kiel'"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    computed = draw(st.sampled_from(sorted(COMPUTED)))
    rules = draw(traits)
    listed = computed == "nothing" and rules.get("city", {}).get("rule") == "union"  # by which a city is a list of them
    some = "'Kiel' in traits.city" if listed else CONDITIONS[computed]
    segments = draw(st.fixed_dictionaries({}, optional={"tiered": conditions, "some": st.just(some)}))
    written = {"traits": rules, "computed": COMPUTED[computed], "segments": {n: {"when": w} for n, w in segments.items()}}
    return msgspec.json.encode(written).decode()


class Tried:
    """A past whose rules are tried and activated, two states to a page."""

    def __init__(self, past: Past) -> None:
        self.past, self.chooser = past, past.profiles.chooser
        batches = Batches(past.profiles, cast(Any, None), LoadingCache(self.load, 0), b"")
        kept: Any = self
        self.simulation = Simulation(batches, self.chooser, kept, past.history, b"key", lambda: past.log.now, calm())

    async def load(self, streams: Collection[bytes]) -> dict[bytes, Held]:
        history = self.past.history.of(self.chooser.in_force.keeping)
        held = await history.fold(await history.read(streams))
        for stream in held.keys() - self.past.keys.held.keys():
            close(held[stream].state)
        return held

    async def count(self) -> int:
        return len(await self.load(CUSTOMERS))

    async def pages(self, size: int) -> AsyncGenerator[list[bytes], None]:
        found = sorted(await self.load(CUSTOMERS))
        for first in range(0, len(found), 2):
            yield found[first : first + 2]

    async def activate(self, text: str) -> None:
        rulebook: Any = self.chooser._rulebook
        event = ProfileRulesActivated(
            request_id="",
            version=rulebook.rules.version + 1,
            document=to_json(read(text)),
            activated_by="ops",
            reason="ticket 12",
            expected=ProfileRulesDiffer(),
        )
        event_id = derived_id(b"activation", bytes([event.version]))
        self.past.log.append([make_entry(PROFILE_RULES_ACTIVATED, RULES_STREAM, event_id, 1, event)])
        await rulebook.load()

    async def predicted(self, text: str, purpose: PurposeDefined) -> Progress:
        return [step async for step in self.simulation.rules(rules_of(read(text), 0), 1_000, purpose)][-1]

    async def served(
        self, purpose: PurposeDefined
    ) -> tuple[dict[bytes, tuple[dict[str, Any], frozenset[str], frozenset[str], set[str]]], int]:
        """By canonical customer the values and segments by the rules in force, and of which of both not all was looked at; and how many
        refuse."""
        found, refused = {}, 0
        for customer in CUSTOMERS:
            held = await joined([customer], self.load)
            if not held or oldest_first(held)[0] != customer or any(one.state.erased for one in held.values()):
                continue
            try:
                await self.past.profiles.permit_cluster(customer, purpose, self.load)
            except CustomerError:
                refused += 1
                continue
            cluster = await self.past.profiles.cluster_as_of(customer, Instant(), "now")
            record = (await self.past.profiles.profile_as_of(customer, cluster)).record
            states = [past.held.state for past in cluster.past.values()]
            segments = standing(states, record, cluster.rules, self.past.log.now).segments
            found[customer] = (
                {name: trait.value for name, trait in record.traits.items()},
                segments,
                judged_by_less(record, cluster.rules),
                {name for name, trait in record.traits.items() if trait.cut},
            )
        return found, refused


async def tried(steps: list[Any], text: str) -> Tried:
    past = Past()
    teller = Teller(past)
    for _, step in steps:
        teller.play(step)
    teller.commit()
    found = Tried(past)
    await found.activate(text)
    return found


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    both = old.keys() & new.keys()
    return old.keys() ^ new.keys() | {name for name in both if same(old[name]) != same(new[name])}


@patch.object(survivorship, "MAX_UNION_ITEMS", 1)
@given(pasts, documents(), documents(), st.sampled_from([AUDIT, CONSENT]), st.frozensets(st.integers(0, 3)))
async def test_what_is_predicted_for_a_purpose_is_what_happens_to_all_who_permit_it(
    steps: list[Any], old: str, new: str, purpose: PurposeDefined, granting: frozenset[int]
) -> None:
    world = await tried(steps, old)
    for one in granting:
        world.past.decisions[b"u%d" % one] = [decision(b"u%d" % one, "granted", 1)]
    report = await world.predicted(new, purpose)
    before, refused = await world.served(purpose)
    await world.activate(new)
    after, _ = await world.served(purpose)
    changed = {(customer, name) for customer in before for name in differs(before[customer][0], after[customer][0])}
    moved = {(c, name, name in after[c][1]) for c in before for name in before[c][1] ^ after[c][1]}
    assert {(one.customer, one.trait) for one in report.examples} == changed
    assert {(one.customer, one.segment, one.entered) for one in report.moves} == moved
    found = report.found
    assert (found.customers, found.withheld_customers) == (len(before), refused)
    assert found.changed_customers == len({customer for customer, _ in changed})
    assert found.traits == {name: sum(trait == name for _, trait in changed) for name in {trait for _, trait in changed}}
    assert found.cut_traits == Counter(name for *_, cut in after.values() for name in cut)
    assert {(one.customer, one.trait) for one in report.examples if one.after is not None and one.after.cut} == {
        (customer, name) for customer, name in changed if name in after[customer][3]
    }
    for name, counts in found.segments.items():
        counted = [sum((segment, entered) == (name, way) for _, segment, entered in moved) for way in (True, False)]
        assert [counts.entered, counts.left, counts.members] == [*counted, sum(name in within for _, within, *_ in after.values())]
        assert counts.judged_by_less == sum(name in by_less for _, _, by_less, _ in after.values())
    assert found.segments.keys() == {name for text in (old, new) for name in read(text).segments}


@pytest.mark.parametrize(("purpose", "cut"), [(AUDIT, {"city": 2, "tier": 1}), (SUPPORT, {"city": 2})], ids=["all", "what it sees"])
@patch.object(survivorship, "MAX_UNION_ITEMS", 1)
async def test_of_whom_a_value_would_be_made_of_less_than_all_is_counted(purpose: PurposeDefined, cut: dict[str, int]) -> None:
    said = [
        (0, "app", "Kiel"),
        (0, "web", "Bremen"),
        (1, "app", "Kiel"),
        (1, "web", "Bremen"),
        (2, "app", "Kiel"),
        (2, "web", "Kiel"),
    ]
    steps: list[Any] = [(0, ("identify", who, at, source, {"city": city})) for at, (who, source, city) in enumerate(said)]
    steps += [(0, ("identify", 0, at, source, {"tier": at})) for at, source in enumerate(("app", "web"))]
    unions = '{"traits": {"city": {"rule": "union"}, "tier": {"rule": "union"}}}'
    world = await tried(steps, "{}")
    report = await world.predicted(unions, purpose)
    assert report.found.cut_traits == cut
    assert {one.after.cut for one in report.examples if one.after is not None and one.customer != CUSTOMERS[2]} == {True}
    assert report.found.traits.keys() == cut.keys()
    assert (await world.predicted("{}", purpose)).found.cut_traits == {}, "by rules that cut nothing"


def with_other_tiers(steps: list[Any]) -> list[Any]:
    """The same, but for what SUPPORT may not see."""
    return [
        (more, (*step[:4], {name: "other" if name == "tier" else value for name, value in step[4].items()}))
        if step[0] == "identify"
        else (more, step)
        for more, step in steps
    ]


@given(pasts, documents(), documents())
async def test_a_report_is_the_same_whatever_is_so_that_its_purpose_may_not_see(steps: list[Any], old: str, new: str) -> None:
    reports = [await (await tried(history, old)).predicted(new, SUPPORT) for history in (steps, with_other_tiers(steps))]
    assert reports[0] == reports[1]
    assert "*" in reports[0].found.withheld_traits
    if "tiered" in read(old).segments or "tiered" in read(new).segments:
        assert "tiered" in reports[0].found.withheld_segments


@given(pasts, documents(), documents())
async def test_of_those_who_refuse_nothing_is_told(steps: list[Any], old: str, new: str) -> None:
    report = await (await tried(steps, old)).predicted(new, CONSENT)
    told = report.found
    assert (told.customers, told.changed_customers, told.traits, report.examples, report.moves) == (0, 0, {}, [], [])
    assert all(one == SegmentDiffers() for one in told.segments.values())


@given(st.lists(st.binary(max_size=3), unique=True), st.integers(0, 5), st.randoms())
def test_examples_are_the_same_ones_in_whatever_order_they_are_found(names: list[bytes], size: int, random: Random) -> None:
    shuffled = random.sample(names, len(names))
    samples = []
    for order in (names, shuffled):
        samples.append(Sample[bytes](size, b"key"))
        for name in order:
            samples[-1].offer(name, name)
    assert samples[0].items == samples[1].items
    assert len(samples[0].items) == min(size, len(names))


def test_examples_are_spread_over_all() -> None:
    sample = Sample[int](100, b"key")
    for number in range(10_000):
        sample.offer(number.to_bytes(4), number)
    assert {number // 2_000 for number in sample.items} == set(range(5))


async def test_who_asks_waits_for_a_turn_and_is_refused_where_too_many_wait() -> None:
    world = await tried([(0, ("identify", 0, 1, "app", {"city": "Kiel"}))], "{}")
    first, *others = [world.simulation.rules(rules_of(read("{}"), 0), 1, AUDIT) for _ in range(4)]
    with patch.object(simulating, "WAITING_AT_MOST", 2):
        await anext(first)
        assert [(await anext(one)).waiting for one in others[:2]] == [True, True], "they are told at once that they wait"
        waiting = [asyncio.ensure_future(anext(one)) for one in others[:2]]
        await asyncio.sleep(0)
        with pytest.raises(LimitExceeded, match=r"one for audit since .* which has looked at 0 of 1 states; 2 wait") as refused:
            await anext(others[2])
        assert refused.value.reason == "SIMULATION_BUSY"
        assert (refused.value.facts["running_purpose"], refused.value.facts["waiting"]) == ("audit", "2")
        waiting[0].cancel()  # who leaves the line holds up nobody
        await asyncio.wait(waiting[:1])
        assert not waiting[1].done()
        await first.aclose()
        assert (await waiting[1]).of == 1
        await others[1].aclose()


HINTING = {
    "computed": {
        "orders": {"of": "event.type == 'track'", "aggregate": "count"},
        "oders": {"of": "event.name == 'Oder Completed'", "aggregate": "count"},
    },
    "segments": {
        "kiel": {"when": "traits.city == 'Kiel' || traits.city in ['Kile', 'Bremen']"},
        "gold": {"when": "traits.teir == 'gold' || 'gold' in traits.tier"},
        "first": {"when": "computed.orders == 7 && now < timestamp('1970-01-01T00:00:00Z')"},
    },
}


async def test_what_nobody_has_is_told() -> None:
    cities: list[Any] = [(0, ("identify", who, 1, "app", {"city": city})) for who, city in enumerate(("Kiel", "Bremen"))]
    world = await tried([*cities, (0, ("identify", 0, 2, "app", {"tier": 1})), (0, ("track", 0, 3, "app", "a"))], "{}")
    report = await world.predicted(json.dumps(HINTING), AUDIT)
    assert [(one.definition, one.why, one.path, one.value) for one in report.hints] == [
        ("computed.oders", "NO_EVENT_COUNTS", "", None),
        ("segments.first", "VALUE_OF_NOBODY", "computed.orders", 7),
        ("segments.first", "INSTANT_PASSED", "now", "1970-01-01T00:00:00.000000Z"),
        ("segments.gold", "TRAIT_OF_NOBODY", "traits.teir", None),
        ("segments.gold", "VALUE_OF_NOBODY", "traits.tier", "gold"),
        ("segments.kiel", "VALUE_OF_NOBODY", "traits.city", "Kile"),
    ]


async def test_a_hint_tells_nothing_that_the_purpose_may_not_see() -> None:
    world = await tried([(0, ("identify", 0, 1, "app", {"city": "Kiel"}))], "{}")
    assert not [one for one in (await world.predicted(json.dumps(HINTING), SUPPORT)).hints if one.definition != "segments.kiel"]
    refusing = await world.predicted(json.dumps(HINTING), CONSENT)
    assert (refusing.found.customers, refusing.hints) == (0, []), "of nobody nothing is told"


@given(pasts, documents())
async def test_whoever_is_hinted_at_is_nobody(steps: list[Any], text: str) -> None:
    world = await tried(steps, "{}")
    report = await world.predicted(text, AUDIT)
    await world.activate(text)
    profiles = [values for values, *_ in (await world.served(AUDIT))[0].values()]
    for one in report.hints:
        found = [values.get(one.path.partition(".")[2]) for values in profiles]
        if one.why == "VALUE_OF_NOBODY":
            assert not any(one.value in value if isinstance(value, list) else same(value) == same(one.value) for value in found)
        if one.why == "TRAIT_OF_NOBODY":
            assert found.count(None) == len(found)

"""Laws of survivorship: by whatever rules, the golden record depends on what was said and never on when or how often we heard it.

Each rule is written a second time, as it is defined: over the plain list of everything that was said.
"""

from collections.abc import Callable
from random import Random
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.difference import changes
from services.profile.domain.explanation import explain
from services.profile.domain.golden import combine, golden_record
from services.profile.domain.rules import Rules, TraitRule
from services.profile.domain.rules_document import RulesDocument, read, rules_of, to_json
from services.profile.domain.said import Assertion
from services.profile.domain.state import State, state_hash
from services.profile.domain.survivorship import judge
from services.profile.domain.values import is_of, measure, same
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import derived_id
from tests.properties.histories import KEY, SOURCES, STREAMS, fold, founded

TRAITS = ["email", "plan", "tags"]
instants = st.sampled_from(["2026-01-01", "2026-01-01T00:00:00+02:00", "2025-12-31T23:59:59Z", "2026-01-01T00:00:01"])
objects = st.dictionaries(st.sampled_from(["street", "town"]), st.one_of(st.none(), st.sampled_from(["a", "b"])), max_size=2)
lists = st.lists(st.sampled_from(["a", "b", 1, 1.0, True]), max_size=3)
values = st.one_of(
    st.none(), st.text("ab", max_size=3), st.integers(-2, 2), st.floats(-2, 2), st.booleans(), instants, objects, lists
)
by_field = st.one_of(
    st.builds(TraitRule, rule=st.sampled_from(["most_recent", "most_frequent", "first"]), by_field=st.just(True)),
    st.builds(TraitRule, rule=st.just("source_priority"), sources=st.just(("app", "web")), by_field=st.just(True)),
)
told_of_objects = st.lists(
    st.builds(
        Assertion,
        source=st.sampled_from(SOURCES),
        value=st.one_of(objects, objects, st.sampled_from([None, "a"])),
        occurred_at=st.integers(0, 9),
        received_at=st.integers(0, 2),
        event_id=st.binary(min_size=16, max_size=16),
    ),
    max_size=8,
    unique_by=lambda one: one.event_id,
)
rules = st.one_of(
    st.builds(
        TraitRule, verified_first=st.booleans(), type=st.sampled_from([None, "text", "number", "boolean", "instant", "list"])
    ),
    st.builds(TraitRule, rule=st.sampled_from(["most_frequent", "first"]), type=st.sampled_from([None, "text", "object"])),
    st.builds(TraitRule, rule=st.sampled_from(["min", "max"]), type=st.sampled_from(["number", "instant", "text"])),
    st.builds(TraitRule, rule=st.just("longest"), type=st.sampled_from(["text", "list"])),
    by_field,
    st.builds(TraitRule, rule=st.just("source_priority"), sources=st.just(("app", "web")), by_field=st.booleans()),
    st.builds(TraitRule, rule=st.just("union")),
)


@st.composite
def documents(draw: st.DrawFn) -> Rules:
    """What may be confirmed is the value of an email, a text, so that other traits and types have no rule that asks for it."""
    default = draw(rules.filter(lambda rule: not rule.verified_first))
    named = draw(st.dictionaries(st.sampled_from(TRAITS), rules, max_size=3))
    confirmable = {name: name == "email" and rule.type in (None, "text") for name, rule in named.items()}
    traits = {name: rule for name, rule in named.items() if confirmable[name] or not rule.verified_first}
    return rules_of(read(to_json(RulesDocument(default=default, traits=traits))), 1)


@st.composite
def statements(draw: st.DrawFn) -> Entry:
    stream, source, at = draw(st.sampled_from(STREAMS)), draw(st.sampled_from(SOURCES)), draw(st.integers(0, 9))
    traits = draw(st.dictionaries(st.sampled_from(TRAITS), values, min_size=1, max_size=3))
    public = events.Activity(source=source, resolved_by=b"h" * 16, received_at=draw(st.integers(0, 2)))
    event_id = derived_id(stream, repr((source, at, public.received_at, traits)).encode())
    return make_entry(events.IDENTIFIED, stream, event_id, at, public, events.Identified(traits=traits), KEY)


histories = st.lists(statements(), max_size=20)
confirmed = st.frozensets(st.text("ab", max_size=3), max_size=3).map(lambda found: {("email", value) for value in found})


def by_stream(history: list[Entry], rules: Rules) -> dict[bytes, State]:
    return {stream: fold([founded(stream), *(e for e in history if e.stream == stream)], rules.keeping) for stream in STREAMS}


def said(history: list[Entry], name: str) -> list[Assertion]:
    """Every assertion once, in no order that matters."""
    found: dict[bytes, Assertion] = {}
    for entry in history:
        public, personal = entry.parts(KEY)
        assert isinstance(personal, events.Identified)
        if name in personal.traits:
            found[entry.event_id] = Assertion(
                public.source, personal.traits[name], entry.occurred_at, public.received_at, entry.event_id
            )
    return list(found.values())


def naive(everything: list[Assertion], rule: TraitRule, verified: set[str]) -> Any:
    """The rule as it is defined. None: there is no value."""
    ordered = sorted(everything, key=lambda one: (one.occurred_at, one.received_at, one.event_id))
    for place in reversed(range(len(ordered))):
        if ordered[place].value is None:
            ordered = ordered[place + 1 :]
            break
    kind = "object" if rule.by_field else rule.type
    ordered = [one for one in ordered if kind is None or is_of(one.value, kind)]
    if rule.verified_first:
        ordered = [one for one in ordered if isinstance(one.value, str) and one.value in verified] or ordered
    if not ordered:
        return None
    if rule.by_field:
        return _naive_fields(ordered, rule)
    return NAIVE[rule.rule](ordered, rule)


def _naive_fields(ordered: list[Assertion], rule: TraitRule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in {name for one in ordered for name in one.value}:
        fields = [
            Assertion(one.source, one.value[name], one.occurred_at, one.received_at, one.event_id)
            for one in ordered
            if name in one.value
        ]
        value = naive(fields, TraitRule(rule=rule.rule, sources=rule.sources), set())
        if value is not None:
            found[name] = value
    return found


def _best(ordered: list[Assertion], better: Callable[[Any, Any], bool], of: Callable[[Assertion], Any]) -> Any:
    best = ordered[0]
    for one in ordered[1:]:
        if not better(of(best), of(one)):
            best = one
    return best.value


def _naive_union(ordered: list[Assertion], rule: TraitRule) -> list[Any]:
    found: list[Any] = []
    for one in ordered:
        for item in one.value if isinstance(one.value, list) else [one.value]:
            if all(same(item) != same(other) for other in found):
                found.append(item)
    return found


def _naive_priority(ordered: list[Assertion], rule: TraitRule) -> Any:
    for source in rule.sources:
        if own := [one for one in ordered if one.source == source]:
            return own[-1].value
    return ordered[-1].value


def _naive_frequent(ordered: list[Assertion], rule: TraitRule) -> Any:
    return _best(ordered, lambda a, b: a > b, lambda one: sum(same(one.value) == same(other.value) for other in ordered))


NAIVE: dict[str, Callable[[list[Assertion], TraitRule], Any]] = {
    "most_recent": lambda ordered, rule: ordered[-1].value,
    "first": lambda ordered, rule: ordered[0].value,
    "source_priority": _naive_priority,
    "most_frequent": _naive_frequent,
    "min": lambda ordered, rule: _best(ordered, lambda a, b: a < b, lambda one: measure(one.value, rule.type or "text")),
    "max": lambda ordered, rule: _best(ordered, lambda a, b: a > b, lambda one: measure(one.value, rule.type or "text")),
    "longest": lambda ordered, rule: _best(ordered, lambda a, b: a > b, lambda one: len(one.value)),
    "union": _naive_union,
}


@given(histories, documents(), confirmed)
def test_every_rule_is_what_it_is_defined_as(history: list[Entry], rules: Rules, verified: set[tuple[str, str]]) -> None:
    record = golden_record(by_stream(history, rules), rules, verified)
    for name in TRAITS:
        value = naive(said(history, name), rules.of(name), {value for of, value in verified if of == name})
        if value is None:
            assert name not in record.traits
        else:
            assert same(record.traits[name].value) == same(value)
            assert not record.traits[name].cut


@given(st.lists(lists, min_size=1, max_size=3))
def test_a_union_shows_of_equal_items_the_one_that_was_said_first(said_lists: list[list[Any]]) -> None:
    union = TraitRule(rule="union")
    everything = [Assertion("web", value, at, at, bytes([at])) for at, value in enumerate(said_lists)]
    shown = judge(everything, None, union, set()).chosen
    assert shown is not None
    assert repr(shown.value) == repr(_naive_union(everything, union))


@given(histories, documents(), confirmed, st.randoms())
def test_any_order_and_repetition_gives_the_same_golden_record(
    history: list[Entry], rules: Rules, verified: set[tuple[str, str]], random: Random
) -> None:
    shuffled = history + random.sample(history, len(history) // 2)
    random.shuffle(shuffled)
    assert golden_record(by_stream(shuffled, rules), rules, verified) == golden_record(by_stream(history, rules), rules, verified)


@given(histories, documents(), confirmed, st.randoms())
def test_the_same_holds_where_not_all_can_be_kept(
    history: list[Entry], rules: Rules, verified: set[tuple[str, str]], random: Random
) -> None:
    shuffled = history + random.sample(history, len(history) // 2)
    random.shuffle(shuffled)
    with patch("services.profile.domain.said.MAX_ASSERTIONS", 4), patch("services.profile.domain.survivorship.MAX_UNION_ITEMS", 2):
        record = golden_record(by_stream(history, rules), rules, verified)
        assert golden_record(by_stream(shuffled, rules), rules, verified) == record
    for name, trait in record.traits.items():
        distinct = sum(one.value is not None for one in said(history, name))
        if rules.keeping.keeps_all(name) and distinct > 4:
            assert trait.cut, "what is cut is said"


@given(histories, documents())
def test_combining_members_is_folding_all_their_events(history: list[Entry], rules: Rules) -> None:
    for most in (4, 100):
        with patch("services.profile.domain.said.MAX_ASSERTIONS", most):
            states, whole = by_stream(history, rules), fold([founded(STREAMS[0]), *history], rules.keeping)
            assert state_hash(combine(states)) == state_hash(combine({STREAMS[0]: whole}))


@given(histories, documents(), confirmed)
def test_whatever_does_not_survive_has_a_reason(history: list[Entry], rules: Rules, verified: set[tuple[str, str]]) -> None:
    record = golden_record(by_stream(history, rules), rules, verified)
    for name in TRAITS:
        everything = said(history, name)
        removed = max((one.rank for one in everything if one.value is None), default=None)
        verdicts = judge(everything, removed, rules.of(name), {value for of, value in verified if of == name})
        winners = {one.event_id for one in verdicts.chosen.by} if verdicts.chosen else set()
        assert winners | verdicts.lost.keys() == {one.event_id for one in everything}
        assert not winners & verdicts.lost.keys()
        trait = record.traits.get(name)
        assert (trait is None) == (verdicts.chosen is None)
        if trait is not None and verdicts.chosen is not None:
            assert (trait.event_id, same(trait.value)) == (verdicts.chosen.by[0].event_id, same(verdicts.chosen.value))


@given(documents())
def test_a_document_that_is_printed_and_read_gives_the_same_rules(rules: Rules) -> None:
    again = read(to_json(RulesDocument(default=rules.default, traits=rules.traits)))
    assert rules_of(again, rules.version) == rules


@given(histories, documents(), confirmed, st.sampled_from([4, 100]))
def test_an_explanation_chooses_what_is_served_and_tells_of_everything_else_why_not(
    history: list[Entry], rules: Rules, verified: set[tuple[str, str]], most: int
) -> None:
    with patch("services.profile.domain.said.MAX_ASSERTIONS", most):
        record = golden_record(by_stream(history, rules), rules, verified)
        for name in TRAITS:
            everything = said(history, name)
            found = explain(everything, name, rules, {value for of, value in verified if of == name})
            winners = {one.event_id for one in found.chosen.by} if found.chosen else set()
            assert winners | found.lost.keys() == {one.event_id for one in everything}
            assert not winners & found.lost.keys()
            trait = record.traits.get(name)
            assert (trait is None) == (found.chosen is None)
            if trait is not None and found.chosen is not None:
                first = found.chosen.by[0]
                served = (trait.event_id, trait.source, trait.occurred_at, same(trait.value), trait.cut)
                assert served == (first.event_id, first.source, first.occurred_at, same(found.chosen.value), found.cut)


@given(told_of_objects, by_field)
def test_of_an_object_chosen_field_by_field_it_is_told_whose_each_field_is_and_why_no_others(
    everything: list[Assertion], rule: TraitRule
) -> None:
    found = explain(everything, "plan", rules_of(RulesDocument(default=TraitRule(), traits={"plan": rule}), 1), ())
    took_part = {one.event_id: one.value for one in everything if one.event_id in found.fields}
    assert {event_id: value.keys() for event_id, value in took_part.items()} == {
        event_id: fields.keys() for event_id, fields in found.fields.items()
    }
    served = found.chosen.value if found.chosen else {}
    for name in {name for value in took_part.values() for name in value}:
        winners = [value[name] for event_id, value in took_part.items() if found.fields[event_id].get(name, "ABSENT") is None]
        assert [same(value) for value in winners] == ([same(served[name])] if name in served else [])
    for one in everything:
        verdicts = found.fields.get(one.event_id, {})
        if one.event_id not in took_part:
            assert one.event_id in found.lost, "it took no part as a whole"
        elif served:
            assert (None in verdicts.values()) == (one.event_id not in found.lost)
        assert all((one.value[name] is None) == (why == "REMOVAL") for name, why in verdicts.items())


@given(histories, documents(), documents(), confirmed)
def test_a_difference_is_what_a_caller_would_see_change(
    history: list[Entry], old: Rules, new: Rules, verified: set[tuple[str, str]]
) -> None:
    before, after = (golden_record(by_stream(history, one), one, verified) for one in (old, new))
    found = {change.trait: change for change in changes(before, after)}
    for name in TRAITS:
        one, other = before.traits.get(name), after.traits.get(name)
        differs = (one is None) != (other is None) or (
            one is not None and other is not None and same(one.value) != same(other.value)
        )
        assert (name in found) == differs
        if differs:
            assert (found[name].before, found[name].after) == (one, other)

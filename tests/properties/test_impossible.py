"""What is refused because it can't come to anything comes to nothing, whatever the data are."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.profile.domain.computed.events import EVENT, values_of
from services.profile.domain.computed.kinds import counted_types, valued_types
from services.profile.domain.expressions.contradictions import contradictions
from services.profile.domain.expressions.language import Kind, Language
from services.profile.domain.expressions.sizes import of_no_such_size
from services.profile.domain.expressions.tree import Node, call, constant, with_children
from shared.events import customer as events
from shared.events.catalogue import make_entry
from tests.properties.histories import KEY, STREAMS

TRAITS = Language({"traits": Kind.Map(Kind.STRING, Kind.DYN)})
EVENTS = Language(EVENT)
SAID: list[Any] = [None, 0, 1, 2, 1.5, True, False, "a", "b", "", [], [1], {"c": 1}]

literals = st.sampled_from(["0", "1", "2", "-1", "1.0", "1.5", "'a'", "'b'", "''", "true", "false"])
NEVER = call("_<_", (constant("b", 0), constant("a", 1)), 2)
relations = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
paths = st.sampled_from(["traits.a", "traits.b", "traits.a.c"])
some = st.lists(literals, max_size=3).map(lambda found: f"[{', '.join(found)}]")
comparisons = st.one_of(
    st.tuples(paths, relations, literals), st.tuples(literals, relations, paths), st.tuples(paths, st.just("in"), some)
).map(" ".join)

alike = st.tuples(paths, relations, paths).map(" ".join)

texts = st.sampled_from(["'track'", "'identify'", "'page'", "'alias'", "'a'", "''"])
fields = st.sampled_from(
    ["event.properties.a", "event.traits.a", "event.context.a", "event.properties['a']", "event.properties.a.b"]
)
compared = st.one_of(
    st.tuples(st.sampled_from(["event.type", "event.name", "event.category"]), st.sampled_from(["==", "!="]), texts),
    st.tuples(
        st.sampled_from(["event.type", "event.name"]), st.just("in"), st.lists(texts, max_size=2).map(lambda t: f"[{', '.join(t)}]")
    ),
    st.tuples(fields, st.sampled_from(["==", "!="]), literals),
).map(" ".join)
asked = compared | fields | fields.filter(lambda field: "[" not in field).map(lambda field: f"has({field})")
asked |= st.sampled_from(["size(event.traits) == 0", "event.traits == event.properties", "event.properties.list.exists(x, x == 1)"])


def joined(found: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    both = st.tuples(found, st.sampled_from(["&&", "&&", "||"]), found).map(" ".join)
    return (both | st.tuples(found, found, found).map(lambda of: f"{of[0]} ? {of[1]} : {of[2]}") | found.map("!({})".format)).map(
        "({})".format
    )


def compiled(language: Language, text: str) -> Any:
    return language.compile(text, "x", Kind.BOOL, Kind.DYN)


@given(st.recursive(comparisons | alike, joined, max_leaves=6))
@example("traits.a == 1 || (traits.b == 1 && traits.b == 2)")
@example("traits.a == 1 && (traits.b == 1 || traits.a == 2)")
def test_what_contradicts_itself_might_as_well_not_hold(text: str) -> None:
    condition = compiled(TRAITS, text)
    for part in contradictions(condition.tree.root):
        without = TRAITS.derived(condition, in_its_place(condition.tree.root, part, NEVER))
        for one in SAID:
            for other in SAID:
                traits = {name: value for name, value in (("a", one), ("b", other)) if value is not None}
                values = TRAITS.values({"traits": traits})
                assert (condition.evaluate(values) is True) is (without.evaluate(values) is True), traits


def in_its_place(root: Node, part: Node, other: Node) -> Node:
    if root.id == part.id:
        return other
    return with_children(root, tuple(in_its_place(child, part, other) for child in root.children))


sizes = st.tuples(st.just("size(traits.a)"), relations, st.sampled_from(["0", "-1", "2", "3"]))


@given(sizes | sizes.map(lambda found: found[::-1]), st.none() | st.integers(0, 3))
def test_no_text_is_of_a_size_that_is_refused(words: tuple[str, str, str], most: int | None) -> None:
    text = " ".join(words)
    condition = compiled(TRAITS, text)
    refused = next(of_no_such_size(condition.tree.root, lambda _: most), None) is not None
    holds = [
        condition.evaluate(TRAITS.values({"traits": {"a": "a" * size}})) is True for size in range(5 if most is None else most + 1)
    ]
    assert not (refused and any(holds))
    assert refused or any(holds) or words[1] == "!="


def happened(call: str, said: dict[str, Any], name: str) -> tuple[Any, ...]:
    kind = events.ACTIVITIES[call]
    assert kind.personal is not None
    has = {"name": name, "category": name, "properties": said, "traits": said, "context": said, "group_id": "g", "previous_id": "p"}
    wanted = {field: value for field, value in has.items() if field in kind.personal.__struct_fields__}
    public = events.Activity(source="web", resolved_by=b"h", received_at=1)
    personal = kind.personal(**wanted)
    return make_entry(kind, STREAMS[0], b"e" * 16, 1, public, personal, KEY), public, personal


worlds = st.tuples(st.dictionaries(st.sampled_from(["a", "list"]), st.sampled_from(SAID[1:])), st.sampled_from(["a", "", "track"]))


@given(st.recursive(asked, joined, max_leaves=6), worlds)
def test_an_event_of_a_type_for_which_a_condition_does_not_hold_never_counts(text: str, world: tuple[dict[str, Any], str]) -> None:
    condition = compiled(EVENTS, text)
    types = counted_types(condition.tree.root)
    for sent in events.ACTIVITIES:
        values = values_of(EVENTS, EVENT.keys(), *happened(sent, *world))
        assert sent in types or condition.evaluate(values) is not True, (sent, world)


@given(fields.map("double({})".format) | fields | fields.map("{} + 1".format) | st.just("event.name"), worlds)
def test_an_event_of_a_type_that_lacks_a_field_has_no_value_of_it(text: str, world: tuple[dict[str, Any], str]) -> None:
    value = EVENTS.compile(text, "x")
    types = valued_types(value.tree.root)
    for sent in events.ACTIVITIES:
        values = values_of(EVENTS, EVENT.keys(), *happened(sent, *world))
        assert sent in types or value.evaluate(values) is None, (sent, world)


def test_all_fields_of_an_event_are_of_the_types_that_have_them() -> None:
    for sent, kind in events.ACTIVITIES.items():
        assert kind.personal is not None
        has = {field.name for field in msgspec.structs.fields(kind.personal)}
        assert ("properties" in has) is (sent in valued_types(EVENTS.compile("event.properties.a", "x").tree.root))
        assert ("traits" in has) is (sent in valued_types(EVENTS.compile("event.traits.a", "x").tree.root))

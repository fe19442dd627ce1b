"""The law by which segments stay served when other rules come into force: of those that are said not to differ nobody enters or leaves."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.profile.domain.golden import golden_record
from services.profile.domain.lineage import canonicals
from services.profile.domain.membership import differing, standing, standing_by
from services.profile.domain.rules_document import read, rules_of
from services.profile.domain.state import MAX_TRAITS
from tests.properties.past_store import AUDIT
from tests.properties.pasts import CUSTOMERS, pasts
from tests.properties.test_profile_limits import room_for_traits
from tests.properties.test_whatif import tried

counted = st.sampled_from(
    [
        {"of": "event.type == 'track'", "aggregate": "count"},
        {"of": "event.type == 'identify'", "aggregate": "count"},
        {"of": "event.type == 'identify'", "aggregate": "count", "window": "1s"},
        {"of": "event.type == 'identify'", "aggregate": "count", "title": "All that was said"},
    ]
)
CONDITIONS = [
    "traits.city == 'Kiel'",
    "traits['tier'] == 1",
    "traits.exists(name, name == 'tier')",
    "computed.orders >= 2",
    "computed.orders >= 1 && has(traits.city)",
]
trait_rules = st.sampled_from([{"rule": "most_recent"}, {"rule": "first"}, {"rule": "most_frequent"}])
documents = st.fixed_dictionaries(
    {
        "default": trait_rules,
        "traits": st.fixed_dictionaries({}, optional={"city": trait_rules, "tier": trait_rules}),
        "computed": st.fixed_dictionaries({"orders": counted}, optional={"tier": counted}),
        "segments": st.fixed_dictionaries(
            {}, optional={name: st.sampled_from(CONDITIONS).map(lambda when: {"when": when}) for name in "abc"}
        ),
    }
)


def text_of(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()


BOTH = [(0, ("identify", 0, 1, "web", {"city": "Kiel", "tier": 1}))]
ANY = {"a": {"when": CONDITIONS[2]}}
ALSO = [ANY | {"b": {"when": f"has(traits.{name})"}} for name in ("city", "tier")]


@example(BOTH, {"segments": ANY}, {"segments": ALSO[0]}, 1)
@example(BOTH, {"segments": ANY}, {"segments": ALSO[1]}, 1)
@given(pasts, documents, documents, st.sampled_from([MAX_TRAITS, MAX_TRAITS, 1]))
async def test_of_a_segment_that_does_not_differ_nobody_enters_or_leaves_by_other_rules(
    steps: list[Any], old: dict[str, Any], new: dict[str, Any], room: int
) -> None:
    with room_for_traits(room):
        world = await tried(steps, text_of(old))
        before, _ = await world.served(AUDIT)
        was = world.chooser.in_force
        await world.activate(text_of(new))
        after, _ = await world.served(AUDIT)
    moved = {name for customer in before for name in before[customer][1] ^ after[customer][1]}
    assert moved <= differing(was, world.chooser.in_force)


@given(documents, st.sampled_from("abc"), st.sampled_from(CONDITIONS))
def test_no_other_segment_differs_for_one_that_is_added_changed_or_told_otherwise(
    document: dict[str, Any], name: str, when: str
) -> None:
    segments = {other: one | {"title": "Another"} for other, one in document["segments"].items() if other != name}
    rules, other = (
        rules_of(read(text_of(one)), 1) for one in (document, document | {"segments": segments | {name: {"when": when}}})
    )
    changed = document["segments"].get(name, {}).get("when") != when
    others = {one for one in segments if rules.keeping.first != other.keeping.first and "exists" in segments[one]["when"]}
    assert differing(rules, other) == differing(other, rules) == ({name} | others if changed else set()), "or those of any trait"
    assert not differing(rules, rules)


@given(pasts, documents)
async def test_where_a_customer_belongs_needs_no_more_of_the_golden_record_than_conditions_look_at(
    steps: list[Any], document: dict[str, Any]
) -> None:
    world = await tried(steps, text_of(document))
    rules, at = world.chooser.in_force, world.past.log.now
    held = await world.load(CUSTOMERS)
    lineage = canonicals([*held], held)
    for canonical in set(lineage.values()):
        states = {member: held[member].state for member in held if lineage[member] == canonical}
        whole = standing(states.values(), golden_record(states, rules, (), at), rules, at)
        if rules.segments is not None:
            assert standing_by(states, rules, rules.segments, (), at) == whole

"""Laws of membership: what is written is always what the function gives, whoever is one with whom; and what a segment tells of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.domain.computed.definitions import compile_section as compile_computed
from services.profile.domain.computed.document import ComputedTrait
from services.profile.domain.membership import looks_at, moves, told_by
from services.profile.domain.rules_document import RulesDocument, rules_of
from services.profile.domain.segments import Segment, compile_section

CUSTOMERS = [bytes([number]) for number in range(4)]
NAMES = ["a", "b", "c"]
# Of each customer, with whom it is one now, and the segments that a customer would be in: alone or as the canonical one.
worlds = st.tuples(
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.lists(st.frozensets(st.sampled_from(NAMES)), min_size=4, max_size=4),
)


def clusters_of(groups: list[int]) -> dict[bytes, list[bytes]]:
    """By canonical: the oldest."""
    found: dict[int, list[bytes]] = {}
    for customer, group in zip(CUSTOMERS, groups, strict=True):
        found.setdefault(group, []).append(customer)
    return {members[0]: members for members in found.values()}


@given(st.lists(worlds, min_size=1, max_size=8))
def test_after_every_look_written_is_what_the_function_gives_and_history_tells_the_same(
    steps: list[tuple[list[int], list[frozenset[str]]]],
) -> None:
    written: dict[bytes, set[str]] = {}
    told: dict[tuple[bytes, str], list[bool]] = {}
    for groups, wanted in steps:
        naive = {canonical: set(wanted[CUSTOMERS.index(canonical)]) for canonical in clusters_of(groups)}
        for canonical, members in clusters_of(groups).items():
            for move in moves(written, members, canonical, naive[canonical]):
                held = written.setdefault(move.customer, set())
                assert (move.segment in held) is not move.entered, "nobody enters twice, or leaves what it isn't in"
                (held.add if move.entered else held.remove)(move.segment)
                told.setdefault((move.customer, move.segment), []).append(move.entered)
            assert moves(written, members, canonical, naive[canonical]) == [], "looked at again, nothing changes"
        assert {c: held for c, held in written.items() if held} == {c: names for c, names in naive.items() if names}
        assert {key for key, changes in told.items() if changes[-1]} == {(c, name) for c, held in written.items() for name in held}


@pytest.mark.parametrize(
    ("when", "names"),
    [
        ("traits.city == 'Kiel' && has(traits.address.street)", {"city", "address"}),
        ("traits['city'] == 'Kiel' || 'vip' in traits", {"city", "vip"}),
        ("computed.orders >= 1 && now > timestamp('2026-01-01T00:00:00Z')", {"orders"}),
        ("traits.exists(name, name == 'vip')", {"*"}),
        ("traits[traits.which] == 1", {"*", "which"}),
        ("traits == {'city': 'Kiel'}", {"*"}),
        ("{'seen': traits.city}.seen == 'Kiel'", {"*", "city"}),
    ],
)
def test_what_a_segment_tells_of_is_what_its_condition_looks_at(when: str, names: set[str]) -> None:
    definitions = compile_computed({"orders": ComputedTrait(of="event.type == 'track'", aggregate="count")})
    found = compile_section({"x": Segment(when=when)}, definitions).conditions["x"]
    assert looks_at(found) == names


@given(st.lists(st.sampled_from(["city", "income", ""]), min_size=1, max_size=6))
def test_a_change_is_told_to_who_may_see_all_that_it_tells_of(looked_at: list[str]) -> None:
    conditions = [{"x": Segment(when=f"has(traits.{trait})")} if trait else {} for trait in looked_at]
    versions = [rules_of(RulesDocument(segments=one), number) for number, one in enumerate(conditions, 1)]
    told = told_by(versions, "x", lambda trait: trait == "city")
    for number, trait in enumerate(looked_at, 1):
        assert told(number, True) is ("income" not in looked_at[:number]), "before and after it, somebody was in by some condition"
        assert told(number, False) is (trait == "city" or (not trait and told(number, True)))

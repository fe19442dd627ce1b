"""Laws of matching, on messy records, from what was said to who is who: nothing depends on any order, and nothing that is gone
leaves a trace."""

from itertools import combinations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.matching import blocking
from services.identity.matching.record import Record
from services.identity.matching.veto import veto
from services.identity.records.likeness import Comparer
from tests.properties.messy_records import MODEL, records
from tests.properties.people_store import People, all_at_once

# Small enough that blocks retire and clusters are full in examples of a dozen records.
REVIEW, LINK = 0.0, 4.0
caps = st.sampled_from([2, 3, 80])


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    matching = msgspec.structs.replace(
        DEFAULT_RULES.matching,
        link_weight=LINK,
        review_weight=REVIEW,
        witness=draw(st.booleans()),
        one_per_source=draw(st.sampled_from([(), ("crm",), ("crm", "shop", "call centre")])),
    )
    return msgspec.structs.replace(DEFAULT_RULES, matching=matching, max_cluster=draw(st.sampled_from([2, 4, 50])))


arrivals = records().flatmap(st.permutations)


def stream(arriving: list[Record], rules: Rules, cap: int) -> People:
    people = People(comparer(rules), rules, cap)
    for record in arriving:
        people.add(record)
    return people


def batch(arriving: list[Record], rules: Rules, cap: int) -> set[frozenset[str]]:
    return all_at_once({record.id: record for record in arriving}, comparer(rules), rules, cap)


def comparer(rules: Rules) -> Comparer:
    return Comparer(MODEL, REVIEW, rules.matching.exclusive)


@given(arrivals, rules(), caps, st.data())
def test_one_by_one_with_deletions_gives_what_all_at_once_gives(
    arriving: list[Record], rules: Rules, cap: int, data: st.DataObject
) -> None:
    gone = set(data.draw(st.lists(st.sampled_from([record.id for record in arriving]), max_size=4))) if arriving else set()
    people = stream(arriving, rules, cap)
    for record_id in sorted(gone):
        people.remove(record_id.encode())
    assert people.groups() == batch([record for record in arriving if record.id not in gone], rules, cap)


@given(arrivals, rules(), caps)
def test_twice_and_backwards_is_once(arriving: list[Record], rules: Rules, cap: int) -> None:
    assert stream(arriving + arriving[::-1], rules, cap).group_of == stream(arriving, rules, cap).group_of


@given(arrivals, arrivals, rules(), caps)
def test_who_says_something_else_is_as_if_that_had_been_said_at_once(
    before: list[Record], after: list[Record], rules: Rules, cap: int
) -> None:
    people = stream([*before, *after], rules, cap)  # ids are numbers, so that later ones replace earlier ones
    assert people.groups() == batch(list({record.id: record for record in [*before, *after]}.values()), rules, cap)


@given(arrivals, rules(), caps)
def test_the_bounds_hold_and_no_two_are_linked_who_contradict_each_other(arriving: list[Record], rules: Rules, cap: int) -> None:
    known = {record.id: record for record in arriving}
    proposed = blocking.pairs({record.id: blocking.keys(record.person) for record in arriving}, cap)
    for group in batch(arriving, rules, cap):
        assert len(group) <= rules.max_cluster
        sources = [known[one].source for one in group if known[one].source in rules.matching.one_per_source]
        assert len(sources) == len(set(sources))
        if len(group) == 2:
            one, other = sorted(group)
            assert (one, other) in proposed
            assert veto(known[one].person, known[other].person) is None


@given(arrivals, rules(), caps)
def test_who_asks_for_a_witness_links_no_others_than_who_does_not(arriving: list[Record], rules: Rules, cap: int) -> None:
    """Of pairs by themselves, where no bound decides about a third."""
    for one, other in combinations(arriving, 2):
        careful = msgspec.structs.replace(rules, matching=msgspec.structs.replace(rules.matching, witness=True))
        easy = msgspec.structs.replace(rules, matching=msgspec.structs.replace(rules.matching, witness=False))
        assert len(batch([one, other], careful, cap)) >= len(batch([one, other], easy, cap))

"""Laws of probabilistic matching, on messy records: nothing depends on any order, and nothing that is gone leaves a trace."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from services.identity.matching import blocking
from services.identity.matching.blocking import Blocks, keys
from services.identity.matching.judge import contradict, veto
from services.identity.matching.matcher import Matcher
from services.identity.matching.record import Record
from services.identity.matching.resolve import Decisions, Limits, Partition, pair, resolve
from tests.properties.messy_records import JUDGE, records

# Small enough that blocks retire and clusters are full in examples of a dozen records.
limits = st.builds(
    Limits, one_per_source=st.booleans(), max_cluster=st.sampled_from([2, 4, 50]), max_block=st.sampled_from([2, 3, 80])
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Record], list[str], Decisions]:
    """Records in an order of arrival, those that are deleted again, and decisions by hand."""
    arriving = draw(records().flatmap(st.permutations))
    ids = [record.id for record in arriving]
    gone = draw(st.lists(st.sampled_from(ids), unique=True, max_size=4)) if ids else []
    pairs = st.sampled_from(list(combinations(sorted(ids), 2))) if len(ids) > 1 else st.nothing()
    decided = [draw(st.sets(pairs, max_size=2)) if len(ids) > 1 else set() for _ in range(2)]
    return arriving, gone, Decisions(*decided)


def batch(arriving: list[Record], bounds: Limits, decisions: Decisions) -> Partition:
    return resolve({record.id: record for record in arriving}, JUDGE, bounds, decisions)


def stream(arriving: list[Record], bounds: Limits) -> Matcher:
    matcher = Matcher(JUDGE, bounds)
    for record in arriving:
        matcher.add(record)
    return matcher


@given(stories(), limits)
def test_one_by_one_with_deletions_in_between_gives_what_all_at_once_gives(
    story: tuple[list[Record], list[str], Decisions], bounds: Limits
) -> None:
    arriving, gone, decisions = story
    matcher = Matcher(JUDGE, bounds)
    for number, record in enumerate(arriving):
        if number == len(arriving) // 2:
            matcher.decide(decisions)
        matcher.add(record)
    matcher.decide(decisions)
    for record_id in gone:
        matcher.remove(record_id)
    left = batch([record for record in arriving if record.id not in gone], bounds, decisions)
    assert matcher.group_of == left.group_of
    assert matcher.partition() == left


@given(stories(), limits)
def test_sorted_and_reversed_and_as_they_came_are_one(story: tuple[list[Record], list[str], Decisions], bounds: Limits) -> None:
    arriving = story[0]
    ordered = sorted(arriving, key=lambda record: record.id)
    expected = stream(arriving, bounds).group_of
    assert stream(ordered, bounds).group_of == expected
    assert stream(ordered[::-1], bounds).group_of == expected


@given(stories(), limits)
def test_twice_is_once(story: tuple[list[Record], list[str], Decisions], bounds: Limits) -> None:
    arriving = story[0]
    assert stream(arriving + arriving[::-1], bounds).partition() == stream(arriving, bounds).partition()


@given(stories(), limits)
def test_what_was_forbidden_is_apart_and_withdrawn_it_is_as_before(
    story: tuple[list[Record], list[str], Decisions], bounds: Limits
) -> None:
    arriving, _, decisions = story
    matcher = stream(arriving, bounds)
    before = matcher.partition()
    matcher.decide(decisions)
    for one, other in decisions.forbidden:
        assert matcher.group_of[one] != matcher.group_of[other]
    matcher.decide(Decisions())
    assert matcher.partition() == before
    assert matcher.group_of == before.group_of


@given(stories(), limits)
def test_bounds_hold_and_nobody_has_two_unique_ids(story: tuple[list[Record], list[str], Decisions], bounds: Limits) -> None:
    arriving = story[0]
    matcher = Matcher(JUDGE, bounds)
    known: dict[str, Record] = {}
    for record in arriving:
        known[record.id] = record
        group = matcher.add(record)
        assert len(group) <= bounds.max_cluster
        people = [known[member] for member in group]
        assert not any(contradict(a.unique, b.unique) for a, b in combinations(people, 2))
        if bounds.one_per_source:
            assert len({member.source for member in people}) == len(people)


@given(stories(), limits)
def test_every_link_is_one_that_a_block_proposed_and_hangs_its_group_together(
    story: tuple[list[Record], list[str], Decisions], bounds: Limits
) -> None:
    found = batch(story[0], bounds, Decisions())
    proposed = blocking.pairs({record.id: keys(record.person) for record in story[0]}, bounds.max_block)
    together = {pair(link.one, link.other) for link in found.links}
    assert together <= proposed
    known = {record.id: record for record in story[0]}
    assert not any(veto(known[one], known[other]) for one, other in together)
    for group in found.groups():
        reached, waiting = {min(group)}, [min(group)]
        while waiting:
            here = waiting.pop()
            near = {b if a == here else a for a, b in together if here in (a, b)} - reached
            reached |= near
            waiting += near
        assert reached == group


@given(stories(), limits)
def test_what_was_held_apart_breaks_the_rule_that_is_named(
    story: tuple[list[Record], list[str], Decisions], bounds: Limits
) -> None:
    arriving, _, decisions = story
    known = {record.id: record for record in arriving}
    found = batch(arriving, bounds, decisions)
    for (one, other, _), reason in found.rejected:
        ours, theirs = ([known[member] for member in found.group_of[end]] for end in (one, other))
        across = [(a, b) for a in ours for b in theirs]
        broken = {
            "FORBIDDEN": any(pair(a.id, b.id) in decisions.forbidden for a, b in across),
            "LIMIT_PER_SOURCE": bounds.one_per_source and any(a.source == b.source for a, b in across),
            "CLUSTER_TOO_LARGE": len(ours) + len(theirs) > bounds.max_cluster,
            "DIFFERENT_UNIQUE_ID": any(contradict(a.unique, b.unique) for a, b in across),
        }
        assert broken.get(reason, reason == veto(known[one], known[other]))
        assert ours != theirs or reason not in ("FORBIDDEN", "LIMIT_PER_SOURCE", "CLUSTER_TOO_LARGE")


@given(records(), st.sampled_from([1, 2, 3, 5]), st.data())
def test_blocks_kept_up_to_date_propose_what_blocks_made_at_once_propose(
    arriving: list[Record], cap: int, data: st.DataObject
) -> None:
    blocks, keys_of = Blocks(cap), {record.id: keys(record.person) for record in arriving}
    for record_id in data.draw(st.permutations(list(keys_of))):
        met, _ = blocks.add(record_id, keys_of[record_id])
        assert all(blocks.propose(record_id, other) for other in met)
    for record_id in data.draw(st.lists(st.sampled_from(sorted(keys_of)), unique=True)) if keys_of else []:
        blocks.remove(record_id)
        del keys_of[record_id]
    expected = blocking.pairs(keys_of, cap)
    assert {ids for ids in combinations(sorted(keys_of), 2) if blocks.propose(*ids)} == expected

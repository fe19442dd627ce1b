"""Law of explanations: whatever is said in whatever order, a match is told in parts that add up to what was concluded, by events that were."""

from math import inf
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.identity.graph.facts import Evidence
from services.identity.matching.record import Person
from services.identity.records.likeness import Comparer, Kept
from services.identity.records.said import Said, completed_by, merge, person_of, read, sayings
from tests.properties.messy_records import BIRTHS, EMAILS, FAMILIES, FAMILY, GIVEN, PHONES, make_model

COMPARER = Comparer(make_model(family=FAMILIES), -inf, ["a", "b"])
RECORDS = ("a", "b")  # each of a source of its own

traits = st.fixed_dictionaries(
    {},
    optional={
        "first_name": st.sampled_from(GIVEN),
        "last_name": st.sampled_from(FAMILY),
        "birthday": st.sampled_from(BIRTHS),
        "email": st.sampled_from(EMAILS),
        "phone": st.sampled_from(PHONES),
        "street": st.sampled_from(["1 Main Street", "Main St 1", None]),
    },
)
histories = st.lists(st.tuples(st.sampled_from(RECORDS), traits, st.integers(0, 5)), max_size=8)


def kept(name: str, said: dict[str, Said]) -> Kept:
    return Kept(name.encode(), name.encode(), name, person_of(said), completed_by(said.values()), sayings(said.values()))


def says(field: str, value: Said) -> Person:
    """Whoever shouts says nothing else."""
    return person_of({field: value})


@given(histories)
def test_a_match_is_told_as_it_was_concluded_by_events_of_the_log(history: list[tuple[str, Any, int]]) -> None:
    log: dict[tuple[int, bytes], tuple[str, int, dict[str, Said]]] = {}
    said: dict[str, dict[str, Said]] = {name: {} for name in RECORDS}
    for unit, (name, sent, at) in enumerate(history):
        event_id = bytes([255 - unit])
        statements = read(sent, Evidence(at, event_id), unit)
        log[unit, event_id] = name, at, statements
        said[name] = merge(said[name], statements)
        one, other = (kept(record, said[record]) for record in RECORDS)
        like = COMPARER.compare(other, one)
        assert like is not None
        told = COMPARER.scorer.told(like.agreed())
        assert told == COMPARER.scorer.explain(one.person, other.person)
        assert total([told.prior_weight, *(part.weight + part.term_weight for part in told.parts)]) == told.weight == like.weight
        assert (like.weight, like.unrivalled) == COMPARER.scorer.weigh_twice(one.person, other.person)
        for record, told_by in zip(RECORDS, like.sayings(), strict=True):
            for saying in told_by:
                assert log[saying.unit, saying.event_id][:2] == (record, saying.occurred_at)
            by = [log[saying.unit, saying.event_id][2] for saying in told_by]
            for field, value in said[record].items():
                assert not value.parts or any(
                    field in by_then and says(field, by_then[field]) == says(field, value) for by_then in by
                )


def total(bits: list[float]) -> float:
    """In their order: `sum` of a newer Python rounds otherwise."""
    added = 0.0
    for one in bits:
        added += one
    return added

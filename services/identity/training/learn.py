"""Learns how one person's records differ (m) and how two people's agree (u), without being told who is who.

Splink begins: u from random pairs, m by expectation maximisation on pairs that a person-level block finds. Random pairs of records
that have duplicates hold some of one person, though, and where an agreement is rare they are most of it. So rounds follow:
m is maximised on the pairs of all blocks, and u taken from one record of each person found. Everything random has the seed.

Where a block of a small installation has too few pairs for Splink to begin with, the m of the shipped model begin instead.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from services.identity.matching.family import Family, is_personal
from services.identity.matching.model import TermFrequencies, default
from services.identity.matching.record import Person, Record
from services.identity.training import splinked
from services.identity.training.comparisons import EM_BLOCKS, SURE, comparisons, usable, whole
from services.identity.training.refusing import NotLearnable

U_PAIRS = 3_000_000  # random pairs: the rarest levels are seen about once in a million
FIRST_U_PAIRS = 1_000_000  # of the rounds before the last, whose u only says who is left out of the next
ROUNDS = (FIRST_U_PAIRS, U_PAIRS)  # of correction, each with its random pairs; the last changes little
SURE_RECALL = 0.7  # of the pairs that are one person, those that SURE finds; a first guess, `calibrate` corrects it
LEAST_KNOWN = 0.02  # share of records; a field that fewer have can't be learnt
LEAST_PAIRS = 50  # that a block has to give, to learn anything from it
TELLING = frozenset({"given_name", "family_name", "birth_date", "email", "phone", "national_id"})
LEAST_OF_ALL = 50  # records; fewer are better judged by the shipped model
LEAST_TELLING = 2  # fields of those: one alone has nothing that it could be checked by
LEAST_M = 1e-4
UNSEEN = 0.5  # pairs, of a level that no random pair showed
TERM_COLUMNS = ("given_name", "family_name")
LEAST_RECORDS = 5  # of a name in the table: those of fewer would tell who is in the data


class Learnt(NamedTuple):
    settings: dict[str, Any]
    frequencies: dict[str, TermFrequencies]
    family: Family
    known: dict[str, float]  # share of records that have a field
    em_blocks: list[tuple[str, ...]]  # none: too few pairs, so EM began with the shipped model
    people: int


class Better(NamedTuple):
    """What was maximised over all pairs, and by it one record of each person, and of each family."""

    settings: dict[str, Any]
    family: Family
    people: set[str]
    families: set[str]


Maximise = Callable[[dict[str, Any], dict[str, TermFrequencies]], Better]


def learn(records: Sequence[Record], seed: int, better: Maximise) -> Learnt:
    """Raises NotLearnable."""
    records = sorted(records, key=lambda record: record.id)
    known = shares([record.person for record in records])
    columns = [column for column, share in known.items() if share >= LEAST_KNOWN]
    if len(records) < LEAST_OF_ALL:
        raise NotLearnable(
            "TOO_FEW_RECORDS",
            f"{len(records)} records are too few to learn from ({LEAST_OF_ALL} are the least); the shipped model needs none",
        )
    if len(TELLING & set(columns)) < LEAST_TELLING:
        raise NotLearnable(
            "TOO_FEW_COLUMNS",
            f"of {', '.join(sorted(TELLING))}, {LEAST_TELLING} at least have to be known of {LEAST_KNOWN:.0%} of the records",
        )
    blocks = [block for block in usable(EM_BLOCKS, columns) if _pairs(records, block) >= LEAST_PAIRS]
    sure = usable(SURE, columns)
    if len(blocks) < 2 or not sure:
        blocks = []
    u = _u(records, records, comparisons(columns), seed, FIRST_U_PAIRS)
    settings = splinked.estimate_m(records, u, blocks, sure, SURE_RECALL) if blocks else _shipped(u, len(records))
    settings = _complete(settings, "m_probability", LEAST_M)
    people = records
    for pairs in ROUNDS:
        found = better(settings, frequencies(people))
        settings, people = found.settings, [record for record in records if record.id in found.people]
        apart = [record for record in people if record.id in found.families]
        apart = apart if len(apart) > 1 else people  # all of one family
        settings["comparisons"] = _u(people, apart, settings["comparisons"], seed, pairs)
    found = better(settings, frequencies(people))
    return Learnt(found.settings, frequencies(people), found.family, known, blocks, len(people))


def _shipped(u: list[dict[str, Any]], records: int) -> dict[str, Any]:
    """The m of the shipped model with the u of these records, and a prior as if each record had one other of its person."""
    settings = default().settings
    m = {
        (comparison["output_column_name"], level["sql_condition"]): level.get("m_probability")
        for comparison in settings["comparisons"]
        for level in comparison["comparison_levels"]
    }
    for comparison in u:
        for level in comparison["comparison_levels"]:
            if not level.get("is_null_level"):
                level["m_probability"] = m.get((comparison["output_column_name"], level["sql_condition"]))
    return settings | {"comparisons": u, "probability_two_random_records_match": 1 / max(records, 2)}


def _u(
    people: Sequence[Record], apart: Sequence[Record], found: list[dict[str, Any]], seed: int, most: int
) -> list[dict[str, Any]]:
    """What families share, from those of whom none is another's family; what a person has alone, from all people."""
    done: dict[str, dict[str, Any]] = {}
    for records, personal in ((people, True), (apart, False)):
        half = [comparison for comparison in found if is_personal({comparison["output_column_name"]}) == personal]
        if half:
            pairs = max(min(most, len(records) * (len(records) - 1) // 2), 1)
            settings = _complete(splinked.estimate_u(records, half, most, seed), "u_probability", UNSEEN / pairs)
            done |= {comparison["output_column_name"]: comparison for comparison in settings["comparisons"]}
    return [done[comparison["output_column_name"]] for comparison in found]


def shares(people: Sequence[Person]) -> dict[str, float]:
    return {
        name: sum(person[column] is not None for person in people) / max(len(people), 1)
        for column, name in enumerate(Person._fields)
    }


def _pairs(records: Sequence[Record], block: Iterable[str]) -> int:
    """How many pairs of records agree in all of a block."""
    columns = [Person._fields.index(name) for name in block]
    values = Counter(found for record in records if all(found := tuple(record.person[column] for column in columns)))
    return sum(count * (count - 1) // 2 for count in values.values())


def frequencies(records: Sequence[Record]) -> dict[str, TermFrequencies]:
    """Frozen with the model: a weight doesn't change because others came."""
    found = {}
    for name in TERM_COLUMNS:
        column = Person._fields.index(name)
        counts = Counter(value for record in records if (value := record.person[column]) is not None)
        total = counts.total()
        rare = [count for count in counts.values() if count < LEAST_RECORDS]
        if total:
            values = {value: count / total for value, count in sorted(counts.items()) if count >= LEAST_RECORDS}
            # what the name of a record with a rare one has on average
            unseen = sum(count * count for count in rare) / sum(rare) / total if rare else 1 / total
            found[name] = TermFrequencies(values=values, unseen=unseen)
    return found


def _complete(settings: dict[str, Any], name: str, least: float) -> dict[str, Any]:
    """Levels that the data never showed get the least share."""
    for comparison in settings["comparisons"]:
        levels = [level for level in comparison["comparison_levels"] if not level.get("is_null_level")]
        for level, share in zip(levels, whole([level.get(name) or 0.0 for level in levels], least), strict=True):
            level[name] = share
    return settings

"""From records to a model file and a report of what it is worth. The same records and seed give the same file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from services.identity.matching import blocking
from services.identity.matching.family import NO_FAMILIES, Family
from services.identity.matching.model import FORMAT, Model, ModelFile, TermFrequencies, load, weight_of
from services.identity.matching.record import Record
from services.identity.matching.score import Scorer
from services.identity.matching.trap import refuse_household_trap
from services.identity.matching.values import NORMAL_FORM
from services.identity.matching.veto import veto
from services.identity.training.absent import absent
from services.identity.training.expected import Expected, expect, link_weight
from services.identity.training.learn import LEAST_M, Better, Learnt, learn
from services.identity.training.maximise import Maximised, maximise, patterns

LEARNT_WITH = weight_of(0.95)  # who is taken for one person while it is learnt who is
MAX_PERSON_RECORDS = 50  # more records of one person are a placeholder that slipped through, not a person


@dataclass(frozen=True)
class Options:
    seed: int = 1
    link_precision: float = 0.995  # of the pairs that are linked, those that the model expects to be one person's
    review_probability: float = 0.5  # at least: what is less likely than not is no question, nor do rules take it
    trained_on: str = ""


class Trained(NamedTuple):
    text: bytes
    model: Model
    learnt: Learnt
    link: Expected
    review: Expected


def train(records: Sequence[Record], options: Options) -> Trained:
    """Raises NotLearnable and HouseholdTrap."""
    by_id = {record.id: record for record in records}
    all_pairs = len(records) * (len(records) - 1) // 2
    proposed = sorted(blocking.pairs({record.id: blocking.keys(record.person) for record in records}))
    pairs = [(by_id[one].person, by_id[other].person) for one, other in proposed]

    def better(settings: dict[str, Any], frequencies: dict[str, TermFrequencies]) -> Better:
        model = load(write(settings, frequencies, NO_FAMILIES, options, LEARNT_WITH))
        found = maximise(model, patterns(model, pairs), all_pairs, LEAST_M)
        settings = _with(settings, found)
        scorer = Scorer(load(write(settings, frequencies, found.family, options, LEARNT_WITH)))
        linked = [(scorer.weigh(*pair), ids) for ids, pair in zip(proposed, pairs, strict=True) if not veto(*pair)]
        people = [ids for weight, ids in sorted(linked, reverse=True) if weight >= LEARNT_WITH]
        related = [ids for ids, pair in zip(proposed, pairs, strict=True) if scorer.related(*pair)]
        return Better(settings, found.family, _one_of_each(by_id, people, MAX_PERSON_RECORDS), _one_of_each(by_id, related))

    learnt = learn(records, options.seed, better)
    scorer = Scorer(load(write(learnt.settings, learnt.frequencies, learnt.family, options, LEARNT_WITH)))
    weights = [scorer.weigh(*pair) for pair in pairs]
    linked = [ids for ids, pair, weight in zip(proposed, pairs, weights, strict=True) if weight >= LEARNT_WITH and not veto(*pair)]
    family = msgspec.structs.replace(learnt.family, absent=absent(records, linked))
    text = write(learnt.settings, learnt.frequencies, family, options, link_weight(weights, options.link_precision))
    model = load(text)
    refuse_household_trap(model)
    return Trained(text, model, learnt, expect(weights, model.link_weight), expect(weights, model.review_weight))


def _one_of_each(ids: Iterable[str], pairs: Iterable[tuple[str, str]], most: int | None = None) -> set[str]:
    """Of all that are connected, the first. What would connect more than `most` is passed over."""
    first = {record_id: record_id for record_id in ids}
    sizes = dict.fromkeys(first, 1)

    def find(record_id: str) -> str:
        while first[record_id] != record_id:
            first[record_id] = record_id = first[first[record_id]]
        return record_id

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        if low != high and (most is None or sizes[low] + sizes[high] <= most):
            first[high] = low
            sizes[low] += sizes[high]
    return {record_id for record_id, other in first.items() if record_id == other}


def _with(settings: dict[str, Any], found: Maximised) -> dict[str, Any]:
    comparisons = []
    for comparison, shares in zip(settings["comparisons"], found.m, strict=True):
        levels = [
            level if level.get("is_null_level") else level | {"m_probability": share}
            for level, share in zip(comparison["comparison_levels"], shares, strict=True)
        ]
        comparisons.append(comparison | {"comparison_levels": levels})
    return settings | {"comparisons": comparisons, "probability_two_random_records_match": found.prior}


def write(
    settings: dict[str, Any], frequencies: dict[str, TermFrequencies], family: Family, options: Options, link_weight: float
) -> bytes:
    content = ModelFile(
        format=FORMAT,
        normal_form=NORMAL_FORM,
        trained_on=options.trained_on,
        link_weight=link_weight,
        review_weight=min(max(weight_of(options.review_probability), 0.0), link_weight),
        splink=settings,
        family=family,
        term_frequencies=frequencies,
    )
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"

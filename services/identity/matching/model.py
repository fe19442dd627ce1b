"""A model of what speaks for one person: what Splink learnt, in the form that `score` takes. Pure.

The file is Splink's own settings, word for word, with what the scorer needs beside them: the frozen term frequencies, the
bands, what families share (`family`), the normal form that it was trained on, and on what. Its version is the digest of its text.
"""

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from services.identity.matching.conditions import Condition, ModelInvalid, Read, read
from services.identity.matching.family import NO_FAMILIES, Family, as_twin
from services.identity.matching.record import Person
from services.identity.matching.values import NORMAL_FORM

FORMAT: Final = "customer360 matching model, version 1"
VERSION_DIGITS = 16
MOST_BITS: Final = 450  # of all comparisons together: odds of two kinds of pairs are multiplied, and a float ends at 1,023
DEFAULT_FILE: Final = Path(__file__).parent / "default.json"


Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class TermFrequencies(msgspec.Struct, frozen=True, kw_only=True):
    """The share of a column's values that each value has. Values of few records are left out: they would name people.

    `unseen` is taken for what isn't listed; None, as in Splink, makes no difference between values that aren't.
    """

    values: dict[str, Share]
    unseen: Share | None = None


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    normal_form: int
    trained_on: str
    link_weight: float  # bits; what is at or above is one person
    review_weight: float  # bits; what is between is a question for people
    splink: dict[str, Any]
    family: Family
    term_frequencies: dict[str, TermFrequencies] = {}


@dataclass(frozen=True, slots=True)
class TermAdjustment:
    """Rare values say more: log2(u of the exact level / frequency of the more frequent value)."""

    column: int
    log2_u_exact: float
    weight: float
    least: float
    frequencies: TermFrequencies

    def weigh(self, one: str | None, other: str | None) -> float:
        known = [frequency for value in (one, other) if (frequency := self._frequency(value)) is not None]
        return self.weight * (self.log2_u_exact - math.log2(max(*known, self.least))) if known else 0.0

    def most(self) -> float:
        """Bits that it may weigh, either way."""
        known = [*self.frequencies.values.values(), *([self.frequencies.unseen] if self.frequencies.unseen else [])]
        rarest = max(min(known, default=1.0), self.least)
        return abs(self.weight) * (abs(self.log2_u_exact) + abs(math.log2(rarest)))

    def _frequency(self, value: str | None) -> float | None:
        return None if value is None else self.frequencies.values.get(value, self.frequencies.unseen)


@dataclass(frozen=True, slots=True)
class Level:
    holds: Condition
    weight: float  # bits: log2(m/u); a null level weighs nothing
    label: str
    m: float | None = None
    u: float | None = None
    term: TermAdjustment | None = None
    shared: float = 0.0  # of two of a family, how many agree here as one person's records do
    twin: float = 1.0  # how many times as often as others of a family twins agree so

    def family_times(self, term_weight: float) -> float:
        """As often as strangers two of a family agree so. Of a rare name too, as it is the family's."""
        as_person: float = 2.0 ** (self.weight + term_weight)
        return 1.0 - self.shared + self.shared * as_person


@dataclass(frozen=True, slots=True)
class Comparison:
    """What it is about are the columns of its first level, as a rule those that aren't known; others may only help."""

    name: str
    levels: tuple[Level, ...]
    about: frozenset[str]


@dataclass(frozen=True, slots=True)
class Model:
    version: str
    prior_weight: float  # bits: the odds that two records are one person before anything is compared
    comparisons: tuple[Comparison, ...]
    link_weight: float
    review_weight: float
    family: Family = NO_FAMILIES
    trained_on: str = ""
    normal_form: int = NORMAL_FORM
    settings: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


MODEL_FILES: Final = msgspec.json.Decoder(ModelFile)


def load(text: bytes) -> Model:
    """Raises ModelInvalid."""
    try:
        found = MODEL_FILES.decode(text)
    except msgspec.DecodeError as error:
        raise ModelInvalid(f"not a model file: {error}") from error
    if found.format != FORMAT:
        raise ModelInvalid(f"a model file of another format: {found.format}")
    if found.normal_form != NORMAL_FORM:
        raise ModelInvalid(f"trained on normal form {found.normal_form}; values are compared in normal form {NORMAL_FORM}")
    if found.review_weight > found.link_weight:
        raise ModelInvalid("review_weight is above link_weight")
    try:
        model = _made(found, text)
        most = abs(model.prior_weight) + sum(max(map(_most, comparison.levels)) for comparison in model.comparisons)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelInvalid(f"not the settings of a trained Splink model: {error!r}") from error
    if most > MOST_BITS:
        raise ModelInvalid(f"its weights come to {most:.0f} bits; more than {MOST_BITS} are no odds that can be counted with")
    return model


def _most(level: Level) -> float:
    return abs(level.weight) + (level.term.most() if level.term else 0.0)


def _made(found: ModelFile, text: bytes) -> Model:
    unknown = found.family.shared.keys() - {comparison["output_column_name"] for comparison in found.splink["comparisons"]}
    if unknown:
        raise ModelInvalid(f"family shares what isn't compared: {', '.join(sorted(unknown))}")
    return Model(
        version=hashlib.sha256(text).hexdigest()[:VERSION_DIGITS],
        prior_weight=weight_of(_probability(found.splink, "probability_two_random_records_match")),
        comparisons=tuple(_comparison(c, found.term_frequencies, found.family) for c in found.splink["comparisons"]),
        link_weight=found.link_weight,
        review_weight=found.review_weight,
        family=found.family,
        trained_on=found.trained_on,
        settings=found.splink,
    )


def default() -> Model:
    """The model of a fresh install; `trained_on` says on what."""
    return load(DEFAULT_FILE.read_bytes())


def weight_of(probability: float) -> float:
    """Bits: log2 of the odds."""
    return math.log2(probability / (1 - probability))


def probability_of(weight: float) -> float:
    odds: float = 2.0**-weight
    return 1 / (1 + odds)


def _comparison(settings: dict[str, Any], frequencies: dict[str, TermFrequencies], family: Family) -> Comparison:
    levels = settings["comparison_levels"]
    if levels[-1]["sql_condition"].upper() != "ELSE":
        raise ModelInvalid(f"the last level of {settings['output_column_name']} is not ELSE")
    conditions = [read(level["sql_condition"]) for level in levels]
    u_exact = {
        next(iter(condition.exact)): _probability(level, "u_probability")
        for condition, level in reversed(list(zip(conditions, levels, strict=True)))
        if len(condition.exact) == 1
    }
    name = settings["output_column_name"]
    made = [_level(level, condition, u_exact, frequencies) for level, condition in zip(levels, conditions, strict=True)]
    shared, about = family.shared.get(name, 0.0), conditions[0].columns
    return Comparison(name, tuple(replace(one, shared=shared, twin=as_twin(about, one.weight)) for one in made), about)


def _level(settings: dict[str, Any], condition: Read, u_exact: dict[str, float], frequencies: dict[str, TermFrequencies]) -> Level:
    label = settings.get("label_for_charts") or settings["sql_condition"]
    if settings.get("is_null_level"):
        return Level(condition.holds, 0.0, label)
    m, u = _probability(settings, "m_probability"), _probability(settings, "u_probability")
    return Level(condition.holds, math.log2(m / u), label, m, u, _term(settings, u_exact, frequencies))


def _term(settings: dict[str, Any], u_exact: dict[str, float], frequencies: dict[str, TermFrequencies]) -> TermAdjustment | None:
    """As Splink does, fuzzy levels are adjusted by the u of the exact level of their column."""
    column, weight = settings.get("tf_adjustment_column"), settings.get("tf_adjustment_weight", 1.0)
    if column not in frequencies or not weight:
        return None
    if column not in u_exact:
        raise ModelInvalid(f"term frequencies of {column} need a level of its equality")
    least = settings.get("tf_minimum_u_value", 0.0)
    return TermAdjustment(Person._fields.index(column), math.log2(u_exact[column]), weight, least, frequencies[column])


def _probability(settings: dict[str, Any], name: str) -> float:
    found = settings.get(name)
    if not isinstance(found, int | float) or not 0 < found < 1:
        raise ModelInvalid(f"{name} of {settings.get('label_for_charts', 'the model')} is not trained: {found}")
    return float(found)

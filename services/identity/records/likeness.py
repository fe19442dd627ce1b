"""From pairs of records to what the graph takes: which identifiers match, and how much speaks for it. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import NamedTuple

import msgspec

from services.identity.graph.facts import Evidence, Match, Node, Pair, pair
from services.identity.matching.family import NEARLY_THE_SAME
from services.identity.matching.model import VERSION_DIGITS, Model
from services.identity.matching.record import Person
from services.identity.matching.score import Agreement, Scorer, level_of
from services.identity.matching.veto import Veto, veto
from services.identity.records.said import NOTHING_SAID, Saying


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it is compared. Personal data: it never prints."""

    record_id: bytes
    value_hash: bytes  # of the founding identifier
    source: str
    person: Person
    evidence: Evidence  # the event since which all that is compared is said
    said_by: tuple[Saying, ...] = ()  # all of them
    last: Evidence = NOTHING_SAID  # the latest event that said something, also if it removed it

    def __repr__(self) -> str:
        return f"<Kept {self.record_id.hex()} sealed>"


_encode = msgspec.msgpack.Encoder().encode
_decode_agreement = msgspec.msgpack.Decoder(Agreement).decode
_decode_sayings = msgspec.msgpack.Decoder(tuple[tuple[Saying, ...], tuple[Saying, ...]]).decode
RecordPair = tuple[bytes, bytes]  # record ids, in order
KNOWN_TO_MANY = frozenset({"given_name", "middle_initial", "family_name", "birth_date"})


class Likeness(NamedTuple):
    """Of two records that are worth a question, or two; a veto speaks for all records of their identifiers."""

    one: bytes  # value hashes, in the order of the records
    other: bytes
    weight: float  # bits
    unrivalled: float  # as of `Match`
    witnessed: bool
    veto: Veto | None
    model: str  # its version
    agreement: bytes  # that the weight is made of (`score.Agreement`), encoded
    evidence: Evidence
    said_by: bytes  # of the one and of the other, encoded
    stands_from: int  # when the latest of what they say had happened, as it was found

    @property
    def witnessed_weight(self) -> float:
        return self.weight if self.witnessed else -inf

    def says_as(self, other: "Likeness") -> bool:
        """Whether as much speaks for it, for the same reasons."""
        return self[:8] == other[:8]

    def grounds(self) -> tuple[object, ...]:
        """Which events it rests on, by whichever unit they came. A function of what is said too, as is all but `stands_from`."""
        return self.evidence, [[saying[:2] for saying in side] for side in self.sayings()]

    def news(self, known: "Likeness | None") -> "Likeness | None":
        """None: nothing. Who said it before by what is known now changes nothing about when it came to be."""
        if known is None or not known.says_as(self):
            return self
        return None if known.grounds() == self.grounds() else self._replace(stands_from=known.stands_from)

    def agreed(self) -> Agreement:
        return _decode_agreement(self.agreement)

    def sayings(self) -> tuple[tuple[Saying, ...], tuple[Saying, ...]]:
        return _decode_sayings(self.said_by)


class Comparer:
    """`floor`: bits, below which nothing is kept; `once`: the sources that have each person once. `version` says what else the
    outcome depends on.
    """

    def __init__(self, model: Model, floor: float, once: Collection[str] = ()) -> None:
        self.model = model
        self.floor = floor
        self.once = frozenset(once)
        self.scorer = Scorer(model)
        self._given = [comparison for comparison in model.comparisons if "given_name" in comparison.about]
        self._witnesses = [comparison for comparison in model.comparisons if not comparison.about & KNOWN_TO_MANY]
        self._numbers = [comparison for comparison in model.comparisons if "national_id" in comparison.about]

    @property
    def version(self) -> str:
        once = sha256("\n".join(sorted(self.once)).encode()).hexdigest()[:VERSION_DIGITS] if self.once else ""
        return "/".join((self.model.version, str(self.model.normal_form), *([once] if once else [])))

    def compare(self, one: Kept, other: Kept) -> Likeness | None:
        """The same for both orders: floats are added up in one."""
        if one.value_hash == other.value_hash:
            return None
        if one.record_id > other.record_id:
            one, other = other, one
        weight, unrivalled = self.scorer.weigh_twice(one.person, other.person)
        if not self.exclusive(one, other):
            unrivalled = -inf
        if max(weight, unrivalled) < self.floor:
            return None
        witnessed, forbidden = self.witnessed(one.person, other.person), veto(one.person, other.person)
        evidence = max(one.evidence, other.evidence)
        agreement = _encode(self.scorer.agreement(one.person, other.person))
        return Likeness(
            one.value_hash,
            other.value_hash,
            weight,
            unrivalled,
            witnessed,
            forbidden,
            self.model.version,
            agreement,
            evidence,
            _encode((one.said_by, other.said_by)),
            max(one.last, other.last).occurred_at,
        )

    def exclusive(self, one: Kept, other: Kept) -> bool:
        """Whether each is of one record of the other's source at most."""
        return one.source != other.source and self.once >= {one.source, other.source}

    def witnessed(self, one: Person, other: Person) -> bool:
        """Whether more speaks for it than who knows somebody could say: the number that an authority gave, or an address, telephone
        or mailbox beside nearly the same given name.

        A name and a birth date are known to many, and twins share all but the given name: people are asked about those.
        """
        if any(level_of(comparison, one, other).weight > 0 for comparison in self._numbers):
            return True
        if any(level_of(comparison, one, other).weight < NEARLY_THE_SAME for comparison in self._given):
            return False
        return any(level_of(comparison, one, other).weight > 0 for comparison in self._witnesses)


def record_pair(one: bytes, other: bytes) -> RecordPair:
    return (one, other) if one < other else (other, one)


def best(likenesses: Iterable[Likeness], nodes: dict[bytes, Node]) -> dict[Pair, Match]:
    """By pair of identifiers, of which each may have records of several sources: what speaks most for it, if nothing forbids it."""
    found: dict[Pair, list[Likeness]] = {}
    for like in likenesses:
        found.setdefault(pair(nodes[like.one], nodes[like.other]), []).append(like)
    return {ends: _match(likes) for ends, likes in found.items() if all(like.veto is None for like in likes)}


def _match(likes: list[Likeness]) -> Match:
    weight, evidence = max((like.weight, like.evidence) for like in likes)
    return Match(weight, max(like.witnessed_weight for like in likes), evidence, max(like.unrivalled for like in likes))

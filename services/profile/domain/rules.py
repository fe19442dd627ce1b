"""By which rules a golden value is chosen, and what the fold has to keep for that. Pure."""

import hashlib
from functools import lru_cache
from typing import Final, Literal

import msgspec

from services.profile.domain.computed.definitions import Definitions
from services.profile.domain.expressions.tree import EVERY_FIELD
from services.profile.domain.segments import Segments

# Raise it when `evolve` or State changes: states kept under another version are folded anew from the log.
FOLD_VERSION: Final = 8

RuleName = Literal["most_recent", "source_priority", "most_frequent", "first", "min", "max", "longest", "union"]
TypeName = Literal["text", "number", "boolean", "instant", "list", "object"]
MAX_FIRST: Final = 1_000  # traits that stay before others: as many as a profile has at most
BY_LATEST: Final = frozenset({"most_recent", "source_priority"})  # what a source said last is all they look at

_canonical = msgspec.msgpack.Encoder(order="deterministic")


class TraitRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one trait's value is chosen among what was said of it. `sources` is for source_priority, the most trusted first."""

    rule: RuleName = "most_recent"
    sources: tuple[str, ...] = ()
    verified_first: bool = False
    type: TypeName | None = None
    by_field: bool = False

    @property
    def needs_all(self) -> bool:
        """Whether what each source said last is not enough to choose."""
        return self.rule not in BY_LATEST or self.verified_first or self.type is not None or self.by_field


class Keeping(msgspec.Struct, frozen=True):
    """Of which traits the fold keeps all that was said: of those that are `named`, or with `others` of all that are not; and
    what it keeps of events for computed traits. Where there are too many traits, those of `first` stay before others."""

    named: frozenset[str] = frozenset()
    others: bool = False
    computed: Definitions | None = None
    first: frozenset[str] = frozenset()

    def keeps_all(self, trait: str) -> bool:
        return (trait in self.named) is not self.others

    @property
    def digest_of_first(self) -> bytes:
        """16 bytes."""
        return _digest_of(self.first)


PLAIN: Final = Keeping()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules. `keeping` follows from the rest."""

    version: int
    default: TraitRule
    traits: dict[str, TraitRule]
    keeping: Keeping
    computed: Definitions | None = None
    segments: Segments | None = None

    def of(self, trait: str) -> TraitRule:
        return self.traits.get(trait, self.default)

    @property
    def clocks(self) -> frozenset[str]:
        """The computed traits that say how long ago something was: other values at every instant, of the same event."""
        all_of_them = self.computed.all.items() if self.computed is not None else ()
        return frozenset(name for name, definition in all_of_them if definition.aggregate == "time_since")

    @property
    def moved_by_time(self) -> frozenset[str]:
        """The computed traits, other than those, that may become others with no event."""
        all_of_them = self.computed.all.items() if self.computed is not None else ()
        return frozenset(name for name, definition in all_of_them if definition.depends_on_time) - self.clocks

    @property
    def named(self) -> frozenset[str]:
        """The traits that they say something of."""
        return frozenset(self.traits).union(self.computed.all if self.computed else ())

    @property
    def verifying(self) -> list[str]:
        """Traits of which it matters which values are verified."""
        return [name for name, rule in self.traits.items() if rule.verified_first]


def keeping_of(
    default: TraitRule, traits: dict[str, TraitRule], computed: Definitions | None = None, segments: Segments | None = None
) -> Keeping:
    others = default.needs_all
    named = frozenset(name for name, rule in traits.items() if rule.needs_all is not others)
    looked_at = {name for one in segments.conditions.values() for name in one.sent} if segments is not None else set[str]()
    return Keeping(named, others, computed, frozenset(sorted(looked_at.union(traits) - {EVERY_FIELD})[:MAX_FIRST]))


@lru_cache(maxsize=64)
def fold_digest(keeping: Keeping) -> bytes:
    """16 bytes that name what a fold gives: its version and what it keeps. States are trusted by it, but for those of which traits
    were left out: they say for which `first`."""
    content = _canonical.encode((FOLD_VERSION, sorted(keeping.named), keeping.others, keeping.computed and keeping.computed.digest))
    return hashlib.sha256(content).digest()[:16]


@lru_cache(maxsize=64)
def _digest_of(first: frozenset[str]) -> bytes:
    return hashlib.sha256(_canonical.encode(sorted(first))).digest()[:16]

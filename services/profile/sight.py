"""What a purpose may see of what rules make of customers: all that it is made of, whatever it is called."""

from services.profile.domain.membership import looks_at
from services.profile.domain.rules import Rules
from services.profile.enforcement import sees_what_it_is_made_of
from shared.events.consent import ALL_TRAITS, PurposeDefined


class Sight:
    """Of what differs by several rules it sees what it may see by each of them: who writes rules chooses the names.

    What is withheld follows from the rules and the purpose alone, so that it tells of nobody.
    """

    def __init__(self, purpose: PurposeDefined, *versions: Rules) -> None:
        self._purpose = purpose
        self._versions = versions
        conditions = [rules.segments.conditions for rules in versions if rules.segments is not None]
        segments = frozenset(name for one in conditions for name in one)
        unseen = {name for one in conditions for name, condition in one.items() if not all(map(self.sees, looks_at(condition)))}
        self.segments = frozenset(segments - unseen)
        self.withheld_segments = sorted(unseen)

    def sees(self, trait: str) -> bool:
        return self._purpose.may_see(trait) and all(self._sees_what_it_is_made_of(trait, rules) for rules in self._versions)

    @property
    def withheld_traits(self) -> list[str]:
        """Of those that the rules name; "*" stands for all others that it may not see."""
        named = {ALL_TRAITS}.union(*(rules.named for rules in self._versions))
        return sorted(name for name in named if not self.sees(name))

    def _sees_what_it_is_made_of(self, trait: str, rules: Rules) -> bool:
        definition = rules.computed.all.get(trait) if rules.computed else None
        return definition is None or sees_what_it_is_made_of(self._purpose, definition)

"""What a person decided, by both clocks."""

from collections.abc import Iterable

from services.profile.domain.clocks import Instant, Order
from shared.consent_overlays import valid_from
from shared.consent_rule import precedence
from shared.events.consent import DecisionRecorded


class KnownDecision(DecisionRecorded, frozen=True, kw_only=True):
    """`recorded_at`: when consent's log took it down, which may be long after it was taken."""

    recorded_at: int

    @property
    def valid_from(self) -> int:
        """None is of later than it was recorded, though the clock of whoever took it may say so."""
        return min(valid_from(self), self.recorded_at)

    def counts(self, instant: Instant) -> bool:
        return self.valid_from <= instant.valid_at and self.recorded_at <= instant.known_at

    def counts_after(self, instant: Instant, along: Order) -> int | None:
        """From when on it does, if not yet, where one clock goes on from that instant and the other stands still; None: never."""
        from_when, standing = Instant(self.valid_from, self.recorded_at).along(along)
        now, still = instant.along(along)
        return from_when if standing <= still and from_when > now else None


def when_decided(decision: DecisionRecorded) -> tuple[int, bytes]:
    return decision.decided_at, decision.decision_id


def holding(decisions: Iterable[KnownDecision]) -> dict[str, KnownDecision]:
    """By purpose, of one person's decisions the newest."""
    found: dict[str, KnownDecision] = {}
    for decision in decisions:
        held = found.get(decision.purpose)
        if held is None or precedence(decision) > precedence(held):
            found[decision.purpose] = decision
    return found

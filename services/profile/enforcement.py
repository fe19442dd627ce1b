"""What a purpose may see of a profile. The one rule of consent is `shared.events.consent.judge`; this applies it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.profile.domain import GoldenRecord, GoldenTrait, LinkedIdentifier
from shared.errors import NotPermitted
from shared.events.consent import ALLOWED_BY_LAW, DecisionRecorded, PurposeDefined, judge

EVENTS_FIELD = "events"  # a purpose that may see it sees names and properties in the timeline
NOT_IN_PURPOSE = "NOT_IN_PURPOSE"
REDACTED = "REDACTED"


class Withheld(msgspec.Struct, frozen=True, order=True):
    field: str
    reason: str


class Released(msgspec.Struct, frozen=True):
    """What may be shown, and by name what may not."""

    traits: dict[str, GoldenTrait]
    identifiers: list[LinkedIdentifier]
    withheld: list[Withheld]

    def __repr__(self) -> str:
        return f"<Released {len(self.traits)} traits sealed>"


def depends_on_the_person(purpose: PurposeDefined) -> bool:
    """Whether a decision of the person can forbid the purpose."""
    return purpose.legal_basis not in ALLOWED_BY_LAW


def require_unrestricted(restricted: bool, purpose: PurposeDefined) -> None:
    """Who asked to be erased is kept for the law's sake alone. Raises NotPermitted (RESTRICTED)."""
    if restricted and purpose.legal_basis != "legal_obligation":
        raise NotPermitted("the customer waits to be erased", reason="RESTRICTED", purpose=purpose.name)


def require_permission(purpose: PurposeDefined, decisions: Iterable[DecisionRecorded]) -> None:
    """Raises NotPermitted with the rule's reason."""
    verdict = judge(purpose, decisions)
    if not verdict.permitted:
        raise NotPermitted(f"the customer does not permit {purpose.name}", reason=verdict.reason, purpose=purpose.name)


def release(record: GoldenRecord, purpose: PurposeDefined) -> Released:
    withheld = {Withheld(name, NOT_IN_PURPOSE) for name in record.traits if not purpose.may_see(name)}
    withheld |= {
        Withheld(f"identifier:{linked.namespace}", NOT_IN_PURPOSE)
        for linked in record.identifiers.values()
        if not purpose.may_see(linked.namespace)
    }
    withheld |= {
        Withheld(f"identifier:{linked.namespace}", REDACTED)
        for linked in record.identifiers.values()
        if purpose.may_see(linked.namespace) and linked.value is None
    }
    return Released(
        traits={name: trait for name, trait in record.traits.items() if purpose.may_see(name)},
        identifiers=sorted(
            (linked for linked in record.identifiers.values() if purpose.may_see(linked.namespace) and linked.value is not None),
            key=lambda linked: (linked.namespace, linked.value),
        ),
        withheld=sorted(withheld),
    )


def release_details(details: dict[str, Any], purpose: PurposeDefined) -> dict[str, Any]:
    """Of one event in the timeline: what has the name of a trait or identifier that the profile would show."""
    return {name: value for name, value in details.items() if purpose.may_see(name)}

"""Policies other than those that were in force, as they are supposed for a simulation. Pure.

A change is of a purpose's definition, or of what a person decided; it bears on reads from an instant on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.profile.domain.decided import KnownDecision
from shared.events.consent import ALL_TRAITS, LegalBasis, PurposeDefined
from shared.ids import derived_id

# What is asked of a grant, and of nothing else: under another basis a purpose can't have it.
CONDITIONS: Final[dict[str, Any]] = {
    "double_opt_in": False,
    "minimum_age": 0,
    "expires_after_days": 0,
    "notice": "",
    "notice_version": 0,
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is supposed from `since` on: of a purpose that it is `invalid`, that another version (`instead`) is in force, that it rests on
    what it claims in a `jurisdiction`, or other values of its definition (`values`); or of a decision (`withdrawn`) that who took it
    withdrew it at that instant. `since` is in microseconds since 1970; no read is earlier."""

    since: int = 0
    purpose: str = ""
    invalid: bool = False
    instead: PurposeDefined | None = None
    jurisdiction: str = ""
    values: Mapping[str, Any] = {}
    withdrawn: bytes = b""

    def bears_on(self, purpose: str, at: int) -> bool:
        return self.since <= at and self.purpose in ("", purpose)


def purpose_under(changes: Iterable[Change], purpose: PurposeDefined, at: int) -> PurposeDefined | None:
    """As it is supposed to have been then, one change after the other; None: invalid."""
    for change in changes:
        if change.withdrawn or not change.bears_on(purpose.name, at):
            continue
        if change.invalid:
            return None
        purpose = change.instead or purpose
        if basis := change.values.get("legal_basis") or purpose.legal_bases.get(change.jurisdiction):
            purpose = resting_on(basis, purpose)
        values = {name: value for name, value in change.values.items() if name != "legal_basis"}
        purpose = msgspec.structs.replace(purpose, **values)
    return purpose


def resting_on(basis: LegalBasis, purpose: PurposeDefined) -> PurposeDefined:
    conditions = {} if basis == "consent" else CONDITIONS
    return msgspec.structs.replace(purpose, legal_basis=basis, **conditions)


def decisions_under(
    changes: Iterable[Change], decided: Mapping[bytes, Sequence[KnownDecision]], at: int
) -> dict[bytes, list[KnownDecision]]:
    """By identifier hash, with the withdrawals that are supposed by then."""
    found = {value_hash: list(decisions) for value_hash, decisions in decided.items()}
    for change in changes:
        if change.withdrawn and change.since <= at:
            for decisions in found.values():
                decisions += [withdrawn_at(change.since, one) for one in decisions if one.decision_id == change.withdrawn]
    return found


def withdrawn_at(instant: int, decision: KnownDecision) -> KnownDecision:
    """Not before it was taken."""
    at = max(instant, decision.decided_at)
    return msgspec.structs.replace(
        decision,
        decision_id=derived_id(b"supposed", decision.decision_id),
        outcome="withdrawn",
        decided_at=at,
        recorded_at=at,
        confirm_by=0,
        confirms=b"",
        age=None,
    )


def no_longer_shown(fields: Iterable[str], was: PurposeDefined, now: PurposeDefined) -> tuple[str, ...]:
    """Of names of fields that were given out for a purpose, those of which it may show nothing any more as it is supposed."""
    return tuple(field for field in fields if shows(was, field) and not shows(now, field))


def shows(purpose: PurposeDefined, field: str) -> bool:
    """Whether anything of a field, as a disclosure names it, may be shown, be it masked, or only of some of a person's contact points."""
    name = field.removeprefix("identifier:")
    if name == ALL_TRAITS:  # of names that aren't plain
        return ALL_TRAITS in purpose.traits
    return purpose.may_see(name) or purpose.may_see_permitted(name) or purpose.mask_of(name) not in (None, "absent")

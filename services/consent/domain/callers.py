"""Whose a credential is, and when a caller may do more for a while. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import AlreadyExists, InvalidInput, WrongState
from shared.events.callers import CallerDefined, OverrideDefined
from shared.instants import SECOND

LONGEST_OVERRIDE: Final = 24 * 3600 * SECOND  # an emergency; what lasts is a change of the caller
MAY_CHANGE: Final = {"request_id", "version", "closed", "review", "opened_by", "defined_by", "reason", "in_force_at"}
MOST_CALLERS: Final = 500  # programs, not people; all services hold all of them, and are told of all in one message


def check_credentials(callers: Sequence[CallerDefined], wanted: CallerDefined) -> None:
    """`callers` in their newest versions. Raises AlreadyExists (CREDENTIAL_TAKEN), WrongState (TOO_MANY_CALLERS)."""
    others = [one for one in callers if one.name != wanted.name]
    if len(others) >= MOST_CALLERS:
        raise WrongState("there are as many callers as there may be", reason="TOO_MANY_CALLERS", limit=MOST_CALLERS)
    mine = set(_credentials(wanted))
    taken = next((one for one in others if not mine.isdisjoint(_credentials(one))), None)
    if taken is not None:
        raise AlreadyExists("another caller proves itself by the same", reason="CREDENTIAL_TAKEN", caller=taken.name)


def _credentials(caller: CallerDefined) -> Iterable[tuple[str, ...]]:
    if caller.subject:
        yield caller.issuer, caller.subject
    yield from ((name,) for name in caller.certificate_names)


def check_override(earlier: OverrideDefined | None, wanted: OverrideDefined, now: int) -> None:
    """Opened is by two people, and for a day at most; what is said of it later closes it, or says what a review found, by somebody
    else than who opened it.

    Raises InvalidInput (OVERRIDE_INVALID), WrongState (OVERRIDE_OVER).
    """
    if earlier is None:
        if _is_one(wanted.approved_by, wanted.defined_by):
            raise _invalid("approved_by", "somebody else approves it than who opens it")
        if not now < wanted.ends_at <= now + LONGEST_OVERRIDE:
            raise _invalid("ends_at", "it ends within 24 hours")
        if wanted.closed or wanted.review:
            raise _invalid("closed", "first it is opened")
        return
    kept = (field for field in wanted.__struct_fields__ if field not in MAY_CHANGE)
    taken_back = (earlier.closed and not wanted.closed) or (earlier.review and not wanted.review)
    if taken_back or any(getattr(wanted, field) != getattr(earlier, field) for field in kept):
        raise WrongState("an override is closed and reviewed; for more, open another", reason="OVERRIDE_OVER")
    if wanted.review and not (wanted.closed or wanted.ends_at <= now):
        raise _invalid("review", "it is reviewed when it is over")
    involved = (earlier.opened_by, earlier.caller)
    if wanted.review != earlier.review and any(_is_one(wanted.defined_by, one) for one in involved):
        raise _invalid("defined_by", "somebody else reviews it than who opened or used it")


def _is_one(name: str, other: str) -> bool:
    """However they are written."""
    return name.strip().casefold() == other.strip().casefold()


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput(message, reason="OVERRIDE_INVALID", field=field)

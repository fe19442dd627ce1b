"""Whose a credential is: no two callers have the same. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import AlreadyExists, WrongState
from shared.events.callers import CallerDefined

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

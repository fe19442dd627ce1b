"""How processing is restricted (GDPR Art. 18), and how that ends. Pure: a command and what was recorded before it in, a decision out."""

from collections.abc import Iterable

import msgspec

from services.consent.domain.definitions import instant_given
from services.consent.domain.form import check_said
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded, Restriction, RestrictionGround
from shared.ids import NewId
from shared.request_ids import check_request_id


class Restrict(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, GROUND_MISSING, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    identifier_hash: bytes
    namespace: str
    grounds: tuple[RestrictionGround, ...]
    restricted_at: int | None = None  # when the person asked for it; None: now
    by: str
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_said(self.by, self.reason)
        if not self.grounds or len(set(self.grounds)) != len(self.grounds):
            raise InvalidInput("say on which grounds of GDPR Art. 18(1), each once", reason="GROUND_MISSING")


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    restriction_id: bytes
    told_at: int  # when the person was told
    lifted_at: int | None = None  # None: now
    by: str
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_said(self.by, self.reason)


Command = Restrict | Lift


def restrict(command: Restrict, now: int, new_id: NewId) -> DecisionRecorded:
    """Raises InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID)."""
    return DecisionRecorded(
        request_id=command.request_id,
        decision_id=new_id(),
        identifier_hash=command.identifier_hash,
        namespace=command.namespace,
        purpose=EVERY_PURPOSE,
        purpose_version=0,
        outcome="restricted",
        decided_at=instant_given(command.restricted_at, now),
        restriction=Restriction(grounds=tuple(sorted(command.grounds)), by=command.by, reason=command.reason),
    )


def lift(
    command: Lift, restriction: DecisionRecorded | None, since: Iterable[DecisionRecorded], now: int, new_id: NewId
) -> DecisionRecorded:
    """`since` is all that was recorded about its identifier.

    Raises NotFound (RESTRICTION_UNKNOWN), WrongState (RESTRICTION_LIFTED), InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID, NOT_TOLD_BEFORE).
    """
    if restriction is None or restriction.outcome != "restricted":
        raise NotFound("nothing was restricted by this id", reason="RESTRICTION_UNKNOWN")
    if any(one.restriction and one.restriction.lifts == restriction.decision_id for one in since):
        raise WrongState("this restriction was lifted before", reason="RESTRICTION_LIFTED")
    lifted_at = instant_given(command.lifted_at, now)
    if not restriction.decided_at <= command.told_at <= lifted_at:
        raise InvalidInput(
            "whoever asked for a restriction is told before it is lifted (GDPR Art. 18(3)): say when that was",
            reason="NOT_TOLD_BEFORE",
        )
    return DecisionRecorded(
        request_id=command.request_id,
        decision_id=new_id(),
        identifier_hash=restriction.identifier_hash,
        namespace=restriction.namespace,
        purpose=EVERY_PURPOSE,
        purpose_version=0,
        outcome="restriction_lifted",
        decided_at=lifted_at,
        restriction=Restriction(lifts=restriction.decision_id, told_at=command.told_at, by=command.by, reason=command.reason),
    )


def says_the_same(command: Command, earlier: DecisionRecorded) -> bool:
    """A command that is repeated. Without an instant it was "now" at the first try."""
    said = earlier.restriction
    if said is None or (said.by, said.reason) != (command.by, command.reason):
        return False
    given = command.restricted_at if isinstance(command, Restrict) else command.lifted_at
    if given is not None and given < earlier.decided_at:
        return False
    if isinstance(command, Restrict):
        same = command.identifier_hash == earlier.identifier_hash and tuple(sorted(command.grounds)) == said.grounds
        return same and earlier.outcome == "restricted"
    return (command.restriction_id, command.told_at) == (said.lifts, said.told_at)

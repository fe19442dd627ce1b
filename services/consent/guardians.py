"""What is known of children and of who authorises for them, looked up before that is recorded."""

from collections.abc import Sequence

from services.consent.checking import ByIdentifier, person_of
from services.consent.domain.guardians import check_guardian
from services.consent.domain.ledger import NOW, Ledger
from services.consent.looking_up import Looked, LookingUp
from services.consent.persons import Person
from shared.errors import WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded


class Guardians:
    def __init__(self, looking_up: LookingUp) -> None:
        self._looking_up = looking_up

    async def check(self, ledger: Ledger, decisions: Sequence[DecisionRecorded]) -> dict[str, WrongState]:
        """Of those that are refused why, by request id. `ledger` has their purposes. Within a turn."""
        of_children = [one for one in decisions if one.authorised]
        if not of_children:
            return {}
        guardians = {one.authorised.guardian_hash for one in of_children if one.authorised}
        named = guardians | {one.identifier_hash for one in of_children}
        looked, refused = await self._looking_up.of(EVERY_PURPOSE, named, (), NOW), dict[str, WrongState]()
        for one in of_children:
            try:
                _check(ledger, one, looked)
            except WrongState as refusal:
                refused[one.request_id] = refusal
        return refused


def _check(ledger: Ledger, decision: DecisionRecorded, looked: Looked) -> None:
    assert decision.authorised
    child, guardian = (_person(one, looked) for one in (decision.identifier_hash, decision.authorised.guardian_hash))
    said = [placed.event for one in guardian.bonds for placed in looked.decisions.get(one, ())]
    check_guardian(ledger.purposes[decision.purpose, decision.purpose_version], decision, child.bonds, said)


def _person(value_hash: bytes, looked: Looked) -> Person:
    """Whoever has the identifier, or the identifier alone."""
    found = person_of(ByIdentifier("", value_hash), looked)
    assert isinstance(found, Person), "only who is named by an id is refused"
    return found

"""What is known of children and of who authorises for them: looked up before that is recorded, and recorded about the children it is of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from services.consent.checking import ByIdentifier, person_of
from services.consent.domain.guardians import check_guardian, told_of_guardian, wards
from services.consent.domain.ledger import NOW, Ledger
from services.consent.looking_up import Looked, LookingUp
from services.consent.persons import Person
from services.consent.views import Decisions
from shared.errors import WrongState
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded


class Guarded(NamedTuple):
    """Of some decisions those that are refused and why, by request id; and of the others what is known of their guardians, which isn't
    recorded about the children yet."""

    refused: Mapping[str, WrongState]
    ages: Sequence[DecisionRecorded]


class Guardians:
    def __init__(self, looking_up: LookingUp, decisions: Decisions) -> None:
        self._looking_up = looking_up
        self._decisions = decisions

    async def check(self, ledger: Ledger, decisions: Sequence[DecisionRecorded]) -> Guarded:
        """`ledger` has their purposes. Within a turn."""
        of_children = [one for one in decisions if one.authorised]
        if not of_children:
            return Guarded({}, ())
        guardians = {one.authorised.guardian_hash for one in of_children if one.authorised}
        named = guardians | {one.identifier_hash for one in of_children}
        looked, refused = await self._looking_up.of(EVERY_PURPOSE, named, (), NOW), dict[str, WrongState]()
        for one in of_children:
            try:
                _check(ledger, one, looked)
            except WrongState as refusal:
                refused[one.request_id] = refusal
        guarded = wards(one for one in of_children if one.request_id not in refused)
        ages = [told_of_guardian(age, ward) for ward in sorted(guarded) for age in _ages(_said_of(ward.guardian_hash, looked))]
        return Guarded(refused, await self._news(ages))

    async def entailed(self, age: DecisionRecorded) -> list[DecisionRecorded]:
        """What an age, or its correction, says of those for whom that person authorised anything. Within a turn."""
        looked = await self._looking_up.of(EVERY_PURPOSE, {age.identifier_hash}, (), NOW)
        theirs = wards(await self._decisions.authorised_by(_person(age.identifier_hash, looked).bonds))
        if age.age and age.age.corrects:  # also where the two identifiers aren't one person's any more
            theirs |= wards(await self._decisions.following(age.age.corrects))
        return await self._news([told_of_guardian(age, ward) for ward in sorted(theirs)])

    async def _news(self, ages: Sequence[DecisionRecorded]) -> list[DecisionRecorded]:
        """Those that aren't recorded."""
        recorded = await self._decisions.of_requests({one.request_id for one in ages}) if ages else {}
        return [one for one in ages if one.request_id not in recorded]


def _check(ledger: Ledger, decision: DecisionRecorded, looked: Looked) -> None:
    assert decision.authorised
    child = _person(decision.identifier_hash, looked)
    said = _said_of(decision.authorised.guardian_hash, looked)
    check_guardian(ledger.purposes[decision.purpose, decision.purpose_version], decision, child.bonds, said)


def _said_of(value_hash: bytes, looked: Looked) -> list[DecisionRecorded]:
    return [placed.event for bound in _person(value_hash, looked).bonds for placed in looked.decisions.get(bound, ())]


def _ages(decisions: Iterable[DecisionRecorded]) -> list[DecisionRecorded]:
    """Of the very person, also those that were corrected: what corrects them is among these."""
    return [one for one in decisions if one.age and not one.age.guardian_hash]


def _person(value_hash: bytes, looked: Looked) -> Person:
    """Whoever has the identifier, or the identifier alone."""
    found = person_of(ByIdentifier("", value_hash), looked)
    assert isinstance(found, Person), "only who is named by an id is refused"
    return found

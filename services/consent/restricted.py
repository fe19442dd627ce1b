"""Whose processing is restricted, and was: of everybody, and of one person; page by page."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from services.consent.checking import Checks, Named
from services.consent.domain.explaining import belonging
from services.consent.persons import Persons
from services.consent.rights import Rights
from services.consent.views import Decisions, Placed
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded

LOOKED_AT_ONCE: Final = 500  # identifiers that something was restricted by


class Restricted(msgspec.Struct, frozen=True):
    """`lifted`: its end, if it has one. `customer`: whose the identifier is, empty where it is nobody's. `asked_by`: rights requests that it
    fulfilled. `belonging`: how the identifier is theirs who were asked about; empty, where nobody was."""

    placed: Placed[DecisionRecorded]
    lifted: Placed[DecisionRecorded] | None
    customer: bytes
    asked_by: tuple[bytes, ...]
    belonging: str = ""


class Page(NamedTuple):
    """Of whole identifiers. `last`: the identifier that was looked at last, empty when there are no more."""

    found: list[Restricted]
    last: bytes


class Restricteds:
    def __init__(self, checks: Checks, decisions: Decisions, persons: Persons, rights: Rights) -> None:
        self._checks = checks
        self._decisions = decisions
        self._persons = persons
        self._rights = rights

    async def of_all(self, after: bytes, most: int, *, ended: bool) -> Page:
        """By identifier, those of whole identifiers until there are so many. In force, or `ended` too."""
        found = list[Restricted]()
        while True:
            hashes = [value_hash for _, value_hash in await self._decisions.decided_about(EVERY_PURPOSE, after, LOOKED_AT_ONCE)]
            page = await self._page(hashes, most - len(found), ended=ended)
            found += page.found
            if page.last or len(hashes) < LOOKED_AT_ONCE:
                return Page(found, page.last)
            after = hashes[-1]

    async def of_person(self, named: Named, after: bytes, most: int, *, ended: bool) -> Page:
        """As `of_all`, what holds for whoever is named: by any identifier that is or may be theirs.

        Raises NotFound (CUSTOMER_UNKNOWN), WrongState (CUSTOMER_ERASED).
        """
        person = await self._checks.person(named)
        how = belonging(person.core, person.bonds)
        page = await self._page(sorted(bound for bound in how if bound > after), most, ended=ended)
        told = [msgspec.structs.replace(one, belonging=how[one.placed.event.identifier_hash]) for one in page.found]
        return Page(told, page.last)

    async def _page(self, hashes: list[bytes], most: int, *, ended: bool) -> Page:
        """Of these identifiers; `last` is empty where all of them were looked at."""
        found = list[Restricted]()
        decided = await self._decisions.about(EVERY_PURPOSE, hashes)
        restricted = [value_hash for value_hash in hashes if value_hash in decided]
        owners, asked_by = await self._persons.customers_of(restricted), await self._rights.fulfilled_by(restricted)
        for value_hash in restricted:
            theirs = _restrictions(decided[value_hash], owners.get(value_hash, b""), asked_by)
            found += [one for one in theirs if ended or one.lifted is None]
            if len(found) >= most:
                return Page(found, value_hash)
        return Page(found, b"")


def _restrictions(
    decided: Collection[Placed[DecisionRecorded]], customer: bytes, asked_by: Mapping[bytes, tuple[bytes, ...]]
) -> list[Restricted]:
    """Of one identifier, in the order in which they were recorded."""
    lifts = {one.event.restriction.lifts: one for one in decided if one.event.restriction and one.event.restriction.lifts}
    return [
        Restricted(one, lifts.get(one.event.decision_id), customer, asked_by.get(one.event.decision_id, ()))
        for one in sorted(decided, key=lambda one: one.pos)
        if one.event.outcome == "restricted"
    ]

"""Whose processing is restricted, and was: of everybody, page by page."""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from services.consent.persons import Persons
from services.consent.rights import Rights
from services.consent.views import Decisions, Placed
from shared.events.consent import EVERY_PURPOSE, DecisionRecorded

LOOKED_AT_ONCE: Final = 500  # identifiers that something was restricted by


class Restricted(NamedTuple):
    """`lifted`: its end, if it has one. `customer`: whose the identifier is, empty where it is nobody's. `asked_by`: rights requests that it
    fulfilled."""

    placed: Placed[DecisionRecorded]
    lifted: Placed[DecisionRecorded] | None
    customer: bytes
    asked_by: tuple[bytes, ...]


class Restricteds:
    def __init__(self, decisions: Decisions, persons: Persons, rights: Rights) -> None:
        self._decisions = decisions
        self._persons = persons
        self._rights = rights

    async def of_all(self, after: bytes, most: int, *, ended: bool) -> tuple[list[Restricted], bytes]:
        """By identifier, those of whole identifiers until there are so many; and the identifier that was looked at last, empty when there are
        no more. In force, or `ended` too."""
        found = list[Restricted]()
        while True:
            hashes = [value_hash for _, value_hash in await self._decisions.decided_about(EVERY_PURPOSE, after, LOOKED_AT_ONCE)]
            decided = await self._decisions.about(EVERY_PURPOSE, hashes)
            owners, asked_by = await self._persons.customers_of(hashes), await self._rights.fulfilled_by(hashes)
            for value_hash in hashes:
                theirs = _restrictions(decided.get(value_hash, ()), owners.get(value_hash, b""), asked_by)
                found += [one for one in theirs if ended or one.lifted is None]
                if len(found) >= most:
                    return found, value_hash
            if len(hashes) < LOOKED_AT_ONCE:
                return found, b""
            after = hashes[-1]


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

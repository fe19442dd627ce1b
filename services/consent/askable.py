"""Whom one may ask about a purpose, or ask again: of those who are named, and of everybody, page by page."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from services.consent.checking import Brief, ByIdentifier, Checks, Named, decided_by_itself
from services.consent.domain.askable import SUPPRESSED, Asking, asking
from services.consent.domain.ledger import NOW
from services.consent.persons import Persons
from services.consent.views import Decisions
from shared.consent_rule import ALLOWED_BY_LAW, Bond
from shared.errors import CustomerError
from shared.events.consent import PurposeDefined

LOOKED_AT_ONCE: Final = 1_000  # identifiers; some tens of milliseconds
MOST_LOOKED_AT: Final = 20_000  # of a page, which may be shorter then: a second or two


class Askable(NamedTuple):
    """`customer`: whose the identifier is, empty where it is nobody's. `evidence`: positions of the decisions that it follows from."""

    identifier: ByIdentifier
    customer: bytes
    asking: Asking
    now: int
    evidence: tuple[int, ...]

    @property
    def may(self) -> bool:
        return self.asking.may(self.now)


class Askables:
    def __init__(self, checks: Checks, persons: Persons, decisions: Decisions) -> None:
        self._checks = checks
        self._persons = persons
        self._decisions = decisions

    async def of_each(self, purpose: str, named: Sequence[Named | CustomerError]) -> list[list[Askable] | CustomerError]:
        """Of each who is named all by which they are asked, or why nothing is told; in their order. Raises InvalidInput (PURPOSE_UNKNOWN)."""
        known = (await self._checks.purpose(purpose, NOW)).event
        briefs = await self._checks.briefs(known, named, NOW)
        hashes = {value_hash for one in briefs if isinstance(one, Brief) for value_hash in one.case.bonds}
        namespaces, suppressed = await asyncio.gather(self._persons.namespaces_of(hashes), self._persons.suppressed(hashes))
        return [
            one if isinstance(one, CustomerError) else [_told(one, place, suppressed) for place in _places(one, namespaces)]
            for one in briefs
        ]

    async def of_all(self, purpose: str, after: bytes, most: int) -> tuple[list[Askable], bytes]:
        """At most so many of those who may be asked, by identifier, and the identifier that was looked at last; empty when there are no more.

        Raises InvalidInput (PURPOSE_UNKNOWN).
        """
        known, found = (await self._checks.purpose(purpose, NOW)).event, list[Askable]()
        if known.legal_basis in ALLOWED_BY_LAW:
            return found, b""
        for _ in range(MOST_LOOKED_AT // LOOKED_AT_ONCE):
            places = await self._behind(known, after)
            for one in await self._looked_at(known, places):
                if one.may:
                    found.append(one)
                if len(found) == most:
                    return found, one.identifier.value_hash
            if len(places) < LOOKED_AT_ONCE:
                return found, b""
            after = places[-1].value_hash
        return found, after

    async def _behind(self, purpose: PurposeDefined, after: bytes) -> list[ByIdentifier]:
        """Identifiers that somebody has, or that a decision is bound to."""
        linked, decided = await asyncio.gather(
            self._persons.linked(purpose.contact_points, after, LOOKED_AT_ONCE),
            self._decisions.decided_about(purpose.name, after, LOOKED_AT_ONCE),
        )
        by_hash = sorted({value_hash: namespace for namespace, value_hash in (*linked, *decided)}.items())
        return [ByIdentifier(namespace, value_hash) for value_hash, namespace in by_hash[:LOOKED_AT_ONCE]]

    async def _looked_at(self, purpose: PurposeDefined, places: Sequence[ByIdentifier]) -> list[Askable]:
        """Who is asked by these: whoever is decided about by persons by one alone."""
        briefs = await self._checks.briefs(purpose, places, NOW)
        suppressed = await self._persons.suppressed([place.value_hash for place in places])
        return [
            _told(brief, place, suppressed)
            for place, brief in zip(places, briefs, strict=True)
            if not isinstance(brief, CustomerError) and _is_asked_by(brief, place)
        ]


def _places(brief: Brief, namespaces: Mapping[bytes, str]) -> list[ByIdentifier]:
    """By which identifiers whoever is named is asked. `namespaces`: of those that somebody has."""
    named, purpose = brief.named, brief.case.purpose
    if isinstance(named, ByIdentifier) and (purpose.scope == "person" or decided_by_itself(purpose, named.namespace)):
        return [named]
    point = named.value_hash if isinstance(named, ByIdentifier) else b""
    core = brief.case.bond(point).core if point else brief.core
    theirs = [ByIdentifier(namespaces[one], one) for one in sorted(_of_core(brief, core)) if one in namespaces]
    return [place for place in theirs if _is_asked_by(brief, place)]


def _is_asked_by(brief: Brief, place: ByIdentifier) -> bool:
    """Where persons decide, by the first of their identifiers."""
    purpose = brief.case.purpose
    if purpose.scope == "person":
        return place.value_hash == min(_of_core(brief, brief.case.bond(place.value_hash).core), default=b"")
    return purpose.scope == "identifier" or place.namespace in purpose.contact_points


def _of_core(brief: Brief, core: bytes) -> list[bytes]:
    return [one for one, bond in brief.case.bonds.items() if bond == Bond(core=core)]


def _told(brief: Brief, place: ByIdentifier, suppressed: Collection[bytes]) -> Askable:
    found = Asking(SUPPRESSED) if place.value_hash in suppressed else asking(brief.case, place.value_hash)
    evidence = tuple(sorted(one.pos for one in brief.decisions if one.event.decision_id in found.decision_ids))
    return Askable(place, brief.core, found, brief.case.now, evidence)

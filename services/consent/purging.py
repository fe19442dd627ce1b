"""Tells identity what consent gave up of an erased customer, and what it keeps as evidence."""

from services.consent.persons import Persons
from shared.bus.purging import ANSWER_S, Question, Report
from shared.events.erasure import Purge
from shared.identifiers import forget_normalised
from shared.positions import Progress


class Purger:
    def __init__(self, persons: Persons, progress: Progress) -> None:
        self._persons = persons
        self._progress = progress

    async def report(self, question: Question) -> Report:
        """Raises NotFreshEnough when the unit that told of the erasure is not applied yet.

        Consent has no keys to forget; what it normalised lately to look somebody up goes here.
        """
        forget_normalised()
        await self._progress.wait("customer", question.unit, ANSWER_S / 2)
        links, decisions = await self._persons.left_of(question.streams, question.identifier_hashes)
        given = len(question.identifier_hashes) if question.streams else 0
        return Report([Purge(store="consent.links", rows=given, readable=links)], {"consent_decisions": decisions})

"""Tells identity what the quarantine gave up of an erased customer."""

from services.ingest.quarantine import Quarantine
from shared.bus.purging import Question, Report
from shared.events.erasure import Purge


class Purger:
    """From here on nothing is held that identity would refuse."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    async def report(self, question: Question) -> Report:
        """Several processes may answer; the first one counts, and after any the events are gone."""
        if question.look:
            events = await self._quarantine.count_naming(question.identifier_hashes)
        else:
            events = await self._quarantine.erase(question.identifier_hashes, question.policy, question.erased_at)
        return Report([Purge(store="ingest.quarantine", rows=events)])

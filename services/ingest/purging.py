"""Tells identity what the quarantine gave up of an erased customer."""

from services.ingest.quarantine import Quarantine
from shared.bus.purging import Question, Report
from shared.events.erasure import Purge


class Purger:
    """Of events that come in meanwhile, and are held, identity refuses the replay."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    async def report(self, question: Question) -> Report:
        """Several processes may answer; the first one counts, and after any the events are gone."""
        events = await self._quarantine.erase(question.identifier_hashes)
        return Report([Purge(store="ingest.quarantine", rows=events)])

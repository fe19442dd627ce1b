"""The use cases of ages: record how old somebody is known to be, and correct that."""

from services.consent.domain.ageing import CorrectAge, RecordAge, correct_age, record_age, says_the_same
from services.consent.guardians import Guardians
from services.consent.once import Once
from services.consent.views import Placed
from shared.events.consent import DecisionRecorded


class Ages:
    def __init__(self, once: Once, guardians: Guardians) -> None:
        self._once = once
        self._guardians = guardians

    async def record(self, command: RecordAge | CorrectAge, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """As `Once.record`, with what it says of those for whom they authorised anything. Raises what `record_age` and `correct_age` do, too."""

        async def decide(now: int) -> list[DecisionRecorded]:
            if isinstance(command, RecordAge):
                age = record_age(command, now, self._once.new_id)
            else:
                age = correct_age(command, *await self._once.named(command.age_id), now, self._once.new_id)
            return [*await self._guardians.entailed(age), age]

        return await self._once.record(command.request_id, decide, lambda earlier: says_the_same(command, earlier), timeout_s)

"""The use cases of restrictions: restrict the processing of what is known of a person, and end that."""

from services.consent.domain.restricting import Command, Restrict, lift, restrict, says_the_same
from services.consent.once import Once
from services.consent.views import Placed
from shared.events.consent import DecisionRecorded


class Restrictions:
    def __init__(self, once: Once) -> None:
        self._once = once

    async def record(self, command: Command, timeout_s: float) -> tuple[Placed[DecisionRecorded], int]:
        """As `Once.record`. Raises what `restrict` and `lift` do, too."""

        async def decide(now: int) -> list[DecisionRecorded]:
            if isinstance(command, Restrict):
                return [restrict(command, now, self._once.new_id)]
            return [lift(command, *await self._once.named(command.restriction_id), now, self._once.new_id)]

        return await self._once.record(command.request_id, decide, lambda earlier: says_the_same(command, earlier), timeout_s)

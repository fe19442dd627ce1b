"""What is asked about while others are looked up is looked up together, when they are answered: one statement for all, not one for each.

Nothing lingers: a lone check is looked up at once. And nobody is told what was read before they asked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from services.consent.checking import Checked, Named
from shared.errors import CustomerError

MOST_AT_ONCE: Final = 100  # of a look-up; a few milliseconds

CheckEach = Callable[[str, Sequence[Named]], Awaitable[Sequence[Checked | CustomerError]]]
Answer = asyncio.Future[Checked | CustomerError]


class Together:
    def __init__(self, check_each: CheckEach) -> None:
        self._check_each = check_each
        self._waiting: dict[str, list[tuple[Named, Answer]]] = {}  # by purpose, whose checks are under way as long as it is here
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self, purpose: str, named: Named) -> Checked:
        """As of now. Raises what Checks.check does."""
        answer: Answer = asyncio.get_running_loop().create_future()
        if purpose in self._waiting:
            self._waiting[purpose].append((named, answer))
        else:
            self._waiting[purpose] = [(named, answer)]
            task = asyncio.create_task(self._answer(purpose))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        found = await answer
        if isinstance(found, CustomerError):
            raise found
        return found

    async def _answer(self, purpose: str) -> None:
        """Until nobody waits."""
        while asked := self._waiting[purpose]:
            self._waiting[purpose] = []
            for first in range(0, len(asked), MOST_AT_ONCE):
                await self._answer_some(purpose, asked[first : first + MOST_AT_ONCE])
        del self._waiting[purpose]

    async def _answer_some(self, purpose: str, asked: Sequence[tuple[Named, Answer]]) -> None:
        try:
            found = await self._check_each(purpose, [named for named, _ in asked])
        except Exception as error:  # everybody's, whose call tells it
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), one in zip(asked, found, strict=True):
            if not answer.done():  # whoever went away meanwhile
                answer.set_result(one)

"""What is made of one moment: made anew where something that it was made from changed meanwhile. Of many each has a moment of its own."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final, TypeVar

from services.profile.reading import Reading, noted
from shared.errors import NotPermitted, Unavailable, WrongState

TRIES: Final = 8  # to make an answer while others write: each takes some milliseconds at most
T = TypeVar("T")


async def known() -> None:
    """Whoever writes the log knows what is committed."""


class Steady:
    """`changes` counts what could change an answer, `overtook` says whether it changed any of some keys since then. `consent_known`: up to where
    decisions are known."""

    def __init__(
        self, changes: Callable[[], int], overtook: Callable[[int, Collection[bytes]], bool], consent_known: Callable[[], int]
    ) -> None:
        self._changes = changes
        self._overtook = overtook
        self._consent_known = consent_known
        self.confirm: Callable[[], Awaitable[None]] = known  # afterwards all is known that was committed before

    async def of(self, work: Callable[[], Awaitable[T]]) -> T:
        """What is made, or refused. If the last try is overtaken too, it says only that it knew of what was decided before it began."""
        for left in reversed(range(TRIES)):
            since, known, made, refusal = self._changes(), self._consent_known(), list[T](), None
            with noted() as reading:
                try:
                    made.append(await work())
                except (NotPermitted, WrongState, Unavailable) as refused:
                    refusal = refused
                await self.confirm()
                changed = self._overtook(since, reading.keys)
                reading.overtaken, reading.unsteady = changed and left > 0, changed
                reading.consent_known = known if changed else self._consent_known()
            if reading.overtaken:
                continue
            if refusal is not None:
                raise refusal
            break
        return made[0]

    async def each(
        self, customers: Collection[bytes], work: Callable[[Collection[bytes]], Awaitable[Mapping[bytes, T]]]
    ) -> dict[bytes, T]:
        """What `work` makes of each of these, who are judged together; of those alone who were overtaken it is made anew."""
        found, wanted = dict[bytes, T](), set(customers)
        for left in reversed(range(TRIES)):
            since, known = self._changes(), self._consent_known()
            with noted() as reading:
                made = await work(wanted)
                await self.confirm()
                again = self._overtaken(since, reading, wanted) if self._overtook(since, reading.keys) else set[bytes]()
                for one in wanted:
                    reading.took(one, known if one in again else self._consent_known())
                if left:
                    reading.forget(again)
            found |= {one: outcome for one, outcome in made.items() if not (left and one in again)}
            if not (left and again):
                break
            wanted = again
        return found

    def _overtaken(self, since: int, reading: Reading, customers: Collection[bytes]) -> set[bytes]:
        return {one for one in customers if self._overtook(since, reading.judged_by.get(one, reading.keys))}

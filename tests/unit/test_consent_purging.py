"""What consent forgets when somebody is erased."""

from collections.abc import Collection
from typing import Any, cast

from services.consent.purging import Purger
from shared import identifiers
from shared.bus.purging import Question
from shared.positions import Progress


class Nobody:
    async def left_of(self, streams: Collection[bytes], hashes: Collection[bytes]) -> tuple[int, int]:
        return 0, 0


async def test_no_address_that_was_looked_up_stays_in_memory() -> None:
    identifiers.normalise("email", "ann@example.com")
    progress = Progress()
    progress.advance("customer", 1)
    question = Question(erasure_id=bytes(16), unit=1, streams=[bytes(16)], identifier_hashes=[])
    await Purger(cast(Any, Nobody()), progress).report(question)
    assert identifiers._email.cache_info().currsize == 0

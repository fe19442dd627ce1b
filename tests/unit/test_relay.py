"""Whoever can reach the broker can ask for a refill; the relay outlives what makes no sense."""

from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from shared.bus.relay import Relay


class Asked:
    def __init__(self, data: bytes) -> None:
        self.data = data


@pytest.mark.parametrize(
    ("data", "missing"),
    [(b"7", 7), (b"0", None), (b"-1", None), (b"", None), (b"seven", None), (str(2**63).encode(), None), (b"9" * 5_000, None)],
    ids=["7", "0", "negative", "empty", "word", "above int8", "digits"],
)
async def test_only_a_sequence_is_taken_for_a_refill(data: bytes, missing: int | None) -> None:
    async def read(first: int, limit: int) -> list[tuple[int, bytes]]:
        return []

    relay = Relay(cast(Any, None), "CUSTOMER", read)
    await relay._on_missing(cast(Msg, Asked(data)))
    assert relay._missing == missing

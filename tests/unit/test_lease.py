"""A reader says when it has to refuse for want of a lease, and for how long it had to."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from nats.aio.client import Client
from structlog.testing import capture_logs

from shared.bus.enforcement import LEASE_S, Lease
from shared.waiting import end, wait_for_news

PATIENCE_S = 10.0


class Broker:
    """Grants leases while `up`, at a clock that stands still; `asked` is set whenever it is asked."""

    def __init__(self) -> None:
        self.now, self.up, self.asked = 0.0, True, asyncio.Event()

    async def request(self, *_: Any, **__: Any) -> Any:
        self.asked.set()
        if not self.up:
            raise TimeoutError
        return SimpleNamespace(data=b"")


async def test_a_lease_that_runs_out_is_told_once_and_with_its_length_when_it_is_held_again() -> None:
    broker = Broker()
    lease = Lease(cast(Client, broker), "r", lambda: 0, lambda: broker.now)

    async def renewed() -> None:
        """Twice: what was told of the first is in the log by the second."""
        for _ in range(2):
            broker.asked.clear()
            lease.renew()
            assert await wait_for_news(broker.asked, PATIENCE_S)

    with capture_logs() as told:
        running = asyncio.create_task(lease.run())
        try:
            await renewed()
            assert [one["log_level"] for one in told] == ["info"], "the first one is no news to worry about"
            broker.up, broker.now = False, LEASE_S + 1
            await renewed()
            await renewed()
            assert ["run out" in one["event"] for one in told] == [False, True]
            broker.up, broker.now = True, LEASE_S + 5
            await renewed()
            assert (told[2:][0]["without_it_s"], len(told)) == (5.0, 3)
            broker.now += LEASE_S + 2  # it runs out and comes back between two renewals
            await renewed()
            assert [one.get("without_it_s") for one in told[3:]] == [None, 2.0]
        finally:
            await end([running])

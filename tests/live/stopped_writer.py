"""A writer that stops itself (SIGSTOP) in the middle of its COPY: `python -m tests.live.stopped_writer URL`."""

import asyncio
import os
import signal
import sys
from itertools import count
from typing import Any

from shared.instants import now_us
from shared.log import LogWriter, writer
from shared.log.records import to_row
from shared.store.pool import open_pool
from tests.live.test_log import PARTITIONS, placed

EVENTS = 6_000
STOPS_AT = 3_000  # by then some of the rows are at the server


async def main(url: str) -> None:
    log = LogWriter(await open_pool(url, "profile"), PARTITIONS, now_us)
    await log.claim()
    number = count()

    def stopping(*row: Any) -> Any:
        if next(number) == STOPS_AT:
            os.kill(os.getpid(), signal.SIGSTOP)
        return to_row(*row)

    vars(writer)["to_row"] = stopping
    await log.append([placed(number) for number in range(EVENTS)], {"CUSTOMER": 5})


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

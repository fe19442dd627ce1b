"""Tells controllers what became of their requests: signed, at the addresses that were agreed on, until they have taken it or a week is over."""

import asyncio
import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from services.consent.http.opendsr import encode
from services.consent.http.opendsr_file import OpenDsrFile, Processor
from services.consent.http.opendsr_messages import STATUSES, callback
from services.consent.rights import Callback, Rights
from shared.errors import Unavailable
from shared.ids import to_text
from shared.instants import SECOND, Clock
from shared.telemetry import CALLBACKS_FAILED, CALLBACKS_GIVEN_UP, logger

LOOK_S: Final = 5.0  # how often to look for what isn't told yet
AT_ONCE: Final = 8
ANSWER_S: Final = 10.0  # of the other side
FIRST_PAUSE_S: Final = 10  # after a failure; doubled each time
LONGEST_PAUSE_S: Final = 6 * 3600
MOST_TRIES: Final = 40  # a week: then it is given up, until the request stands otherwise

log = logger("opendsr")


class CallingBack:
    def __init__(self, rights: Rights, file: OpenDsrFile, clock: Clock) -> None:
        self._rights = rights
        self._file = file
        self._clock = clock

    async def run(self) -> None:
        """Never returns; raises when the database is down."""
        while True:
            while await self.tell_some():
                pass
            await asyncio.sleep(LOOK_S)

    async def tell_some(self) -> bool:
        """Whether there may be more that is due."""
        due = await self._rights.callbacks_due(self._clock(), AT_ONCE)
        try:
            processor = self._file.read() if due else None
            if processor is not None:
                await asyncio.gather(*(self._tell(processor, one) for one in due))
        except Unavailable as unreadable:
            log.error("controllers can't be told", reason=unreadable.reason)
            return False
        return processor is not None and len(due) == AT_ONCE

    async def _tell(self, processor: Processor, due: Callback) -> None:
        state = due.request.state
        if STATUSES[state] == STATUSES[due.told] or await self._has_taken(processor, due):
            await self._rights.told(due)
            return
        CALLBACKS_FAILED.inc()
        tries, controller = due.tries + 1, due.request.received.by
        if tries >= MOST_TRIES:
            CALLBACKS_GIVEN_UP.inc()
            log.error(
                "a controller was not told", controller=controller, tries=tries, rights_request=to_text(due.rights_id), state=state
            )
            await self._rights.told(due)
            return
        pause_s = min(FIRST_PAUSE_S * 2 ** min(due.tries, 20), LONGEST_PAUSE_S)
        log.warning("a controller could not be told", controller=controller, tries=tries, pause_s=pause_s)
        await self._rights.try_again(due, self._clock() + pause_s * SECOND)

    async def _has_taken(self, processor: Processor, due: Callback) -> bool:
        """Where it is no longer agreed on, nobody is told."""
        controllers = {one.controller_id: one for one in processor.controllers}
        controller = controllers.get(due.request.received.by)
        if controller is None or not controller.may_be_told_at(due.url):
            return False
        body = encode(callback(due.request, due.url))
        try:
            status = await asyncio.to_thread(post, due.url, body, processor.signed(body))
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return 200 <= status < 300


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer; no redirection is followed. Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_S)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target or "/", body, {"content-type": "application/json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()

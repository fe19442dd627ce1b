"""The profile service as it is, but for SIGUSR1: then answers that are ready aren't written down any more, or are again.

    python -m benchmarks.switched_profile

What writing down costs can only be measured so: no service can be told to leave it out.
"""

import asyncio
import signal
import sys
from typing import Any

from services.profile import __main__ as profile
from services.profile.api.disclosing import ReadyReads
from services.profile.composition import ProfileSettings
from shared.process import Stop, run_service
from shared.rpc.server import Tell


class Switched(ReadyReads):
    written_down = True

    def find(self, request: bytes, context: Any, tell: Tell) -> bool:
        if self.written_down:
            return super().find(request, context, tell)
        if (ready := self._ready.find(request)) is not None:
            tell(ready.answer, None)
        return ready is not None

    @classmethod
    def switch(cls) -> None:
        cls.written_down = not cls.written_down


async def serve(settings: ProfileSettings, stop: Stop) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, Switched.switch)
    profile.ReadyReads = Switched  # type: ignore[attr-defined]
    await profile.serve(settings, stop)


if __name__ == "__main__":
    sys.exit(run_service("profile", ProfileSettings, serve))

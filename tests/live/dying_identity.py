"""Identity that dies by SIGKILL at a named point of an erasure: `python -m tests.live.dying_identity before erasure.begun`."""

import os
import signal
import sys
from typing import Any

from services.identity import sweep
from services.identity.__main__ import serve
from services.identity.composition import IdentitySettings
from services.identity.ledger import Ledger
from shared.process import run_service

PURGE = "purge_consumed"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_around_commits(when: str, type_id: str) -> None:
    commit = Ledger.commit

    async def dying(self: Ledger, own: Any, *arguments: Any, **named: Any) -> Any:
        reached = any(versioned.entry.type_id == type_id for versioned in own)
        if reached and when == "before":
            die()
        records = await commit(self, own, *arguments, **named)
        if reached and when == "after":
            die()
        return records

    Ledger.commit = dying  # type: ignore[method-assign]


def die_around_the_purge(when: str) -> None:
    purge = vars(sweep)[PURGE]

    async def dying(*arguments: Any) -> Any:
        if when == "before":
            die()
        purged = await purge(*arguments)
        die()
        return purged

    setattr(sweep, PURGE, dying)


if __name__ == "__main__":
    moment, point = sys.argv[1:]
    if point == PURGE:
        die_around_the_purge(moment)
    else:
        die_around_commits(moment, point)
    sys.exit(run_service("identity", IdentitySettings, serve))

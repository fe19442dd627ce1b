"""Who keeps memberships, killed by SIGKILL at one of its points after the other, with a page of one, until there is nothing left to do.

`python -m tests.live.dying_keeper`: for each line that comes it does that, and prints how often it was killed. Each life is a process
of its own, forked from one that has imported everything.
"""

import asyncio
import os
import signal
import sys
from itertools import count
from pathlib import Path

from services.profile import memberships, news
from services.profile.composition import ProfileSettings, compose
from shared import bus, faults
from shared.config import read_settings
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault


async def live() -> None:
    settings = read_settings(ProfileSettings, os.environ)
    pool = await open_pool(settings.database_url, "profile")
    vault = Vault(await open_pool(settings.vault_url, "vault"), FileKeyring(Path(settings.keyring_file)))
    parts = compose(settings, pool, vault, await bus.connect(settings.nats_url, "test"))
    await parts.rulebook.load()
    while await parts.keeper.step():
        pass


def lives() -> int:
    for number in count():
        if not (process := os.fork()):
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what it logs is no answer
            # The second time: so every life but the last gets somewhere.
            faults.arm({faults.VARIABLE: f"{faults.SEGMENT_POINTS[number % 2]}:2"})
            asyncio.run(live())
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if status == 0:
            return number
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    raise AssertionError


if __name__ == "__main__":
    news.PAGE_EVENTS = memberships.PAGE_CUSTOMERS = 1  # type: ignore[misc]
    for _ in sys.stdin:
        print(lives(), flush=True)

"""Makes the views of profile anew from its log, while the service runs: `python -m services.profile.rebuild`, with its environment.

Whatever the views held before doesn't count, except decisions and purposes, which follow from consent's log and not from ours.
Until the end the service goes on with them; then it has the new ones, all at once (`making.py`). Who is in which segment follows from
them and is made after them in the same way (`remaking.py`). Interrupted or killed, nothing of what is being made has changed; begun
twice, the first ends.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from services.profile.composition import ProfileSettings
from services.profile.making import ExchangeBlocked, Maker, Progressed
from services.profile.remaking import Remaker
from services.profile.tables.editions import STATEMENT_TIMEOUT_S, Editions, Superseded
from shared.config import ConfigError, read_settings
from shared.store.pool import open_pool
from shared.vault import FileKeyring, Vault

INTERRUPTED = 130  # the exit code, as shells have it


async def rebuild(settings: ProfileSettings) -> str:
    """What was done. Raises EnvelopeBroken when the log was altered, Superseded, ExchangeBlocked: then nothing has changed."""
    editions = await Editions.open(settings.database_url)
    vault_pool = await open_pool(settings.vault_url, "vault")
    pool = await open_pool(settings.database_url, "profile", STATEMENT_TIMEOUT_S)
    vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
    maker = Maker(editions, vault, settings.partitions)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began, events = time.perf_counter(), 0
    try:
        console = Console(stderr=True)
        with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("events", total=None)

            async def show(progress: Progressed) -> None:
                nonlocal events
                events = progress.folded
                bar.update(task, completed=progress.folded, total=progress.total)

            stood_still_s = await maker.make(show)
            took = time.perf_counter() - began
            task = bar.add_task("customers in segments", total=None)

            async def show_customers(looked_at: int, customers: int) -> None:
                bar.update(task, completed=looked_at, total=customers)

            moved = await Remaker(pool, vault, settings.partitions, editions.number).make(show_customers)
    finally:
        await asyncio.gather(editions.pool.close(), pool.close(), vault_pool.close())
    done = f"{events:,} events in {took:.1f} s ({events / took:,.0f}/s); the log stood still for {stood_still_s * 1_000:.0f} ms"
    return f"{done}; of {moved:,} customers segments are others than was told"


def main() -> int:
    try:
        done = asyncio.run(rebuild(read_settings(ProfileSettings, os.environ)))
    except (ConfigError, Superseded, ExchangeBlocked) as error:
        print(f"rebuild: {error}", file=sys.stderr)  # noqa: T201
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("rebuild: interrupted; the views are as they were", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    print(f"the views are made anew: {done}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes identity's tables anew from its log, beside those that are served, and tells where they differ: `python -m services.identity.rebuild`,
with identity's environment, while it runs. With `--mend` what differs is written over by what the log tells.

Nothing waits for it but, while it mends what differs, the writer, which is then fenced: identity starts anew. What the log doesn't tell
(decision 61) follows from facts that are in the tables alone: of that it is checked that settling all of it anew would change nothing.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.identity.composition import IdentitySettings
from services.identity.graph.asked_anew import AskedAnew
from services.identity.graph.difference import Difference
from services.identity.simulating import Simulation
from services.identity.tables import expected, mending, rulebook
from services.identity.tables.expected import Compared, LinkedTwice
from services.identity.tables.told import Told
from shared.config import ConfigError, read_settings
from shared.ids import id_maker, to_text
from shared.instants import now_us
from shared.log import LogReader
from shared.store.pool import open_pool

STATEMENT_TIMEOUT_S = 600.0  # one looks at all of a table
INTERRUPTED = 130  # the exit code, as shells have it
# Its writer is fenced when this is committed, and waits until then.
TAKE_OVER = "UPDATE partition_heads SET owner_epoch = owner_epoch + 1 WHERE partition = $1"
LOST = "where facts were lost: `c360 identity match read-back` has them and what was said of people from profile's log; then run this again"
COLUMNS = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


@dataclass
class Found:
    """`moved` is what settling all anew would change; None: it wasn't looked at, since tables are wrong or the graph follows something still.

    `doubles` is what the log itself tells twice: no difference, since no mending changes the log.
    """

    position: int
    tables: list[Compared] = field(default_factory=list)
    mended: bool = False
    moved: Difference | None = None
    doubles: list[LinkedTwice] = field(default_factory=list)
    questions: int = 0  # of those that are open, or would be: what settling all anew would change

    @property
    def same(self) -> bool:
        moved = self.moved
        still = moved is None or not (
            moved.links or moved.unlinks or moved.merges or moved.splits or moved.shared or moved.returned
        )
        return still and not self.questions and all(table.same for table in self.tables)


class Rebuild:
    """`pool`'s search path names identity's schema."""

    def __init__(self, pool: Any, *, mend: bool = False) -> None:
        self._pool = pool
        self._mend = mend

    async def run(self, bar: Progress) -> Found:
        async with self._pool.acquire() as connection:
            found = await self._tables(connection, bar)
        if found.same:  # else nothing can be said by tables that are wrong
            found.moved = await self._facts(bar, asked := AskedAnew())
            found.questions = len(asked)
        return found

    async def _tables(self, connection: Any, bar: Progress) -> Found:
        """What was in the log when it began is read first; the little that came since, in one moment of log and tables."""
        head = await connection.fetchval("SELECT next_pos FROM partition_heads WHERE partition = $1", rulebook.PARTITION)
        task = bar.add_task("events", total=head)
        told = Told(connection)
        await told.begin()
        while told.next_pos < head and await told.follow():
            bar.update(task, completed=told.next_pos)
        async with connection.transaction(isolation="repeatable_read"):
            found = await self._compared(connection, told)
        if self._mend and not found.same:
            async with connection.transaction():
                await connection.execute(TAKE_OVER, rulebook.PARTITION)
                found = await self._compared(connection, told)
                await mending.mend(connection)
                found.mended = True
        return found

    async def _compared(self, connection: Any, told: Told) -> Found:
        while await told.follow():
            pass
        await told.finish()
        await expected.make(connection)
        tables = [await expected.compared(connection, name) for name in expected.TABLES]
        return Found(told.next_pos, tables, doubles=await expected.linked_twice(connection))

    async def _facts(self, bar: Progress, asked: AskedAnew) -> Difference | None:
        if await self._pool.fetchval(
            "SELECT EXISTS (TABLE unsettled) OR EXISTS (TABLE waiting_sightings) OR EXISTS (TABLE resettling)"
        ):
            return None
        rules = (await rulebook.known_at(LogReader(self._pool))).rules
        task, moved = bar.add_task("identifiers", total=None), Difference()
        async for looked in Simulation(self._pool, id_maker(now_us)).rules(rules, asked):
            bar.update(task, completed=looked.identifiers, total=looked.of)
            moved = looked.found
        return moved


def told(found: Found) -> list[str]:
    lines = [f"identity's tables against its log up to position {found.position}:"]
    for one in found.tables:
        what = "as the log tells" if one.same else f"{one.missing} rows missing or other, {one.surplus} rows too many or other"
        lines.append(f"  {one.table:<15} {one.rows:>11,} rows  {one.digest:>24}  {what}")
        lines += [f"    {key}" for key in one.keys]
    lines += _told_twice(found.doubles)
    if found.mended:
        lines.append("what the log tells is written; identity starts anew and settles the rest. Run this again afterwards")
    elif found.moved is None and found.same:
        lines.append("settled anew: not looked at, since identity is settling something still; run this again later")
    elif (moved := found.moved) is not None:
        counts = f"{moved.merges} merges, {moved.splits} splits, {moved.links} links, {moved.unlinks} unlinks"
        lines.append(f"settled anew by its facts: {counts}, {moved.shared + moved.returned} values shared otherwise")
        lines.append(f"asked anew by its facts: {found.questions} questions that aren't open, or for something else")
        if not found.same:
            lines.append(LOST)
    return lines


def _told_twice(doubles: Sequence[LinkedTwice]) -> list[str]:
    if not doubles:
        return []
    lines = [
        "linked by the log to several customers at once, which nothing mends: the last one counts, and is who the identifier names;"
    ]
    lines += ["an earlier one is found by its id alone, with what came for it. Who is erased is erased by each of these ids:"]
    for double in doubles:
        former = ", ".join(map(to_text, double.former))
        lines.append(f"    {double.value_hash.hex()}  first {former}  now {to_text(double.customer)}")
    return lines


async def rebuild(settings: IdentitySettings, *, mend: bool) -> Found:
    pool = await open_pool(settings.database_url, "identity", STATEMENT_TIMEOUT_S)
    try:
        console = Console(stderr=True)
        with Progress(*COLUMNS, console=console, transient=True, disable=not console.is_terminal) as bar:
            return await Rebuild(pool, mend=mend).run(bar)
    finally:
        await pool.close()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="rebuild", description=__doc__)
    parser.add_argument("--mend", action="store_true", help="write what the log tells over what differs")
    asked = parser.parse_args(arguments)
    try:
        found = asyncio.run(rebuild(read_settings(IdentitySettings, os.environ), mend=asked.mend))
    except ConfigError as error:
        print(f"rebuild: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("rebuild: interrupted; the tables are as they were", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    print("\n".join(told(found)))  # noqa: T201
    return 0 if found.same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

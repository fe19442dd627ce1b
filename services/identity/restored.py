"""What a restored backup brings back of customers that were erased after it: keys, from a vault that is older than the
database; or, from a vault that is younger, the customers without their keys.

All that is known of those erasures then is whose keys are gone. Whoever had been split from them by then, and is one with them again
in the data of the backup, was never erased, and stays.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from services.identity.domain.erasure import EraseCustomer
from services.identity.graph.conclude import Concluded
from services.identity.tables import erasures
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.ids import NewId, to_text
from shared.vault import Vault


async def keys_brought_back(pool: Any, vault: Vault) -> AsyncIterator[list[bytes]]:
    """Owners of keys that were destroyed, in pages."""
    under_way = {stream for erasure in await erasures.unfinished(pool) for stream in erasure.streams}
    async with aclosing(erasures.erased_streams(pool)) as pages:
        async for streams in pages:
            if back := sorted(set(streams) - (await vault.destroyed(streams)).keys() - under_way):
                yield back


async def lost_erasures(pool: Any, vault: Vault) -> AsyncIterator[EraseCustomer]:
    """To be done again, the same whenever they are asked for. Two of them may have been one."""
    async with aclosing(vault.all_destroyed()) as pages:
        async for destroyed in pages:
            for customer in await erasures.present_among(pool, destroyed):
                yield _again(customer)


def _again(customer: bytes) -> EraseCustomer:
    """What was asked for isn't known: who wanted never to come back must not."""
    return EraseCustomer(
        request_id=f"again {to_text(customer)}",
        customer=customer,
        policy="refuse",
        reason="erased after the backup that was restored",
        requested_by="identity",
    )


async def taken(vault: Vault, customer: bytes, others: Sequence[bytes]) -> tuple[list[bytes], bool]:
    """Of these, whom an erasure of the customer takes: all; but of one that is done again those who went then, whose keys are
    destroyed. And whether it is.
    """
    gone = await vault.destroyed([customer, *others])
    again = customer in gone
    return [one for one in others if one in gone or not again], again


class Parting(NamedTuple):
    """Taking some of a cluster out of it: what both sides are told, and {customer: who is canonical from here on}."""

    told: list[Entry]
    canonical: dict[bytes, bytes]


async def part(pool: Any, cluster: Collection[bytes], leaving: Collection[bytes], at: int, new_id: NewId) -> Parting:
    if set(cluster) <= set(leaving):  # as an erasure does, but for one that was lost
        return Parting([], {})
    customers = await pool.fetch("SELECT customer, founding_number FROM customers WHERE customer = ANY($1::bytea[])", list(cluster))
    known = Concluded(founding_numbers={row["customer"]: row["founding_number"] for row in customers})
    told = []
    merges = await pool.fetch("SELECT * FROM merges WHERE customer = ANY($1::bytea[]) ORDER BY merge_id", list(cluster))
    for merge_id, one, other in ((row["merge_id"], row["customer"], row["other"]) for row in merges):
        if (one in leaving) == (other in leaving):
            known.edges[merge_id] = one, other
            continue
        for stream, end in ((one, other), (other, one)):
            public = events.CustomersSplit(merge_id=merge_id, other=end, cause=b"")
            told.append(make_entry(events.SPLIT, stream, new_id(), at, public))
    return Parting(told, known.canonical())


async def save_parting(connection: Any, parting: Parting) -> None:
    await connection.execute(
        """UPDATE customers AS c SET canonical = new.canonical
           FROM unnest($1::bytea[], $2::bytea[]) AS new (customer, canonical) WHERE c.customer = new.customer""",
        list(parting.canonical),
        list(parting.canonical.values()),
    )

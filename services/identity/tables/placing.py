"""Loads what is needed to found a customer for an identifier, and nothing that hangs together with it; and for what is being settled, whom that gave one."""

from collections.abc import Collection
from typing import Any

from services.identity.graph.facts import Node
from services.identity.tables.regions import Loaded, identifiers_of, load_customers, take_identifiers, take_links


async def load(pool: Any, nodes: Collection[Node], next_founding_number: int) -> Loaded:
    """These, and of those that are linked to another's customer, what founded that. Merges are as they come to: each with the canonical."""
    loaded = Loaded()
    rows = await identifiers_of(pool, {node.value_hash for node in nodes})
    linked = {row["customer"] for row in rows if row["link_id"] and not row["own"]}
    if linked:
        rows += await pool.fetch("SELECT * FROM identifiers WHERE own AND customer = ANY($1::bytea[])", list(linked))
    take_identifiers(loaded, rows, {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows})
    known = loaded.region.known
    known.next_founding_number = next_founding_number
    customers = await pool.fetch(
        """SELECT c.customer, c.founding_number, c.canonical, c.version, root.founding_number AS root_number
           FROM customers AS c JOIN customers AS root ON root.customer = c.canonical WHERE c.customer = ANY($1::bytea[])""",
        list({*known.links.values(), *known.own.values()}),
    )
    for row in customers:
        customer, canonical = row["customer"], row["canonical"]
        known.founding_numbers |= {customer: row["founding_number"], canonical: row["root_number"]}
        loaded.versions[customer] = loaded.stored[customer] = row["version"]
        loaded.canonical_of |= {customer: canonical, canonical: canonical}
        if customer != canonical:
            known.edges[customer] = canonical, customer
    return loaded


async def catch_up(pool: Any, loaded: Loaded, founded: Collection[bytes]) -> None:
    """With what was concluded since it was loaded: these got customers of their own; and others wrote to customers' streams."""
    rows = await identifiers_of(pool, founded)
    take_links(loaded, rows, {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows})
    await load_customers(pool, loaded)

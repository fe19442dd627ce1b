"""Loads what is needed to found a customer for an identifier, and nothing that hangs together with it; and for what is being settled, whom that gave one."""

from collections.abc import Collection
from typing import Any, Final

from services.identity.graph.facts import Node
from services.identity.tables.regions import Loaded, identifiers_of, load_customers, take_identifiers, take_links

LINKED: Final = (
    "SELECT value_hash, namespace, customer, link_id, own, resolving, said_in FROM identifiers WHERE value_hash = ANY($1::bytea[])"
)


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


async def catch_up(pool: Any, loaded: Loaded, founded: Collection[bytes]) -> bool:
    """With what was concluded since it was loaded: these got customers of their own; and others wrote to customers' streams.

    Whether nothing else was concluded of what is loaded, by its rows as they are now: what is written over them follows from them.
    """
    region, known = loaded.region, loaded.region.known
    nodes = {node.value_hash: node for node in {*region.component_of, *known.links, *known.own} - region.facts.beyond}
    rows = await pool.fetch(LINKED, list({*nodes, *founded}))
    lost = {node.value_hash for node in (*known.links, *known.own)} - {row["value_hash"] for row in rows}
    if lost or any(_other(loaded, nodes[row["value_hash"]], row) for row in rows if row["value_hash"] not in founded):
        return False
    rows = [row for row in rows if row["value_hash"] in founded]
    take_links(loaded, rows, {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows})
    await load_customers(pool, loaded)
    return True


def _other(loaded: Loaded, node: Node, row: Any) -> bool:
    """Whether it is linked otherwise than it was."""
    known, link_id = loaded.region.known, row["link_id"]
    was = known.links.get(node), loaded.link_ids.get(node), known.own.get(node)
    return was != (row["customer"] if link_id else None, link_id, row["customer"] if row["own"] else None)

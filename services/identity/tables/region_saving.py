"""Writes a region back, as it is settled; and forgets what is erased."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.identity.graph.conclude import Merged, Split
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.region import Settled
from services.identity.tables import alone, decisions, former, waiting
from services.identity.tables.regions import Loaded, sighting_id
from services.identity.tables.shrinking import shrink


async def save(connection: Any, loaded: Loaded, settled: Settled, recorded_at: int) -> None:
    """In the transaction that makes the conclusions known, at `recorded_at`."""
    await _save_sightings(connection, loaded, settled.sightings, recorded_at)
    await _save_identifiers(connection, loaded, settled.nodes, recorded_at)
    await former.keep_links(connection, settled.conclusions)
    await _save_merges(connection, settled)
    await _save_customers(connection, loaded)
    if loaded.unsettled:
        await connection.execute("DELETE FROM unsettled WHERE value_hash = ANY($1::bytea[])", loaded.unsettled)


async def _save_sightings(connection: Any, loaded: Loaded, changed: Iterable[frozenset[Node]], recorded_at: int) -> None:
    region, rows, seen = loaded.region, [], []
    for together in changed:
        evidence, found = region.facts.together[together], sighting_id(node.value_hash for node in together)
        source = loaded.sources.get(evidence.event_id, "")
        if source:
            seen.append((found, evidence.event_id))
        hashes = sorted(node.value_hash for node in together)
        rows.append((found, hashes, *evidence, source, recorded_at, region.component_of_sighting.get(together)))
    if seen:
        await former.keep_evidence(connection, seen)
    if not rows:
        return
    # Evidence that isn't of the events at hand is what is stored already: then only the component is another one.
    await connection.executemany(
        """INSERT INTO sightings AS known (sighting_id, nodes, occurred_at, event_id, source, recorded_at, component)
           VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT (sighting_id) DO UPDATE
           SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, component = excluded.component,
               source = CASE WHEN excluded.event_id = known.event_id THEN known.source ELSE excluded.source END,
               recorded_at = CASE WHEN excluded.event_id = known.event_id THEN known.recorded_at ELSE excluded.recorded_at END""",
        rows,
    )


async def _save_identifiers(connection: Any, loaded: Loaded, changed: Collection[Node], recorded_at: int) -> None:
    region, nodes = loaded.region, sorted(changed)
    if not nodes:
        return
    told = [region.told_by.get(node) for node in nodes]
    seen_alone = [loaded.alone.get(node.value_hash) for node in nodes]  # of a row that is there already `alone.keep` tells it
    await connection.execute(
        """INSERT INTO identifiers (value_hash, namespace, customer, link_id, own, resolving, shared, contested, component, said_in, told_at,
               told_event, alone_at, alone_since)
           SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bool[], $6::bool[], $7::bool[], $8::bool[],
                                $9::bytea[], $10::bytea[], $11::int8[], $12::bytea[],
                                $13::int8[], $14::int8[])
           ON CONFLICT (value_hash) DO UPDATE
           SET customer = excluded.customer, link_id = excluded.link_id, own = excluded.own, resolving = excluded.resolving,
               shared = excluded.shared, contested = excluded.contested,
               component = excluded.component, said_in = excluded.said_in, told_at = excluded.told_at,
               told_event = excluded.told_event""",
        [node.value_hash for node in nodes],
        [node.namespace for node in nodes],
        [region.known.links.get(node) or region.known.own.get(node) for node in nodes],
        [loaded.link_ids.get(node) for node in nodes],
        [node in region.known.own for node in nodes],
        [node in region.resolving for node in nodes],
        [node in region.shared for node in nodes],
        [node in region.contested for node in nodes],
        [region.component_of.get(node) for node in nodes],
        [loaded.said_in.get(node) for node in nodes],
        [evidence and evidence.occurred_at for evidence in told],
        [evidence and evidence.event_id for evidence in told],
        seen_alone,
        [None if at is None else recorded_at for at in seen_alone],
    )


async def _save_merges(connection: Any, settled: Settled) -> None:
    made = [conclusion for conclusion in settled.conclusions if isinstance(conclusion, Merged)]
    undone = [conclusion.merge_id for conclusion in settled.conclusions if isinstance(conclusion, Split)]
    if undone:
        await connection.execute("DELETE FROM merges WHERE merge_id = ANY($1::bytea[])", undone)
    if made:
        await connection.execute(
            """INSERT INTO merges (merge_id, customer, other, likely)
               SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bool[])""",
            [merged.merge_id for merged in made],
            [merged.customer for merged in made],
            [merged.other for merged in made],
            [merged.likely for merged in made],
        )


async def _save_customers(connection: Any, loaded: Loaded) -> None:
    known = loaded.region.known
    canonical_of = known.canonical()
    rows = sorted(
        customer
        for customer in known.founding_numbers
        if loaded.canonical_of.get(customer) != canonical_of[customer]
        or loaded.versions.get(customer) != loaded.stored.get(customer)
    )
    await connection.execute(
        """INSERT INTO customers (customer, founding_number, canonical, version)
           SELECT * FROM unnest($1::bytea[], $2::int8[], $3::bytea[], $4::int8[])
           ON CONFLICT (customer) DO UPDATE SET canonical = excluded.canonical, version = excluded.version
           WHERE customers.canonical <> excluded.canonical OR customers.version <> excluded.version""",
        rows,
        [known.founding_numbers[customer] for customer in rows],
        [canonical_of[customer] for customer in rows],
        [loaded.versions.get(customer, 0) for customer in rows],
    )


async def forget(connection: Any, customers: Sequence[bytes], hashes: Sequence[bytes]) -> None:
    """The identifiers that are erased are in no fact any more; what they were seen or decided with has to be settled anew."""
    await connection.execute("DELETE FROM identifiers WHERE customer = ANY($1::bytea[])", list(customers))
    await connection.execute("UPDATE identifiers SET said_in = NULL WHERE said_in = ANY($1::bytea[])", list(customers))
    await connection.execute("DELETE FROM merges WHERE customer = ANY($1::bytea[]) OR other = ANY($1::bytea[])", list(customers))
    await former.forget(connection, customers, hashes)
    await alone.forget(connection, hashes)
    await waiting.forget(connection, hashes)
    met = await shrink(connection, hashes)
    decided = await decisions.forget(connection, customers, hashes)
    await _unsettle(
        connection, {value_hash: at for value_hash, at in met.items() if value_hash not in decided}, decided - {*hashes}
    )


async def _unsettle(connection: Any, met: Mapping[bytes, Evidence], decided: Collection[bytes]) -> None:
    """`met` is when what is erased was seen with these first: too late for some to say anything of them."""
    await connection.execute("INSERT INTO unsettled SELECT unnest($1::bytea[]) ON CONFLICT DO NOTHING", sorted(decided))
    await connection.execute(
        """INSERT INTO unsettled SELECT met.value_hash FROM unnest($1::bytea[], $2::int8[], $3::bytea[]) AS met (value_hash, at, event_id)
           LEFT JOIN identifiers USING (value_hash) WHERE told_at IS NULL OR (met.at, met.event_id) <= (told_at, told_event)
           ON CONFLICT DO NOTHING""",
        list(met),
        [evidence.occurred_at for evidence in met.values()],
        [evidence.event_id for evidence in met.values()],
    )

"""Where each table belongs when one PostgreSQL isn't enough: `python -m services.distribution` prints the script for Citus 13.

The customer log is what grows with customers and what is written in parallel, so its tables are distributed by partition, and the
index of identifiers by bucket, which is a partition's number too: what is written together lies together. What has one writer stays
whole on one worker: there is nothing to distribute, and its statements remain local ones. A new table belongs into one of these
lists; a test holds them against the catalogue of a migrated database.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

SHARDS: Final = 32  # of each distributed table; more than workers, so that they can be moved to new ones
HEADS: Final = "profile.partition_heads"


class Distributed(msgspec.Struct, frozen=True):
    """`column` says on which shard a row lies; it is the first of every unique index."""

    table: str
    column: str


BY_PARTITION: Final = tuple(
    Distributed(table, "partition")
    for table in (
        HEADS,
        "profile.events",
        "profile.merkle_nodes",
        "profile.checkpoints",
        "profile.states",
        "profile.snapshots",
        "profile.ordered",
        "profile.erased_customers",
        "profile_next.states",
        "profile_next.snapshots",
        "profile_next.ordered",
    )
)
BY_BUCKET: Final = tuple(
    Distributed(table, "bucket")
    for table in (
        "profile.identifiers",
        "profile.former_links",
        "profile.erased_identifiers",
        "profile.decisions",
        "profile_next.identifiers",
        "profile_next.former_links",
        "profile_next.erased_identifiers",
    )
)
DISTRIBUTED: Final = (*BY_PARTITION, *BY_BUCKET)

# On every node, since everybody reads it and it hardly changes.
REFERENCE: Final = {"profile.purposes": "versions of purposes: some hundred rows, read with every decision"}

# On one worker, together. Why each needn't be distributed:
WHOLE: Final = {
    "profile.segment_progress": "one row: the lock and the place of who keeps memberships",
    "profile.segment_heads": "its place in the log, a row a partition",
    "profile.segment_members": "written by who keeps memberships, one process, in one transaction with its place",
    "profile.segment_due": "as segment_members",
    "profile.segment_changes": "as segment_members; numbered in one order",
    "profile.segment_late": "as segment_members",
    "profile.segment_settlings": "a row for each version of the rules",
    "profile_next.segment_members": "becomes profile.segment_members",
    "profile_next.segment_due": "becomes profile.segment_due",
    "profile.log_owners": "one row: the lease of the log",
    "profile.consent_head": "one row: the place in consent's log",
    "profile.editions": "one row",
    "profile.parked": "what broke: few, and by message",
}

# Schemas of one writer, each whole on one worker, with its foreign keys.
WHOLE_SCHEMAS: Final = {
    "ingest": "sources, and what waits of their events; its log has one partition",
    "identity": "who is who: one log of one partition, one writer, and a graph that it settles in one transaction",
    "consent": "one log of one partition, one writer",
    "disclosures": "one log of one partition, written in batches",
}

# In a database of their own.
VAULT_DISTRIBUTED: Final = (Distributed("vault.data_keys", "owner"),)
VAULT_REFERENCE: Final = {"vault.key_encryption_keys": "a row a rotation; data_keys refers to it"}

# Read by migrations alone, which run on the coordinator.
COORDINATOR: Final = {"profile.alembic_version": "which migrations ran", "vault.alembic_version": "which migrations ran"}

HEADER: Final = """\
-- Written by `python -m services.distribution`; a test holds it against that list.
-- For Citus 13 on PostgreSQL 17: run it once, as superuser, on the coordinator, with psql, after `python -m services.migrate` and before the
-- services start. The workers are registered in both databases by then (deploy/citus/README.md). What is distributed already is an error.
\\set ON_ERROR_STOP on
"""


def script() -> str:
    return HEADER + "\n".join(("\\connect c360", *_of_data(), "", "\\connect c360_vault", *_of_vault(), ""))


def _of_data() -> Iterator[str]:
    yield from _together(DISTRIBUTED, HEADS)
    yield from map(_reference, REFERENCE)
    first, *rest = WHOLE
    yield f"SELECT create_distributed_table('{first}', NULL, colocate_with => 'none');"
    for table in rest:
        yield f"SELECT create_distributed_table('{table}', NULL, colocate_with => '{first}');"
    for schema in WHOLE_SCHEMAS:
        yield f"SELECT citus_schema_distribute('{schema}');"


def _of_vault() -> Iterator[str]:
    yield from map(_reference, VAULT_REFERENCE)  # first: it is referred to
    yield from _together(VAULT_DISTRIBUTED, VAULT_DISTRIBUTED[0].table)


def _together(tables: tuple[Distributed, ...], first: str) -> Iterator[str]:
    for one in tables:
        where = f"'none', shard_count => {SHARDS}" if one.table == first else f"'{first}'"
        yield f"SELECT create_distributed_table('{one.table}', '{one.column}', colocate_with => {where});"


def _reference(table: str) -> str:
    return f"SELECT create_reference_table('{table}');"


if __name__ == "__main__":
    print(script(), end="")  # noqa: T201

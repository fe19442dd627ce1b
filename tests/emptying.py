"""A log as it was when it was made, with nothing that follows from it, for tests and benchmarks that share a server."""

from typing import Any

LOG = ("events", "merkle_nodes")
VIEWS = {
    "identity": (
        "customers",
        "identifiers",
        "sightings",
        "merges",
        "superseded_evidence",
        "superseded_alone",
        "former_links",
        "unsettled",
        "waiting_sightings",
        "records",
        "blocks",
        "returned_blocks",
        "matches",
        "former_matches",
        "matching",
        "resettling",
        "proposals",
        "seen_messages",
        "seen_messages_sieve",
        "outbox",
        "parked",
        "erasures",
        "suppressions",
        "holds",
        "decisions",
        "spent_requests",
    ),
    "profile": (
        "states",
        "snapshots",
        "ordered",
        "identifiers",
        "former_links",
        "erased_identifiers",
        "erased_customers",
        "segment_members",
        "segment_due",
        "segment_heads",
        "segment_settlings",
        "segment_changes",
        "segment_late",
        "purposes",
        "decisions",
        "parked",
    ),
    "disclosures": ("disclosed", "justified"),
}
HEADS = {
    "identity": (),
    "profile": (
        "consent_head SET consumed = 0",
        """segment_progress SET rules_version = 0, partition = 0, stream = '', consent = 0, differing = '{}', looked_at = 0,
               customers = 0, making = 0, writes = 0""",
    ),
    "disclosures": (),
}


async def empty_log(admin: Any, schema: str) -> None:
    """`admin` is a superuser's connection. A writer has to claim anew."""
    await admin.execute(f"TRUNCATE {', '.join(f'{schema}.{table}' for table in (*LOG, *VIEWS[schema]))}")
    for head in HEADS[schema]:
        await admin.execute(f"UPDATE {schema}.{head}")
    await admin.execute(f"DELETE FROM {schema}.checkpoints WHERE tree_size > 0")
    await admin.execute(
        f"""UPDATE {schema}.partition_heads
            SET next_pos = 0, consumed = '{{}}', last_recorded_at = 0, owner_epoch = 0, merkle_frontier = '', edition = 0"""
    )

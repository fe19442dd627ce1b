"""A log as it was when it was made, for tests and benchmarks that share a server."""

from typing import Any

LOG = ("events", "merkle_nodes")


async def empty_log(admin: Any, schema: str, *views: str) -> None:
    """`admin` is a superuser's connection; `views` are further tables of the schema to empty. A writer has to claim anew."""
    await admin.execute(f"TRUNCATE {', '.join(f'{schema}.{table}' for table in (*LOG, *views))}")
    await admin.execute(f"DELETE FROM {schema}.checkpoints WHERE tree_size > 0")
    await admin.execute(
        f"""UPDATE {schema}.partition_heads
            SET next_pos = 0, consumed = '{{}}', last_recorded_at = 0, owner_epoch = 0, merkle_frontier = '', edition = 0"""
    )

"""What tests that share a server begin with: no table keeps what another test left, also one that is added later."""

import asyncpg
import pytest

from services.stack.stack import Stack
from tests.emptying import HEADS, LOG, VIEWS

STAY = {"partition_heads", "checkpoints", "log_owners"}  # of the log and its migrations
COUNT_ON = {"identity": {"alembic_version"}, "profile": {"editions", "alembic_version"}}  # from wherever they stand


@pytest.mark.parametrize("schema", VIEWS)
async def test_every_table_beside_a_log_is_emptied_with_it(servers: Stack, schema: str) -> None:
    admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
    rows = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    await admin.close()
    emptied = {*LOG, *VIEWS[schema], *(head.split()[0] for head in HEADS[schema])}
    assert {row["tablename"] for row in rows} == emptied | COUNT_ON.get(schema, set()) | STAY

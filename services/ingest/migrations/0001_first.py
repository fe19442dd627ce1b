"""The log of sources, and the view that write keys are looked up in."""

from alembic import op

from shared.log.schema import GRANTS, TABLES

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GRANTS.format(schema="ingest", role="c360_ingest"))
    op.execute("""
        CREATE TABLE sources (
            name           text  PRIMARY KEY,
            write_key_hash bytea NOT NULL UNIQUE,
            write_key_hint text  NOT NULL,
            request_id     text  NOT NULL,
            registered_at  int8  NOT NULL
        )
    """)
    op.execute("GRANT SELECT, INSERT ON sources TO c360_ingest")

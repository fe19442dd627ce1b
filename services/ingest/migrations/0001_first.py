"""The log of sources, the view that write keys are looked up in, and the receipts of events."""

from alembic import op

from services.ingest import verdicts
from shared.log.schema import GRANTS, TABLES
from shared.store import generations

revision = "0001"
down_revision = None

RECEIPTS = """
CREATE TABLE receipts (
    generation int4  NOT NULL,
    event_id   bytea NOT NULL,
    customer   bytea NOT NULL,
    unit       int8  NOT NULL,
    PRIMARY KEY (generation, event_id)
);
CREATE TABLE customer_head (
    customer int8 NOT NULL,
    ingest   int8 NOT NULL,
    receipts int8 NOT NULL
);
INSERT INTO customer_head VALUES (0, 0, 0);
GRANT SELECT, INSERT ON receipts TO c360_ingest;
GRANT SELECT, UPDATE ON customer_head TO c360_ingest;
"""


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
    op.execute(RECEIPTS)
    op.execute(generations.TABLE.format(table="receipts", role="c360_ingest"))
    op.execute(verdicts.TABLE)

"""How far identity had read its own sources is kept with what consent applied: who stands by and answers checks goes by tables alone."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("ALTER TABLE customer_head ADD COLUMN IF NOT EXISTS ingest int8 NOT NULL DEFAULT -1")

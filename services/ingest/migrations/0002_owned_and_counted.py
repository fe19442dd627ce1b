"""One process owns the log; and what waits in quarantine is counted by whoever changes it, for a trigger can't be distributed."""

from alembic import op

from shared.log.schema import OWNERS

revision = "0002"
down_revision = "0001"

COUNTED = """
DROP TRIGGER IF EXISTS grew ON quarantine;
DROP TRIGGER IF EXISTS shrank ON quarantine;
DROP FUNCTION IF EXISTS quarantine_changed();
"""


def upgrade() -> None:
    op.execute(OWNERS.format(schema="ingest", role="c360_ingest"))
    op.execute(COUNTED)

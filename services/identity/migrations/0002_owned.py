"""One process owns the log."""

from alembic import op

from shared.log.schema import OWNERS

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(OWNERS.format(schema="identity", role="c360_identity"))

"""One process owns the log; and who authorised a decision for a child, and what follows from what, can be looked up."""

import msgspec
from alembic import op

from shared.log.schema import OWNERS

revision = "0002"
down_revision = "0001"

GUARDIANS = """
ALTER TABLE decisions
    ADD COLUMN IF NOT EXISTS guardian bytea, -- hash of an identifier of whoever authorised it, for a child
    ADD COLUMN IF NOT EXISTS follows  bytea; -- of what is told of a guardian's age: the decision about them
CREATE INDEX IF NOT EXISTS decisions_by_guardian ON decisions (guardian) WHERE guardian IS NOT NULL;
CREATE INDEX IF NOT EXISTS decisions_by_followed ON decisions (follows) WHERE follows IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(OWNERS.format(schema="consent", role="c360_consent"))
    op.execute(GUARDIANS)
    if not op.get_context().as_sql:
        _name_guardians()


def _name_guardians() -> None:
    """Of what was decided before. Nothing followed from anything yet."""
    connection = op.get_bind()
    for pos, decision in connection.exec_driver_sql("SELECT pos, decision FROM decisions WHERE guardian IS NULL").fetchall():
        if authorised := msgspec.msgpack.decode(decision).get("authorised"):
            guardian = authorised["guardian_hash"]
            connection.exec_driver_sql("UPDATE decisions SET guardian = %s WHERE pos = %s", (guardian, pos))

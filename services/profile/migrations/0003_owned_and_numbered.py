"""One process owns each log; numbers are given out of a row, for a sequence can't be distributed; and decisions are found by when they were made."""

import msgspec
from alembic import op

from shared.log.schema import OWNERS

revision = "0003"
down_revision = "0002"

# A number is given once, also when its row goes: on from where the sequence is.
NUMBERED = """
ALTER TABLE segment_progress
    ADD COLUMN IF NOT EXISTS changes int8 NOT NULL DEFAULT 0, -- numbers that were given to rows of segment_changes
    ADD COLUMN IF NOT EXISTS late    int8 NOT NULL DEFAULT 0; -- and of segment_late
UPDATE segment_progress SET
    changes = greatest(changes, pg_sequence_last_value(pg_get_serial_sequence('profile.segment_changes', 'number')::regclass)),
    late = greatest(late, pg_sequence_last_value(pg_get_serial_sequence('profile.segment_late', 'number')::regclass));
ALTER TABLE segment_changes ALTER COLUMN number DROP IDENTITY IF EXISTS;
ALTER TABLE segment_late ALTER COLUMN number DROP IDENTITY IF EXISTS;
"""
DECIDED = """
ALTER TABLE decisions ADD COLUMN IF NOT EXISTS decided_at int8;
CREATE INDEX IF NOT EXISTS decisions_decided ON decisions (purpose, decided_at, value_hash);
"""


def upgrade() -> None:
    for log in ("profile", "disclosures"):
        op.execute(OWNERS.format(schema=log, role="c360_profile"))
    op.execute(NUMBERED)
    op.execute(DECIDED)
    if not op.get_context().as_sql:
        _say_when_decided()


def _say_when_decided() -> None:
    """Of what was decided before."""
    connection = op.get_bind()
    rows = connection.exec_driver_sql(
        "SELECT bucket, value_hash, purpose, decision_id, decision FROM decisions WHERE decided_at IS NULL"
    )
    for *key, decision in rows.fetchall():
        connection.exec_driver_sql(
            "UPDATE decisions SET decided_at = %s WHERE bucket = %s AND value_hash = %s AND purpose = %s AND decision_id = %s",
            (msgspec.msgpack.decode(decision)["decided_at"], *key),
        )

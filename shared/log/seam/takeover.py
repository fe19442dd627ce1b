"""Taking a partition over from a writer that may still hold its head; why that takes more than waiting, `shared.log.takeover` says."""

import psycopg
from psycopg.rows import DictRow

from shared.log import takeover
from shared.log.placing import HEAD_COLUMNS

TAKE = f"UPDATE partition_heads SET owner_epoch = owner_epoch + 1 WHERE partition = %s RETURNING {HEAD_COLUMNS}"  # noqa: S608
# The row names the transaction that locked it last, and that transaction holds a lock on its own number.
END_HOLDER = """SELECT pg_terminate_backend(pid) FROM pg_locks JOIN partition_heads AS head ON transactionid = head.xmax
                WHERE locktype = 'transactionid' AND granted AND head.partition = %s"""


def take_over(cursor: psycopg.Cursor[DictRow], partition: int) -> DictRow | None:
    """The row of the head, with an owner epoch of our own; in a transaction. None when the log has no such partition."""
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{takeover.PATIENCE_S * 1000:.0f}"])
    try:
        with cursor.connection.transaction():
            cursor.execute(TAKE, [partition])
    except psycopg.errors.LockNotAvailable:
        cursor.execute(END_HOLDER, [partition])
        takeover.log.warning("ended the session of a writer that kept its partitions without writing", sessions=cursor.rowcount)
        cursor.execute(TAKE, [partition])
    return cursor.fetchone()

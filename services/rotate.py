"""Rotates the key-encryption key while the system runs: `python -m services.rotate`, or `c360 vault rotate`.

A new key goes into the keyring file, and every data key that is wrapped under another one is rewrapped in batches. Running
processes notice the new file by themselves. What was interrupted goes on with the next call; only when everything is under
the current key does a call add one. `retire` then forgets the older ones: from there on, what a backup or a dead row of the
vault holds under them is unreadable, also the keys of customers that were erased since.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
from rich.progress import Progress

from services.migrate import VAULT_DATABASE, admit, of_database
from shared.config import ConfigError, read_settings
from shared.vault import FileKeyring

BATCH_KEYS = 500  # rewrapped in one transaction
# A process may be about to store a key that it wrapped just before the rotation; longer than any statement may take.
RETIRE_AFTER_S = 60.0
TURN_S = 60  # to wait for another rotation
ROTATION_LOCK = int.from_bytes(b"c360 kek")  # of the vault's database
Report = Callable[[int, int], None]  # (done, of)


class RotateSettings(msgspec.Struct, frozen=True, kw_only=True):
    admin_url: str  # a superuser's, of any database on the server
    keyring_file: str


class StillWrapped(Exception):
    """Something is wrapped under a key that was to be retired."""


class TooSoon(Exception):
    """Something may still become wrapped under a key that is to be retired."""


def rotate(connection: psycopg.Connection, keyring: FileKeyring, report: Report) -> tuple[str, int]:
    """The id of the current key-encryption key, and how many data keys were rewrapped under it."""
    if not left_under_others(connection, keyring.current_id):
        admit(connection, keyring.next_id)  # first: processes wrap under the new key as soon as the file has it
        keyring.add_key()
    current, done = keyring.current_id, 0
    while left := left_under_others(connection, current):  # again: a process may have wrapped under the old key meanwhile
        last, total = b"", done + left
        while (batch := _rewrap(connection, keyring, current, last)) is not None:
            last, rewrapped = batch
            done += rewrapped
            report(done, max(total, done))
    return current, done


def retire(connection: psycopg.Connection, keyring: FileKeyring, after_s: float = RETIRE_AFTER_S) -> list[str]:
    """Forgets every key but the current one; their ids. Raises StillWrapped, TooSoon."""
    if keyring.age_s() < after_s:
        raise TooSoon(f"the keyring was changed less than {after_s:.0f} s ago: try again later")
    if left := left_under_others(connection, keyring.current_id):
        raise StillWrapped(f"{left} data keys are wrapped under another key: rotate first")
    older = [key_id for key_id in keyring.key_ids if key_id != keyring.current_id]
    # First: a process that was paused since before the rotation is refused, instead of wrapping what nobody unwraps.
    try:
        connection.execute("DELETE FROM vault.key_encryption_keys WHERE id <> %s", [keyring.current_id])
    except psycopg.errors.ForeignKeyViolation:
        raise StillWrapped("a data key was just wrapped under another key: rotate first") from None
    for key_id in older:
        keyring.retire_key(key_id)
    return older


def left_under_others(connection: psycopg.Connection, current: str) -> int:
    query = "SELECT count(*) FROM vault.data_keys WHERE wrapped IS NOT NULL AND key_id <> %s"
    row = connection.execute(query, [current]).fetchone()
    return int(row[0]) if row else 0


def _rewrap(connection: psycopg.Connection, keyring: FileKeyring, current: str, after: bytes) -> tuple[bytes, int] | None:
    """One batch: its last owner, and how many were rewrapped. A key that is destroyed meanwhile stays destroyed."""
    rows = connection.execute(
        """SELECT owner, wrapped, key_id FROM vault.data_keys WHERE wrapped IS NOT NULL AND key_id <> %s AND owner > %s
           ORDER BY owner LIMIT %s""",
        [current, after, BATCH_KEYS],
    ).fetchall()
    if not rows:
        return None
    fresh = [keyring.wrap(keyring.unwrap(wrapped, owner, key_id), owner) for owner, wrapped, key_id in rows]
    changed = connection.execute(
        """UPDATE vault.data_keys AS held SET wrapped = new.wrapped, key_id = new.key_id
           FROM unnest(%s::bytea[], %s::bytea[], %s::text[], %s::bytea[]) AS new (owner, old, key_id, wrapped)
           WHERE held.owner = new.owner AND held.wrapped = new.old""",
        [
            [owner for owner, _, _ in rows],
            [wrapped for _, wrapped, _ in rows],
            [key_id for key_id, _ in fresh],
            [wrapped for _, wrapped in fresh],
        ],
    )
    return rows[-1][0], changed.rowcount


def connect(settings: RotateSettings) -> psycopg.Connection:
    """One at a time rotates or retires: waits for its turn as long as it keeps the connection, or raises OperationalError."""
    connection = psycopg.connect(of_database(settings.admin_url, VAULT_DATABASE), autocommit=True)
    try:
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [f"{TURN_S}s"])
        connection.execute("SELECT pg_advisory_lock(%s)", [ROTATION_LOCK])
    except psycopg.Error:
        connection.close()
        raise
    return connection


def run(settings: RotateSettings, retiring: bool) -> str:
    """What to tell who asked. Raises ConfigError, StillWrapped, TooSoon, psycopg.OperationalError."""
    keyring = FileKeyring(Path(settings.keyring_file))
    with connect(settings) as connection:
        if retiring:
            retired = retire(connection, keyring)
            return f"retired {', '.join(retired)}" if retired else "nothing to retire"
        with Progress(transient=True) as bar:
            task = bar.add_task("rewrapping data keys", total=None)
            current, done = rotate(connection, keyring, lambda now, of: bar.update(task, completed=now, total=of))
    return f"{done} data keys rewrapped under key {current}; `--retire` forgets the older ones"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.rotate", description="Rotate the key-encryption key.")
    parser.add_argument("--retire", action="store_true", help="forget all but the current key")
    arguments = parser.parse_args()
    try:
        print(run(read_settings(RotateSettings, os.environ), arguments.retire))  # noqa: T201
    except (ConfigError, StillWrapped, TooSoon, psycopg.OperationalError) as error:
        print(f"rotate: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("rotate: interrupted; the next call goes on from here", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

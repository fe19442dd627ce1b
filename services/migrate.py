"""Makes or upgrades what the services need before they start: keyring, databases, roles, schemas and tables.

`python -m services.migrate`; run it as often as you like. It needs a superuser; the services don't.
"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psycopg
from psycopg import sql

from shared.config import ConfigError, Partitions, read_settings
from shared.instants import now_us
from shared.log import merkle, notes
from shared.store.migrate import upgrade
from shared.vault import FileKeyring

ROOT = Path(__file__).parent
SERVICES = ("ingest", "identity", "profile", "consent")
LOGS = (*SERVICES, "disclosures")  # the last is profile's too, in a schema of its own
DATABASE = "c360"
VAULT_DATABASE = "c360_vault"


class MigrateSettings(msgspec.Struct, frozen=True, kw_only=True):
    admin_url: str  # a superuser's, of any database on the server
    ingest_password: str
    identity_password: str
    profile_password: str
    consent_password: str
    keyring_file: str
    partitions: Partitions = 4

    def password(self, service: str) -> str:
        return str(getattr(self, f"{service}_password"))


def migrate(settings: MigrateSettings) -> None:
    keyring = Path(settings.keyring_file)
    if not keyring.exists():
        FileKeyring.create(keyring)
    with psycopg.connect(settings.admin_url, autocommit=True) as admin:
        for service in SERVICES:
            _ensure_role(admin, f"c360_{service}", settings.password(service))
        for database in (DATABASE, VAULT_DATABASE):
            _ensure_database(admin, database)
    for service in SERVICES:
        upgrade(of_database(settings.admin_url, DATABASE), service, ROOT / service / "migrations")
    upgrade(of_database(settings.admin_url, VAULT_DATABASE), "vault", ROOT.parent / "shared" / "vault" / "migrations")
    _ensure_partitions(settings)
    _sign_new_partitions(settings, FileKeyring(keyring))
    with psycopg.connect(of_database(settings.admin_url, VAULT_DATABASE), autocommit=True) as admin:
        admit(admin, FileKeyring(keyring).current_id)


def admit(vault: psycopg.Connection, key_id: str) -> None:
    """From here on data keys may be wrapped under this key-encryption key."""
    vault.execute("INSERT INTO vault.key_encryption_keys (id) VALUES (%s) ON CONFLICT DO NOTHING", [key_id])


def _ensure_role(admin: psycopg.Connection, role: str, password: str) -> None:
    exists = admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    verb = sql.SQL("ALTER" if exists else "CREATE")
    admin.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(role), sql.Literal(password)))


def _ensure_database(admin: psycopg.Connection, database: str) -> None:
    if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        # Whatever the server's default: texts are UTF-8, and sorted by their bytes everywhere.
        made = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'")
        admin.execute(made.format(sql.Identifier(database)))
    admin.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    for service in SERVICES:
        verb = sql.SQL(
            "REVOKE CONNECT ON DATABASE {} FROM {}" if _is_barred(service, database) else "GRANT CONNECT ON DATABASE {} TO {}"
        )
        admin.execute(verb.format(sql.Identifier(database), sql.Identifier(f"c360_{service}")))
    if database == DATABASE:  # what `services.identity.rebuild` compares the tables with
        admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO c360_identity").format(sql.Identifier(database)))


def _is_barred(service: str, database: str) -> bool:
    """Consent keeps nothing sealed: it has no business with keys."""
    return (service, database) == ("consent", VAULT_DATABASE)


def of_database(url: str, database: str) -> str:
    """The same server and user, and what else the URL says of the connection; another database."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _ensure_partitions(settings: MigrateSettings) -> None:
    """The customer log has as many as configured, for ever; the other logs have one."""
    with psycopg.connect(of_database(settings.admin_url, DATABASE), autocommit=True) as admin:
        for log in LOGS:
            heads = sql.Identifier(log, "partition_heads")
            wanted = settings.partitions if log == "profile" else 1
            row = admin.execute(sql.SQL("SELECT count(*) FROM {}").format(heads)).fetchone()
            existing = row[0] if row else 0
            if existing not in (0, wanted):
                raise ConfigError(f"C360_PARTITIONS is fixed at installation: it was {existing} and can't become {wanted}")
            admin.execute(
                sql.SQL("INSERT INTO {} (partition) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING").format(heads),
                [wanted],
            )


def _sign_new_partitions(settings: MigrateSettings, keyring: FileKeyring) -> None:
    """Each partition has a checkpoint before its first event: where there is none later, it was removed, and nothing is signed."""
    empty = "SELECT partition FROM {} AS head WHERE next_pos = 0 AND NOT EXISTS (SELECT FROM {} WHERE partition = head.partition)"
    # Anew while it is empty: the keyring may have been exchanged for the one of a backup.
    sign = """INSERT INTO {} (partition, tree_size, note, made_at) VALUES (%s, 0, %s, %s)
              ON CONFLICT (partition, tree_size) DO UPDATE SET note = excluded.note"""
    with psycopg.connect(of_database(settings.admin_url, DATABASE), autocommit=True) as admin:
        for log in LOGS:
            heads, events, checkpoints = (sql.Identifier(log, name) for name in ("partition_heads", "events", "checkpoints"))
            for (partition,) in admin.execute(sql.SQL(empty).format(heads, events)).fetchall():
                tree = notes.Checkpoint(notes.origin_of(keyring.installation, log, partition), 0, merkle.EMPTY_ROOT)
                admin.execute(sql.SQL(sign).format(checkpoints), [partition, notes.signed(tree.text(), keyring), now_us()])


def main() -> int:
    try:
        migrate(read_settings(MigrateSettings, os.environ))
    except (ConfigError, psycopg.OperationalError) as error:
        print(f"migrate: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

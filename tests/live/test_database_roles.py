"""At PostgreSQL each service reads and writes its own tables alone, whatever tables there are; and by TLS where the URL says so."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from services.migrate import of_database
from services.stack.ports import SERVICES
from services.stack.stack import Stack
from shared.store.migrate import upgrade
from shared.store.pool import open_pool
from tests.live.certificates import Authority

OWN: Final = {name: {name} for name in SERVICES} | {"profile": {"profile", "disclosures"}}
READS, ADDS, CHANGES, DELETES = "SELECT", "INSERT", "UPDATE", "DELETE"
ANY: Final = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
VAULT: Final[dict[str, set[str]]] = {
    "ingest": {READS, ADDS},
    "identity": {READS, ADDS, CHANGES},
    "profile": {READS},
    "consent": set(),
}
SSL_REQUEST: Final = struct.pack("!II", 8, 80877103)
TIMEOUT_S: Final = 20.0

each_service = pytest.mark.parametrize("service", SERVICES)


def tables(admin: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    found = admin.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    ).fetchall()
    return [(str(schema), str(table)) for schema, table in found]


def own(service: str, schema: str) -> bool:
    """profile's views are made anew in a schema beside the one that is served."""
    return schema in OWN[service] or (service == "profile" and schema.startswith("profile"))


@each_service
def test_no_table_of_another_service_can_be_read_or_written(servers: Stack, service: str) -> None:
    url = servers.environment_of(service)["C360_DATABASE_URL"]
    with psycopg.connect(of_database(servers.admin_url, "c360")) as admin:
        there = tables(admin)
        foreign = [(schema, table) for schema, table in there if not own(service, schema)]
        asked = "SELECT has_table_privilege(%s, format('%%I.%%I', %s::text, %s::text), %s)"
        granted = [one for one in foreign if admin.execute(asked, (f"c360_{service}", *one, ANY)).fetchone() != (False,)]
    assert len(foreign) > len(there) / 4
    assert granted == []
    with psycopg.connect(url, autocommit=True) as connection:
        for schema, table in foreign:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f'SELECT FROM "{schema}"."{table}" LIMIT 1')


@each_service
def test_no_event_can_be_changed_or_taken_out(servers: Stack, service: str) -> None:
    with psycopg.connect(of_database(servers.admin_url, "c360")) as admin:
        for schema in OWN[service]:
            asked = "SELECT has_table_privilege(%s, %s, 'UPDATE, DELETE, TRUNCATE')"
            assert admin.execute(asked, (f"c360_{service}", f"{schema}.events")).fetchone() == (False,)


@each_service
def test_of_the_vault_each_has_what_it_needs(servers: Stack, service: str) -> None:
    with psycopg.connect(of_database(servers.admin_url, "c360_vault")) as admin:
        reached = admin.execute("SELECT has_database_privilege(%s, 'c360_vault', 'CONNECT')", (f"c360_{service}",)).fetchone()
        assert reached == (service != "consent",)
        for right in (READS, ADDS, CHANGES, DELETES, "TRUNCATE"):
            any_column = right in (READS, ADDS, CHANGES)
            kind = "has_any_column_privilege" if any_column else "has_table_privilege"
            had = admin.execute(f"SELECT {kind}(%s, 'vault.data_keys', %s)", (f"c360_{service}", right)).fetchone()
            assert had == (right in VAULT[service],), right


@each_service
def test_it_is_nobody_special_and_owns_nothing(servers: Stack, service: str) -> None:
    with psycopg.connect(of_database(servers.admin_url, "c360")) as admin:
        special = (
            "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolreplication FROM pg_roles WHERE rolname = %s"
        )
        assert admin.execute(special, (f"c360_{service}",)).fetchone() == (False,)
        owned = (
            "SELECT count(*) FROM pg_class JOIN pg_roles ON relowner = pg_roles.oid WHERE rolname = %s AND relkind IN ('r', 'p')"
        )
        assert admin.execute(owned, (f"c360_{service}",)).fetchone() == (0,)


@asynccontextmanager
async def behind_tls(server: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """The URL with an address before PostgreSQL that speaks TLS as it does; the embedded one is built without."""
    parts = urlsplit(server)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            target.close()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                raise ConnectionError  # who doesn't ask for TLS gets nothing
            writer.write(b"S")
            await writer.start_tls(context)
            there, back = await asyncio.open_connection(parts.hostname, parts.port)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            writer.close()
            return
        await asyncio.gather(pump(reader, back), pump(there, writer))

    listening = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@localhost:{port}").geturl()


async def test_tls_goes_by_the_url_for_all_who_connect(servers: Stack, tmp_path: Path) -> None:
    ours, theirs = Authority("ours"), Authority("theirs")
    key, certificate = ours.issue("localhost")
    (tmp_path / "server.pem").write_text(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    for name, authority in (("ours", ours), ("theirs", theirs)):
        (tmp_path / f"{name}.pem").write_text(authority.pem)
    async with behind_tls(servers.admin_url, context) as address:
        trusting = f"{address}?sslmode=verify-full&sslrootcert={tmp_path}/ours.pem"
        pool = await asyncio.wait_for(open_pool(of_database(trusting, "c360"), "ingest"), TIMEOUT_S)
        assert await pool.fetchval("SELECT current_database()") == "c360"
        await pool.close()
        empty = tmp_path / "none"
        empty.mkdir()
        await asyncio.to_thread(upgrade, of_database(trusting, "c360"), "unused", empty)
        distrusting = f"{address}?sslmode=verify-full&sslrootcert={tmp_path}/theirs.pem"
        with pytest.raises(ssl.SSLError):
            await asyncpg.connect(distrusting, timeout=TIMEOUT_S)
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            await asyncio.to_thread(lambda: psycopg.connect(distrusting, connect_timeout=int(TIMEOUT_S)))

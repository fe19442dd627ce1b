"""Looks at PostgreSQL, NATS and the disk, where it is told how to reach them."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.cli.doctor.finding import Finding, of_clock, of_disk
from services.cli.errors import CommandError

# As a crash must find them: what was acknowledged is on the disk.
WANTED: Final = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
SAFE: Final = {"synchronous_commit": ("on", "remote_write", "remote_apply", "local")}
STREAMS: Final = ("CONSENT", "CUSTOMER", "INGEST", "PROFILE", "SOURCE")
OWNED: Final = ("identity", "profile", "consent")  # whose log one process owns at a time
FULL: Final = 0.85  # of a limit
LONG_S: Final = 300
IN_WAY = """SELECT count(*) FROM pg_stat_activity
            WHERE usename LIKE 'c360\\_%%' AND state LIKE 'idle in transaction%%' AND state_change < now() - make_interval(secs => %s)"""
ONE_OF_EACH = """SELECT DISTINCT ON (key_id) owner, wrapped, key_id FROM vault.data_keys WHERE key_id IS NOT NULL
                 ORDER BY key_id"""
OF_ROLES = """SELECT coalesce(rolname, 'everybody'), setting FROM pg_db_role_setting
              LEFT JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS setting"""


def postgres(environ: Mapping[str, str], timeout_s: float) -> list[Finding]:
    import psycopg

    try:
        url = admin_url(environ)
    except CommandError as error:
        return [Finding("unseen", "postgres", f"nobody could look: {error}", "C360_ADMIN_URL names a superuser's URL")]
    try:
        with psycopg.connect(url, connect_timeout=max(2, int(timeout_s)), autocommit=True) as connection:
            found = [*_settings(connection), *_room(connection), *_clock(connection)]
        return [*found, *_owners(url), *_keys(url, environ)]
    except psycopg.Error as error:
        what = f"doesn't answer ({type(error).__name__})"
        return [Finding("wrong", "postgres", what, "start it; services go on by themselves. docs/runbooks/services.md")]


def _settings(connection: Any) -> list[Finding]:
    names = dict(connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(WANTED)]).fetchall())
    found = [(name, names.get(name, ""), "") for name in WANTED]
    for role, setting in connection.execute(OF_ROLES).fetchall():
        name, _, value = setting.partition("=")
        found += [(name, value, f" for {role}")] if name in WANTED else []
    return [
        Finding(
            "wrong",
            "postgres",
            f"{name} is {value}{whose}: what was acknowledged is lost when the machine stops",
            f"set {name} = {WANTED[name]} (postgresql.conf, or ALTER ROLE ... RESET), then reload",
        )
        for name, value, whose in found
        if value not in SAFE.get(name, (WANTED[name],))
    ]


def _room(connection: Any) -> list[Finding]:
    most, used = connection.execute("SELECT current_setting('max_connections')::int, count(*) FROM pg_stat_activity").fetchone()
    [idle] = connection.execute(IN_WAY, [LONG_S]).fetchone()
    found = []
    if used > FULL * most:
        to_do = "raise max_connections, or see who holds them (pg_stat_activity)"
        found.append(Finding("soon", "postgres", f"{used} of {most} connections are taken", to_do))
    if idle:
        what = f"{idle} sessions of services stand idle in a transaction for more than {LONG_S} s"
        found.append(Finding("wrong", "postgres", what, "restart the service that holds them (pg_stat_activity)"))
    return found


def _clock(connection: Any) -> list[Finding]:
    asked = time.time()
    [theirs] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    return of_clock("postgres", theirs, asked, time.time())


def _owners(url: str) -> list[Finding]:
    """Logs that nobody writes: no process has the lease of theirs."""
    import psycopg
    from psycopg import sql
    from psycopg.conninfo import make_conninfo

    found = []
    with psycopg.connect(make_conninfo(url, dbname="c360"), autocommit=True) as connection:
        for service in OWNED:
            asked = sql.SQL("SELECT extract(epoch FROM now() - max(until))::float8 FROM {}.log_owners").format(
                sql.Identifier(service)
            )
            [over_s] = connection.execute(asked).fetchone() or [None]
            if over_s is None or over_s > 0:
                since = "ever" if over_s is None else f"for {over_s:.0f} s"
                to_do = f"start {service}: it takes over within ten seconds; if it runs, see why it doesn't get on with PostgreSQL"
                found.append(Finding("wrong", service, f"no process has owned its log {since}", to_do))
    return found


def admin_url(environ: Mapping[str, str]) -> str:
    """Raises CommandError."""
    from services.cli.vault import embedded_admin_url

    if url := environ.get("C360_ADMIN_URL"):
        return url
    named = environ.get("C360_ADMIN_URL_FILE")
    return Path(named).read_text().strip() if named else embedded_admin_url(environ)


def _keys(url: str, environ: Mapping[str, str]) -> list[Finding]:
    """Whether the keyring is the one of this vault."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    from shared.vault import FileKeyring

    path = Path(environ.get("C360_KEYRING_FILE") or _directory(environ) / "secrets" / "keyring.json")
    if not path.parent.exists():
        return [Finding("unseen", "keyring", f"{path} isn't here", "C360_KEYRING_FILE says where it is")]
    try:
        keyring = FileKeyring(path)
    except Exception as error:  # it names what is wrong with the file, and never what is in it
        what = f"{path} can't be read ({type(error).__name__})"
        return [Finding("wrong", "keyring", what, "restore it from its backup: without it the data is noise")]
    try:
        with psycopg.connect(make_conninfo(url, dbname="c360_vault")) as vault:
            rows = vault.execute(ONE_OF_EACH).fetchall()
    except psycopg.Error as error:
        return [
            Finding("wrong", "postgres", f"the vault can't be read ({type(error).__name__})", "run `python -m services.migrate`")
        ]
    closed = [key_id for owner, wrapped, key_id in rows if not _opens(keyring, owner, wrapped, key_id)]
    what = f"{path} doesn't open what is wrapped under {', '.join(sorted(closed))}"
    to_do = "put the newest keyring of this installation there: an older copy, or another installation's, opens nothing"
    return [Finding("wrong", "keyring", what, to_do)] if closed else []


def _opens(keyring: Any, owner: bytes, wrapped: bytes, key_id: str) -> bool:
    try:
        keyring.unwrap(bytes(wrapped), bytes(owner), key_id)
    except Exception:  # whatever it is: such keys can't be used
        return False
    return True


def nats(environ: Mapping[str, str], timeout_s: float) -> list[Finding]:
    if not (url := monitor_address(environ)):
        return [Finding("unseen", "nats", "nobody could look", "C360_NATS_MONITOR names its monitoring port (http://host:8222)")]
    try:
        with urllib.request.urlopen(f"{url}/jsz?streams=1&config=1", timeout=timeout_s) as answer:  # noqa: S310  # as above # nosec B310
            told = json.loads(answer.read())
    except (OSError, ValueError) as error:
        what = f"its monitoring at {url} doesn't answer ({type(error).__name__})"
        return [Finding("wrong", "nats", what, "start it; services go on by themselves. docs/runbooks/services.md")]
    return of_jetstream(told)


def of_jetstream(told: Any) -> list[Finding]:
    """Of what NATS tells at /jsz."""
    if told.get("disabled"):
        return [Finding("wrong", "nats", "JetStream is off", "start it with the configuration in deploy/nats.conf")]
    streams = {one["name"]: one for account in told.get("account_details", ()) for one in account.get("stream_detail", ())}
    found = [
        Finding("wrong", "nats", f"the stream {name} is missing", "its owner makes it anew by itself: see whether that runs")
        for name in STREAMS
        if name not in streams
    ]
    limit, used = told.get("config", {}).get("max_storage", 0), told.get("storage", 0)
    if limit > 0 and used > FULL * limit:
        what = f"JetStream uses {used / 1024**2:.0f} of {limit / 1024**2:.0f} MB"
        found.append(Finding("wrong", "nats", what, "raise max_file_store, or give its disk more room"))
    if "sync_interval" in told.get("config", {}) and not told["config"].get("sync_always", False):
        to_do = "set sync_interval: always (deploy/nats.conf): else what it acknowledged may not be on the disk"
        found.append(Finding("wrong", "nats", "it acknowledges before it has synced to disk", to_do))
    return found


def monitor_address(environ: Mapping[str, str]) -> str:
    """Empty: nobody knows."""
    if named := environ.get("C360_NATS_MONITOR"):
        return named.rstrip("/")
    try:
        port = json.loads((_directory(environ) / "ports.json").read_bytes())["nats_monitor"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"http://127.0.0.1:{port}"


def disks(environ: Mapping[str, str]) -> list[Finding]:
    """Where the embedded stack keeps its data, or what C360_DATA_DIRS names, between colons."""
    named = [Path(one) for one in environ.get("C360_DATA_DIRS", "").split(os.pathsep) if one] or [_directory(environ)]
    found: list[Finding] = []
    for place in named:
        if not place.exists():
            found.append(
                Finding("unseen", "disk", f"{place} isn't here", "C360_DATA_DIRS names the folders of PostgreSQL and NATS")
            )
            continue
        usage = shutil.disk_usage(place)
        found += of_disk(str(place), usage.free, usage.total)
    return found


def _directory(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("C360_DATA_DIR") or ".data")

"""The tables of sources, keys and plans, and the sources in memory that every request is checked against."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from psycopg import Cursor

from services.ingest.domain.plan import Judge, Unreadable, compile_plan
from services.ingest.domain.settings import KnownSource, Settings, of_event
from services.ingest.domain.sources import unknown_source
from shared.errors import LimitExceeded, NotFound
from shared.events.source import KeyAdded, KeyRevoked, PlanPublished, SettingsChanged, SourceRegistered
from shared.log import Record
from shared.telemetry import logger
from shared.waiting import Patience

# An unknown key may belong to a source that another replica has just registered, so it is looked up before it is refused;
# however many unknown keys come, the table is read at most this often.
RE_READ_INTERVAL_S: Final = 0.1

STORE_PATIENCE_S: Final = 2.0  # below the time-outs of SDKs
MAX_WAITING: Final = 1_000  # for a reading; more of them would hold their requests in memory for whoever guesses keys

log = logger("sources")

_decode_settings = msgspec.json.Decoder(Settings).decode


def apply(cursor: Cursor[Any], records: list[Record]) -> None:
    """Part of the transaction that appends the events."""
    for record in records:
        _apply(cursor, record.entry.public(), record.recorded_at)


def _apply(cursor: Cursor[Any], event: Any, at: int) -> None:
    match event:
        case SourceRegistered():
            cursor.execute(
                "INSERT INTO sources (name, settings, registered_at) VALUES (%s, %s, %s)",
                [event.name, _encoded(of_event(event)), at],
            )
            _insert_key(cursor, event, event.name, at)
        case SettingsChanged():
            cursor.execute("UPDATE sources SET settings = %s WHERE name = %s", [_encoded(of_event(event)), event.source])
        case KeyAdded():
            _insert_key(cursor, event, event.source, at)
        case KeyRevoked():
            cursor.execute("UPDATE write_keys SET revoked_at = %s WHERE hash = %s", [at, event.write_key_hash])
        case PlanPublished():
            cursor.execute(
                "INSERT INTO plans (source, version, document, published_at) VALUES (%s, %s, %s, %s)",
                [event.source, event.version, event.document, at],
            )


def _insert_key(cursor: Cursor[Any], event: SourceRegistered | KeyAdded, source: str, at: int) -> None:
    cursor.execute(
        "INSERT INTO write_keys (hash, source, name, hint, added_at) VALUES (%s, %s, %s, %s, %s)",
        [event.write_key_hash, source, event.key_name, event.write_key_hint, at],
    )


def _encoded(settings: Settings) -> str:
    return msgspec.json.encode(settings).decode()


class SourceRow(msgspec.Struct, frozen=True):
    """Instants in microseconds."""

    name: str
    settings: Settings
    registered_at: int
    write_key_hint: str  # of its oldest key
    live_keys: int
    plan_version: int  # 0: it has none


class KeyRow(msgspec.Struct, frozen=True):
    name: str
    write_key_hint: str
    added_at: int
    revoked_at: int | None


class PlanRow(msgspec.Struct, frozen=True):
    source: str
    version: int
    published_at: int


class Sources:
    """`clock` tells seconds, monotonic."""

    def __init__(self, pool: Any, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._clock = clock
        self._by_key: dict[bytes, KnownSource] = {}
        self._by_name: dict[str, KnownSource] = {}
        self._plans: dict[tuple[str, int, str], Judge] = {}  # by source, version and region
        self._read_began = float("-inf")
        self._reading = asyncio.Lock()
        self._waiting = 0
        self._patience = Patience(STORE_PATIENCE_S, MAX_WAITING)
        self._loading = asyncio.Lock()
        self._revoked: set[bytes] = set()  # for good: a new key is another one

    async def of_key(self, key_hash: bytes) -> KnownSource | None:
        """The source that the key belongs to. Raises LimitExceeded (OVERLOADED)."""
        found = self._by_key.get(key_hash)
        if found is None:
            if self._waiting >= MAX_WAITING:
                raise LimitExceeded("too many unknown write keys at a time; send again later", reason="OVERLOADED")
            self._waiting += 1
            try:
                await self._patience.wait(self._read_anew())
            finally:
                self._waiting -= 1
            found = self._by_key.get(key_hash)
        return found

    def of_name(self, name: str) -> KnownSource | None:
        """As of the last `load`."""
        return self._by_name.get(name)

    def revoke(self, key_hash: bytes) -> None:
        """At once, whether the database can be asked or not, and whatever it was asked before."""
        self._revoked.add(key_hash)
        self._by_key.pop(key_hash, None)

    async def load(self) -> None:
        """What changed is in force for every request from here on. One at a time: no older reading replaces a newer one."""
        async with self._loading:
            await self._load()

    async def _load(self) -> None:
        rows = await self._pool.fetch(
            """SELECT name, settings, coalesce((SELECT max(version) FROM plans WHERE source = name), 0) AS plan_version,
                      ARRAY(SELECT hash FROM write_keys WHERE source = sources.name AND revoked_at IS NULL) AS keys
               FROM sources"""
        )
        by_name: dict[str, KnownSource] = {}
        by_key: dict[bytes, KnownSource] = {}
        plans: dict[tuple[str, int, str], Judge] = {}
        for row in rows:
            settings, version = _decode_settings(row["settings"]), row["plan_version"]
            plan = await self._plan(row["name"], version, settings.region)
            if plan is not None:
                plans[row["name"], version, settings.region] = plan
            by_name[row["name"]] = source = KnownSource(name=row["name"], settings=settings, plan=plan)
            by_key |= {key: source for key in row["keys"] if key not in self._revoked}
        self._by_name, self._by_key, self._plans = by_name, by_key, plans

    async def all(self) -> list[SourceRow]:
        """Oldest first."""
        return await self._rows("")

    async def one(self, name: str) -> SourceRow:
        """Raises NotFound (SOURCE_UNKNOWN)."""
        if not (rows := await self._rows(name)):
            raise unknown_source(name)
        return rows[0]

    async def keys(self, name: str) -> list[KeyRow]:
        """Oldest first, revoked ones too. Raises NotFound (SOURCE_UNKNOWN)."""
        await self.one(name)
        rows = await self._pool.fetch(
            "SELECT name, hint, added_at, revoked_at FROM write_keys WHERE source = $1 ORDER BY added_at, name", name
        )
        return [KeyRow(*row) for row in rows]

    async def plan(self, source: str, version: int) -> tuple[PlanRow, str]:
        """With its document; version 0 is the newest. Raises NotFound (PLAN_UNKNOWN)."""
        row = await self._pool.fetchrow(
            """SELECT source, version, published_at, document FROM plans
               WHERE source = $1 AND ($2::int8 = 0 OR version = $2) ORDER BY version DESC LIMIT 1""",
            source,
            version,
        )
        if row is None:
            raise NotFound("this source has no such version of a plan", reason="PLAN_UNKNOWN", source=source)
        return PlanRow(*row[:3]), row["document"]

    async def plans(self, source: str) -> list[PlanRow]:
        """By source, newest first; of all sources when none is named."""
        rows = await self._pool.fetch(
            "SELECT source, version, published_at FROM plans WHERE $1 = '' OR source = $1 ORDER BY source, version DESC", source
        )
        return [PlanRow(*row) for row in rows]

    async def _rows(self, name: str) -> list[SourceRow]:
        rows = await self._pool.fetch(
            """SELECT sources.name, settings, registered_at,
                      (SELECT hint FROM write_keys WHERE source = sources.name ORDER BY added_at LIMIT 1) AS hint,
                      (SELECT count(*) FROM write_keys WHERE source = sources.name AND revoked_at IS NULL) AS live_keys,
                      coalesce((SELECT max(version) FROM plans WHERE plans.source = sources.name), 0) AS plan_version
               FROM sources WHERE $1 = '' OR name = $1 ORDER BY registered_at, name""",
            name,
        )
        return [SourceRow(row["name"], _decode_settings(row["settings"]), *tuple(row)[2:]) for row in rows]

    async def _plan(self, name: str, version: int, region: str) -> Judge | None:
        if not version:
            return None
        if (plan := self._plans.get((name, version, region))) is None:
            document = await self._pool.fetchval("SELECT document FROM plans WHERE source = $1 AND version = $2", name, version)
            plan = await asyncio.to_thread(_compiled, name, document, version, region)
        return plan

    async def _read_anew(self) -> None:
        """All who asked before a reading began are served by it."""
        asked = self._clock()
        async with self._reading:
            if self._read_began > asked:
                return
            await asyncio.sleep(max(0.0, self._read_began + RE_READ_INTERVAL_S - self._clock()))
            self._read_began = self._clock()
            await self.load()


def _compiled(source: str, document: str, version: int, region: str) -> Judge:
    """A plan that this release can't read holds back its own source, and no other."""
    try:
        return compile_plan(document, version, region)
    except Exception as error:
        log.critical(
            "a plan can't be read; what its source sends waits in the quarantine until a new version is published",
            source=source,
            plan_version=version,
            error=type(error).__name__,
        )
        return Unreadable(version)

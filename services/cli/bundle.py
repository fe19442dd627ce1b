"""Packs everything that the logs hold about one customer, with proofs, into one file (verify/README.md describes it).

Which streams belong to a customer follows from the events themselves: merges lead to further members, linked identifiers to
the decisions bound to them, decisions to their purposes and to the notices that were shown, both to their controllers. Whoever checks the file follows the same trail, so that no stream can
be left out of it unseen.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from services.cli import messages
from services.cli.client import connect
from services.cli.endpoints import Service
from services.cli.errors import Misused, NotReachable, Refused
from services.cli.notation import NamedCustomer, NamedIdentifier, Person
from services.cli.remote_log import RemoteLog
from shared.events import consent, customer
from shared.events.catalogue import Entry
from shared.ids import partition_of, to_text
from shared.log.raw import RawEvent

if TYPE_CHECKING:
    from contextlib import ExitStack

FORMAT = "customer360 evidence, version 1"
CUSTOMER_LOGS: tuple[Service, ...] = ("identity", "profile")


class Bundle(NamedTuple):
    text: str
    customer: str
    public_key: str
    events: int
    streams: int
    readable: int


class Collector:
    """One checkpoint a partition, made when it is first needed; all proofs of a partition are towards that one."""

    def __init__(self, logs: dict[Service, RemoteLog]) -> None:
        self._logs = logs
        self._partitions = {name: len(log.describe().partitions) for name, log in logs.items()}
        self._checkpoints: dict[tuple[Service, int], str] = {}
        self.streams: dict[tuple[Service, int], dict[str, Any]] = {}
        self.sealed: set[bytes] = set()  # streams that have envelopes

    def take(self, log: Service, stream: bytes) -> list[Entry]:
        """Puts a whole stream into the bundle, and returns its events."""
        place = (log, partition_of(stream, self._partitions[log]))
        if place not in self._checkpoints:
            self._checkpoints[place] = self._logs[log].checkpoint(place[1])
        size = int(self._checkpoints[place].split("\n")[1])
        remote, name = self._logs[log], to_text(stream)
        events = remote.stream(place[1], name, size)
        paths = remote.inclusions(place[1], size, [event.record.pos for event in events])
        self.streams.setdefault(place, {})[name] = {
            "head": remote.stream_head(name, size),
            "events": [_event(event, path) for event, path in zip(events, paths, strict=True)],
        }
        if any(event.entry.envelope for event in events):
            self.sealed.add(stream)
        return [event.entry for event in events]

    def readable(self, keys: Collection[bytes]) -> int:
        """How many streams have something that these keys open; one customer has a stream in each of several logs."""
        owners = {to_text(key) for key in keys}
        held = ((name, stream) for streams in self.streams.values() for name, stream in streams.items())
        return sum(name in owners and any(event["envelope"] for event in stream["events"]) for name, stream in held)

    def partitions(self) -> list[dict[str, Any]]:
        return [
            {"checkpoint": self._checkpoints[place], "streams": [streams[name] for name in sorted(streams)]}
            for place, streams in sorted(self.streams.items())
        ]


def make_bundle(person: Person, keyring: Path | None, vault_url: str, timeout_s: float) -> Bundle:
    from contextlib import ExitStack

    if keyring and urlsplit(vault_url).scheme not in ("postgresql", "postgres"):  # not shown: it may hold a password
        raise Misused("URL_INVALID", "--vault-url is no URL of a database, such as postgresql://c360_profile:...@host/c360_vault")
    with ExitStack() as channels:
        found = _resolve(person, channels, timeout_s)
        services: tuple[Service, ...] = (*CUSTOMER_LOGS, "consent")
        logs = {name: RemoteLog(channels.enter_context(connect(name)), timeout_s) for name in services}
        collector = Collector(logs)
        if not _follow(collector, found):
            raise Refused("CUSTOMER_UNKNOWN", "no customer ever had this id")
        public_key = base64.b64encode(logs["identity"].describe().public_key).decode()
    keys = _data_keys(collector.sealed, keyring, vault_url, timeout_s) if keyring else {}
    content = {
        "format": FORMAT,
        "customer": to_text(found),
        "public_key": public_key,
        "partitions": collector.partitions(),
        "data_keys": {to_text(stream): base64.b64encode(key).decode() for stream, key in keys.items()},
    }
    streams = [stream for held in collector.streams.values() for stream in held.values()]
    events = sum(len(stream["events"]) for stream in streams)
    return Bundle(canonical(content), to_text(found), public_key, events, len(streams), collector.readable(keys))


def canonical(content: Any) -> str:
    """The one text of this content; a checker refuses every other."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def _resolve(person: Person, channels: ExitStack, timeout_s: float) -> bytes:
    from uuid import UUID

    from c360.identity.v1 import identity_pb2, identity_pb2_grpc

    if isinstance(person, NamedCustomer):
        return UUID(person.customer_id).bytes
    assert isinstance(person, NamedIdentifier)
    stub: Any = identity_pb2_grpc.IdentityServiceStub(channels.enter_context(connect("identity")))
    request = identity_pb2.ResolveIdentifierRequest(identifier=messages.identifier(person))
    return UUID(stub.ResolveIdentifier(request, timeout=timeout_s).customer_id).bytes


def _follow(collector: Collector, start: bytes) -> bool:
    """Takes every stream that the trail leads to; False when there is nothing at its beginning."""
    seen, waiting = {start}, deque([start])
    identifiers: set[bytes] = set()
    found = False
    while waiting:
        member = waiting.popleft()
        entries = [entry for log in CUSTOMER_LOGS for entry in collector.take(log, member)]
        found = found or bool(entries)
        split = {entry.public().merge_id for entry in entries if entry.type_id == customer.SPLIT.id}
        for entry in entries:
            if entry.type_id == customer.MERGED.id and entry.public().merge_id not in split:
                if (other := entry.public().other) not in seen:
                    seen.add(other)
                    waiting.append(other)
            elif entry.type_id == customer.LINKED.id:
                identifiers.add(entry.public().value_hash)
    _take_what_decisions_refer_to(collector, identifiers)
    return found


def _take_what_decisions_refer_to(collector: Collector, identifiers: set[bytes]) -> None:
    decisions = [
        entry.public()
        for identifier in sorted(identifiers)
        for entry in collector.take("consent", consent.decisions_stream(identifier))
        if entry.type_id == consent.DECISION_RECORDED.id
    ]
    referred = {("purpose", decision.purpose) for decision in decisions}
    referred |= {("notice", decision.notice.name) for decision in decisions if decision.notice}
    defined = [
        entry.public()
        for kind, name in sorted(referred)
        for entry in collector.take("consent", consent.definition_stream(kind, name))
    ]
    for controller in sorted({definition.controller for definition in defined} - {""}):
        collector.take("consent", consent.definition_stream("controller", controller))


def _event(event: RawEvent, path: list[bytes]) -> dict[str, Any]:
    record, entry = event.record, event.entry
    return {
        "position": record.pos,
        "version": record.version,
        "event_id": to_text(entry.event_id),
        "type": entry.type_id,
        "schema_version": entry.schema_version,
        "recorded_us": record.recorded_at,
        "occurred_us": entry.occurred_at,
        "header": base64.b64encode(entry.header).decode(),
        "envelope": base64.b64encode(entry.envelope).decode(),
        "proof": [base64.b64encode(node).decode() for node in path],
    }


def _data_keys(streams: set[bytes], keyring: Path, vault_url: str, timeout_s: float) -> dict[bytes, bytes]:
    import asyncio

    import asyncpg

    from shared.store.pool import open_pool
    from shared.vault import FileKeyring, Vault

    async def load() -> dict[bytes, bytes]:
        pool = await open_pool(vault_url, "vault")
        try:
            return await Vault(pool, FileKeyring(keyring)).raw_keys(streams)
        finally:
            await pool.close()

    try:
        return asyncio.run(asyncio.wait_for(load(), timeout_s))
    except TimeoutError:
        raise NotReachable("NOT_REACHABLE", "the vault did not answer within --timeout") from None
    except (OSError, ValueError, asyncpg.PostgresError) as error:
        raise Misused("VAULT_NOT_READ", f"{type(error).__name__}: {error}") from error

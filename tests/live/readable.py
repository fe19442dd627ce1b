"""Reads everything that the keys in the vault still open, wherever it stands: what a thief of the whole installation could read."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from services.identity.comparing import record_binding
from services.profile.tables.ordered import PREFIX_COLUMNS, Place, Prefix, prefix_binding
from services.profile.tables.snapshots import PAST_COLUMNS, Mark, snapshot_binding
from services.profile.tables.states import state_binding
from services.stack.stack import Stack
from shared import bus
from shared.bus import Follower
from shared.events.catalogue import Entry, form_of
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, INGEST_STREAM, PROFILE_STREAM, Batch, decode_batch, decode_unit
from shared.log.records import COLUMNS, to_record
from shared.vault import DataKey, EnvelopeBroken, FileKeyring
from tests.live.erasing import rows

LOGS = ("ingest", "identity", "profile", "consent")
decode_entry = msgspec.msgpack.Decoder(Entry).decode
STREAMS = (INGEST_STREAM, CUSTOMER_STREAM, PROFILE_STREAM, CONSENT_STREAM)


async def places_that_open(stack: Stack, texts: Iterable[str]) -> list[str]:
    needles = [text.encode() for text in texts]
    found = [place for place, content in _opened(stack) for needle in needles if needle in content]
    async for place, content in _in_streams(stack):
        found += [place for needle in needles if needle in content]
    return found


def _keys(stack: Stack) -> dict[bytes, DataKey]:
    keyring = FileKeyring(Path(stack.environment_of("identity")["C360_KEYRING_FILE"]))
    stored = rows(stack, "c360_vault", "SELECT owner, wrapped, key_id FROM vault.data_keys WHERE wrapped IS NOT NULL")
    return {owner: DataKey(keyring.unwrap(wrapped, owner, key_id)) for owner, wrapped, key_id in stored}


def _opened(stack: Stack) -> Iterator[tuple[str, bytes]]:
    keys = _keys(stack)
    for log in LOGS:
        for row in rows(stack, "c360", f"SELECT {COLUMNS} FROM {log}.events"):
            yield f"{log}.events", _open_entry(to_record(row).entry, keys)
    for (unit,) in rows(stack, "c360", "SELECT unit FROM identity.outbox"):
        yield "identity.outbox", _open_unit(unit, keys)
    states = rows(stack, "c360", "SELECT stream, version, pos, fold, envelope FROM profile.states")
    for stream, version, pos, fold, envelope in states:
        yield "profile.states", _open(envelope, keys.get(stream), state_binding(stream, version, pos, fold))
    snapshots = rows(stack, "c360", f"SELECT fold, envelope, stream, {PAST_COLUMNS} FROM profile.snapshots")
    for fold, envelope, *mark in snapshots:
        place = snapshot_binding(Mark(*mark), fold)
        yield "profile.snapshots", _open(envelope, keys.get(mark[0]), place)
    prefixes = rows(stack, "c360", f"SELECT fold, envelope, stream, {PREFIX_COLUMNS} FROM profile.ordered")
    for fold, envelope, stream, first, last, *prefix in prefixes:
        place = prefix_binding(Prefix(Place(stream, first, last), *prefix), fold)
        yield "profile.ordered", _open(envelope, keys.get(stream), place)
    for record_id, customer, sealed in rows(stack, "c360", "SELECT record_id, customer, sealed FROM identity.records"):
        yield "identity.records", _open(sealed, keys.get(customer), record_binding(record_id))
    for (message,) in rows(stack, "c360", "SELECT data FROM identity.parked"):
        yield "identity.parked", message + _open_message(message, keys)
    for (entry,) in rows(stack, "c360", "SELECT data FROM profile.parked"):
        yield "profile.parked", _open_entry(decode_entry(entry), keys)


async def _in_streams(stack: Stack) -> Any:
    keys = _keys(stack)
    client = await bus.connect(stack.broker_url, "search")
    for name in STREAMS:
        state = (await client.jetstream().stream_info(name)).state
        follower = Follower(client, name, state.first_seq - 1)
        last = state.first_seq - 1 if state.messages == 0 else 0
        while last < state.last_seq and state.messages:
            for message in await follower.take():
                last = message.sequence
                yield f"stream {name}", message.data
                if name == INGEST_STREAM:
                    yield f"stream {name}", _open_batch(decode_batch(message.data), keys)
                elif name == CUSTOMER_STREAM:
                    yield f"stream {name}", _open_unit(message.data, keys)
        await follower.close()
    await client.close()


def _open_unit(unit: bytes, keys: dict[bytes, DataKey]) -> bytes:
    return b"".join(_open_entry(entry, keys) for entry in decode_unit(unit).entries)


def _open_message(message: bytes, keys: dict[bytes, DataKey]) -> bytes:
    try:
        return _open_batch(decode_batch(message), keys)
    except msgspec.DecodeError:
        return b""


def _open_batch(batch: Batch, keys: dict[bytes, DataKey]) -> bytes:
    return _open(batch.sealed, keys.get(batch.epoch), batch.epoch)


def _open_entry(entry: Entry, keys: dict[bytes, DataKey]) -> bytes:
    opened = b""
    if entry.envelope:
        place = form_of(entry.type_id, entry.schema_version).binding(entry.stream, entry.event_id)
        opened = _open(entry.envelope, keys.get(entry.stream), place)
    return entry.header + msgspec.msgpack.encode(entry.envelope) + opened


def _open(envelope: bytes, key: DataKey | None, place: bytes) -> bytes:
    try:
        return key.open(envelope, place) if key else b""
    except EnvelopeBroken:
        return b""

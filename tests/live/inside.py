"""Profile on real servers without identity and consent: a test writes the customer log itself, as fast as profile takes it."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import grpc
from c360.profile.v1.disclosure_pb2_grpc import DisclosureServiceStub
from c360.profile.v1.policy_pb2_grpc import PolicyServiceStub
from c360.profile.v1.profile_pb2_grpc import ProfileServiceStub
from c360.profile.v1.watch_pb2_grpc import WatchServiceStub
from nats.aio.client import Client

from services.profile.__main__ import answer_calls
from services.profile.api.disclosing import WatchDisclosures
from services.profile.composing_disclosures import Disclosures, compose_disclosures
from services.profile.composition import Parts, ProfileSettings, compose
from services.profile.disclosing import Call
from services.profile.replay import Replayer
from services.profile.tables.snapshots import SNAPSHOT_EVERY
from services.stack.stack import Stack
from shared import bus
from shared.config import read_settings
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.events.wire import Unit, encode
from shared.ids import derived_id, id_maker
from shared.instants import SECOND, now_us
from shared.log import LogReader
from shared.rpc import RpcServer
from shared.store.pool import open_pool
from shared.vault import DataKey, FileKeyring, Vault
from tests.emptying import empty_log

UNIT_EVENTS = 1_000
CLIENT_BYTES = 4 * 1024 * 1024  # what a gRPC client takes that was told nothing

new_id = id_maker(now_us)


class Inside:
    """`calls` are profile's, over a channel of a client that was told nothing."""

    def __init__(
        self,
        parts: Parts,
        disclosures: Disclosures,
        vault: Vault,
        client: Client,
        server: RpcServer,
        replayer: Replayer,
        pools: Sequence[Any],
    ) -> None:
        self.parts = parts
        self.disclosures = disclosures
        self.vault = vault
        self.reader = LogReader(pools[0])
        self._pools = pools
        self._replayer = replayer
        self._client = client
        self._server = server
        self.port = server.port
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        self.calls: Any = ProfileServiceStub(self.channel)
        self.disclosed: Any = DisclosureServiceStub(self.channel)
        self.policy: Any = PolicyServiceStub(self.channel)
        self.watches: Any = WatchServiceStub(self.channel)
        self._sequence = itertools.count(1)
        self._consent_sequence = itertools.count(1)

    @staticmethod
    async def open(servers: Stack, snapshot_every: int = SNAPSHOT_EVERY, standby_url: str = "") -> "Inside":
        admin = await asyncpg.connect(servers.admin_url.rsplit("/", 1)[0] + "/c360")
        await empty_log(admin, "profile")
        await empty_log(admin, "disclosures")
        await admin.close()
        inside = await Inside.beside(servers, snapshot_every, standby_url)
        await inside.parts.recorder.load()
        return inside

    @staticmethod
    async def beside(servers: Stack, snapshot_every: int = SNAPSHOT_EVERY, standby_url: str = "") -> "Inside":
        """Another process, which doesn't own the log."""
        settings = read_settings(ProfileSettings, servers.environment_of("profile"))
        pool = await open_pool(settings.database_url, "profile")
        vault_pool = await open_pool(servers.environment_of("identity")["C360_VAULT_URL"], "vault")  # whose role makes keys
        vault = Vault(vault_pool, FileKeyring(Path(settings.keyring_file)))
        client = await bus.connect(settings.nats_url, "test")
        standby = await open_pool(standby_url, "profile", waits=False) if standby_url else None
        parts, server = compose(settings, pool, vault, client, snapshot_every, standby), RpcServer("127.0.0.1:0")
        disclosed_pool = await open_pool(settings.database_url, "disclosures")
        disclosures = compose_disclosures(settings, parts, pool, disclosed_pool)
        replayer = Replayer(settings.database_url, vault, settings.partitions)
        answer_calls(server, parts, disclosures, replayer, vault.lookup_key)
        await server.start()
        return Inside(
            parts, disclosures, vault, client, server, replayer, (pool, vault_pool, disclosed_pool, *([standby] if standby else []))
        )

    async def close(self) -> None:
        await self.channel.close()
        await self._server.stop()
        self._replayer.close()
        await self._client.close()
        await self.disclosures.log.close()
        for pool in self._pools:
            await pool.close()

    def confirm_consent(self) -> None:
        """As if consent had just been heard."""
        self.parts.profiles.permission.lease_holds = lambda: True

    def watch_disclosures(self) -> WatchDisclosures:
        return WatchDisclosures(self.disclosures.disclosed, Call("WatchProfiles", "test"))

    async def define(self, purpose: PurposeDefined) -> None:
        await self.parts.consent._apply([purpose], next(self._consent_sequence))

    async def decide(self, decision: DecisionRecorded) -> None:
        await self.parts.consent._apply([decision], next(self._consent_sequence))

    async def keys(self, streams: Iterable[bytes]) -> dict[bytes, DataKey]:
        return await self.vault.create_keys(list(streams), now_us())

    async def record(self, entries: Iterable[Entry]) -> None:
        entries = iter(entries)
        while unit := list(itertools.islice(entries, UNIT_EVENTS)):
            await self.parts.recorder.record([(next(self._sequence), encode(Unit(0, {}, unit)))])


def founded(stream: bytes, number: int, at: int = 0) -> Entry:
    return make_entry(events.FOUNDED, stream, new_id(), at, events.CustomerFounded(founding_number=number))


def linked(stream: bytes, key: DataKey, value: str, namespace: str = "email", at: int = 0) -> Entry:
    public = events.IdentifierLinked(namespace=namespace, value_hash=derived_id(value.encode()), cause=b"")
    return make_entry(events.LINKED, stream, new_id(), at, public, events.LinkedValue(value=value), key)


def merged(one: bytes, other: bytes, other_number: int = 1, at: int = 0, number: int = 0, *, likely: bool = False) -> list[Entry]:
    """In both streams. Two merges of the same have different numbers."""
    ends = [(one, other, other_number), (other, one, 0)]
    return [
        make_entry(
            events.MERGED,
            stream,
            new_id(),
            at,
            events.CustomersMerged(
                merge_id=_merge_id(one, other, number), other=end, other_founding_number=founding, cause=b"", likely=likely
            ),
        )
        for stream, end, founding in ends
    ]


def cut_off(one: bytes, other: bytes, number: int = 0) -> list[Entry]:
    """Takes all merges of the two back, up to this number."""
    return [
        make_entry(
            events.SPLIT, stream, new_id(), 0, events.CustomersSplit(merge_id=_merge_id(one, other, past), other=end, cause=b"")
        )
        for past in range(number + 1)
        for stream, end in ((one, other), (other, one))
    ]


def _merge_id(one: bytes, other: bytes, number: int) -> bytes:
    return derived_id(*sorted((one, other)), bytes([number]))


def restricted(stream: bytes) -> Entry:
    return make_entry(events.RESTRICTED, stream, new_id(), 0, events.CustomerRestricted(erasure_id=b""))


def erased(stream: bytes) -> Entry:
    public = events.CustomerErased(erasure_id=b"", policy="start_clean", identifier_hashes=())
    return make_entry(events.ERASED, stream, new_id(), 0, public)


def tracked(
    stream: bytes,
    key: DataKey,
    at: int,
    name: str = "Order Completed",
    source: str = "web",
    naming: Iterable[str] = (),
    **properties: Any,
) -> Entry:
    """`naming`: values of identifiers."""
    named = tuple(derived_id(value.encode()) for value in naming)
    public = events.Activity(source=source, resolved_by=b"h" * 16, also_named=named, received_at=at + SECOND)
    return make_entry(events.TRACKED, stream, new_id(), at, public, events.Tracked(name=name, properties=properties), key)


def identified(stream: bytes, key: DataKey, at: int, source: str = "web", **traits: Any) -> Entry:
    public = events.Activity(source=source, resolved_by=b"h" * 16, received_at=at + SECOND)
    return make_entry(events.IDENTIFIED, stream, new_id(), at, public, events.Identified(traits=traits), key)

"""The gRPC edge of sources."""

from typing import Any

import msgspec
from c360.ingest.v1 import source_pb2 as pb
from c360.ingest.v1 import source_pb2_grpc

from services.ingest.api.positions import position
from services.ingest.registry import Registry
from services.ingest.views import KeyRow, SourceRow, Sources
from shared.instants import to_timestamp

SCALARS = ("events_per_s", "max_event_bytes", "max_batch_events", "region", "trust_rank", "far_past_s", "far_future_s")


class SourceApi(source_pb2_grpc.SourceServiceServicer):
    def __init__(self, registry: Registry, sources: Sources) -> None:
        self._registry = registry
        self._sources = sources

    async def DescribeSources(self, request: pb.DescribeSourcesRequest, context: Any) -> pb.DescribeSourcesResponse:
        rows = [await self._sources.one(request.name)] if request.name else await self._sources.all()
        return pb.DescribeSourcesResponse(sources=map(_described, rows))

    async def ChangeSettings(self, request: pb.ChangeSettingsRequest, context: Any) -> pb.ChangeSettingsResponse:
        pos = await self._registry.change_settings(request.request_id, request.source, changes_in(request))
        source = await self._sources.one(request.source)
        return pb.ChangeSettingsResponse(source=_described(source), position=position("source", pos))

    async def ListKeys(self, request: pb.ListKeysRequest, context: Any) -> pb.ListKeysResponse:
        return pb.ListKeysResponse(keys=map(_key, await self._sources.keys(request.source)))

    async def AddKey(self, request: pb.AddKeyRequest, context: Any) -> pb.AddKeyResponse:
        added = await self._registry.add_key(request.request_id, request.source, request.name)
        key = pb.WriteKey(name=added.key_name, hint=added.write_key_hint, add_time=to_timestamp(added.added_at))
        return pb.AddKeyResponse(key=key, write_key=added.write_key, position=position("source", added.pos))

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: Any) -> pb.RevokeKeyResponse:
        pos, was_revoked = await self._registry.revoke_key(request.request_id, request.source, request.name)
        return pb.RevokeKeyResponse(position=position("source", pos), revoked_before=was_revoked)


def changes_in(request: pb.ChangeSettingsRequest | pb.InitialSettings) -> dict[str, Any]:
    """The fields of Settings that it names."""
    changes = {name: getattr(request, name) for name in SCALARS if request.HasField(name)}  # type: ignore[arg-type]
    if request.HasField("allowed_types"):
        changes["allowed_types"] = tuple(request.allowed_types.types)
    return changes


def _described(row: SourceRow) -> pb.DescribedSource:
    return pb.DescribedSource(
        name=row.name,
        settings=pb.SourceSettings(**msgspec.structs.asdict(row.settings)),
        register_time=to_timestamp(row.registered_at),
        live_keys=row.live_keys,
        plan_version=row.plan_version,
    )


def _key(row: KeyRow) -> pb.WriteKey:
    key = pb.WriteKey(name=row.name, hint=row.write_key_hint, add_time=to_timestamp(row.added_at))
    if row.revoked_at is not None:
        key.revoke_time.CopyFrom(to_timestamp(row.revoked_at))
    return key

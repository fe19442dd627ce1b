"""The gRPC edge of the registry."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import msgspec
from c360.consent.v1 import registry_pb2 as pb
from c360.consent.v1 import registry_pb2_grpc

from services.consent.api.asking import asked_instant, cut_to_fit, position
from services.consent.api.definition_messages import KINDS, to_definition, to_message
from services.consent.domain.definitions import Define, Definition, Kind, differences
from services.consent.registry import Registry
from services.consent.views import MOST_VERSIONS, Placed
from shared.errors import InvalidInput
from shared.events.catalogue import encode
from shared.rpc.edge import instant
from shared.rpc.paging import Page
from shared.rpc.server import seconds_left

BY_NAME: Final = msgspec.msgpack.Decoder(Annotated[str, msgspec.Meta(pattern="^[a-z0-9_]{1,64}$")])
BY_VERSION: Final = msgspec.msgpack.Decoder(Annotated[int, msgspec.Meta(ge=0, le=MOST_VERSIONS)])


class RegistryApi(registry_pb2_grpc.RegistryServiceServicer):
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def Define(self, request: pb.DefineRequest, context: Any) -> pb.DefineResponse:
        asked = request.definition
        in_force_at = instant(asked.in_force_time, "in_force_time") if asked.HasField("in_force_time") else None
        command = Define(definition=to_definition(request.request_id, asked), in_force_at=in_force_at)
        placed = await self._registry.define(command, seconds_left(context))
        return pb.DefineResponse(definition=to_message(placed), position=position(placed.pos))

    async def GetVersionAt(self, request: pb.GetVersionAtRequest, context: Any) -> pb.GetVersionAtResponse:
        kind, at = _kind(request.kind), asked_instant(request)
        if not request.version:
            placed = await self._registry.in_force(kind, request.name, at)
        elif request.HasField("valid_at") or request.HasField("known_at"):
            raise InvalidInput("ask for a version or for an instant", reason="VERSION_OR_INSTANT")
        else:
            placed = await self._registry.version(kind, request.name, request.version)
        return pb.GetVersionAtResponse(definition=to_message(placed), position=position(placed.pos))

    async def ListDefinitions(self, request: pb.ListDefinitionsRequest, context: Any) -> pb.ListDefinitionsResponse:
        page, kind = Page(request, BY_NAME), _kind(request.kind)
        found = await self._registry.newest(kind, page.after or "", page.wanted)
        shown, token = _cut(page, found, lambda placed: placed.event.name)
        return pb.ListDefinitionsResponse(definitions=[to_message(placed, texts=False) for placed in shown], next_page_token=token)

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Any) -> pb.ListVersionsResponse:
        page, kind = Page(request, BY_VERSION), _kind(request.kind)
        before = MOST_VERSIONS if page.after is None else page.after
        found = await self._registry.versions(kind, request.name, before, page.wanted)
        shown, token = _cut(page, found, lambda placed: placed.event.version)
        ahead = [*found[1:], None]
        versions = [
            pb.DefinitionVersion(
                definition=to_message(placed, texts=False),
                differences=[
                    pb.Difference(field=one.field, removed=one.removed, added=one.added)
                    for one in differences(earlier.event if earlier else None, placed.event)
                ],
            )
            for placed, earlier in zip(shown, ahead, strict=False)
        ]
        return pb.ListVersionsResponse(versions=versions, next_page_token=token)


def _cut(
    page: Page[Any], found: Sequence[Placed[Definition]], place_of: Callable[[Placed[Definition]], Any]
) -> tuple[Sequence[Placed[Definition]], str]:
    return cut_to_fit(page, found, place_of, lambda placed: len(encode(placed.event)))


def _kind(value: pb.DefinitionKind.ValueType) -> Kind:
    if (kind := KINDS.get(value)) is None:
        raise InvalidInput("say what it is: a purpose, a controller, a notice, a mapping or a caller", reason="KIND_MISSING")
    return kind

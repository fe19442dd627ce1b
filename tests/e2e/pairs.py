"""Two processes of a service, each asked by itself, by somebody who proves who they are."""

import uuid
from contextlib import ExitStack

import grpc
from c360.common.v1.common_pb2 import Identifier, Position
from c360.ingest.v1 import ingest_pb2
from google.protobuf.struct_pb2 import Struct

from services.stack.ports import HOST, processes_of
from services.stack.stack import Stack
from tests.e2e.client import CHANNEL_OPTIONS, PROOFS, Platform
from tests.waiting import eventually

TAKEOVER_S = 60.0


class Processes:
    """`channels` by the name of the process. Whoever is asked by health is asked for `asking`, a channel's service config."""

    def __init__(self, stack: Stack, stay: ExitStack, service: str, asking: str) -> None:
        self.stack = stack
        self.service = service
        self.names = processes_of(service, 2)
        self.key = stack.write_key()
        token = (stack.data_directory / "secrets" / "operator-token").read_text().strip()
        self.metadata: tuple[tuple[str, str | bytes], ...] = (("authorization", f"Bearer {token}"),)
        for address in (stack.endpoints.identity, stack.endpoints.profile, stack.endpoints.consent):
            PROOFS[address] = lambda: token
        self.platform = stay.enter_context(Platform(stack.endpoints))
        options = [*CHANNEL_OPTIONS, ("grpc.service_config", asking)]
        self.channels = {
            name: stay.enter_context(grpc.insecure_channel(self.address(name), options=options)) for name in self.names
        }

    def address(self, name: str) -> str:
        return f"{HOST}:{self.stack.ports[name]}"

    @property
    def owner(self) -> str:
        eventually(lambda: self.stack.serving(self.service) is not None, TAKEOVER_S)
        return str(self.stack.serving(self.service))

    @property
    def standby(self) -> str:
        owner = self.owner
        return next(name for name in self.names if name != owner)

    def somebody(self, **traits: str) -> tuple[Identifier, Position]:
        """Who is new, and where it is known."""
        return self.said(f"{uuid.uuid4().hex}@example.com", **traits)

    def said(self, email: str, **traits: str) -> tuple[Identifier, Position]:
        told = Struct()
        told.update({"email": email, **traits})
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=email, traits=told)
        return Identifier(namespace="email", value=email), self.platform.record(self.key, event).position

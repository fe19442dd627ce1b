"""Whatever text a request holds, nobody gets an internal error: what the database can't take is refused before it is asked."""

import uuid
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import grpc
import pytest
from c360.consent.v1 import consent_pb2, registry_pb2
from c360.identity.v1 import decision_pb2, explanation_pb2, identity_pb2, matching_pb2
from c360.identity.v1 import rules_pb2 as identity_rules_pb2
from c360.log.v1 import log_pb2
from c360.parked.v1 import parked_pb2
from c360.profile.v1 import export_pb2, history_pb2, profile_pb2, segment_pb2, watch_pb2
from c360.profile.v1 import rules_pb2 as profile_rules_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.erasing import identify

SHARED: Final = (log_pb2, parked_pb2)
SERVED: Final = {
    "identity": (identity_pb2, decision_pb2, explanation_pb2, matching_pb2, identity_rules_pb2, *SHARED),
    "profile": (profile_pb2, history_pb2, watch_pb2, segment_pb2, export_pb2, profile_rules_pb2, *SHARED),
    "consent": (consent_pb2, registry_pb2, log_pb2),
}
METHODS: Final = {
    f"{name} {service.name} {method.name}": method
    for name, modules in SERVED.items()
    for module in modules
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SOMEBODY: Final = f"somebody-{uuid.uuid4().hex[:8]}"
AN_ID: Final = str(uuid.UUID(int=7))
PLAUSIBLE: Final = {
    "purpose": "audit",
    "namespace": "user_id",
    "value": SOMEBODY,
    "log": "profile",
    "trait": "plan",
    "document": "{}",
}
TEXTS: Final = ("a\0b", "x" * 100_000)
BROKEN: Final = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
NOT_UTF_8: Final = b"\xed\xa0\x80"  # half of a surrogate pair


@pytest.fixture(scope="module")
def channels(stack: Stack) -> Iterator[dict[str, grpc.Channel]]:
    """Of a stack that knows somebody, so that questions come as far as they may."""
    with Platform(stack.endpoints) as platform:
        key = platform.register_source(f"texts-{uuid.uuid4().hex[:8]}")
        position = platform.record(key, identify({"plan": "basic"}, user_id=SOMEBODY)).position
        platform.resolve("user_id", SOMEBODY, position)
    made = {name: grpc.insecure_channel(getattr(stack.endpoints, name)) for name in SERVED}
    yield made
    for channel in made.values():
        channel.close()


class Filling:
    """Messages with something plausible everywhere, and one text that isn't: the one at a place, of all there are."""

    def __init__(self, text: str, at: int, alternative: int) -> None:
        self._text, self._at, self._alternative = text, at, alternative  # of several fields only one of which may be there
        self._places = count()

    def message(self, kind: Any) -> Any:
        made = GetMessageClass(kind)()
        left_out = {field.name for oneof in kind.oneofs for field in oneof.fields if field is not self._chosen(oneof)}
        for field in kind.fields:
            if field.name not in left_out and field.name not in ("page_token", "at_least_as_fresh") and not _is_map(field):
                self._fill(made, field)
        return made

    @property
    def places(self) -> int:
        return next(self._places)

    def _chosen(self, oneof: Any) -> Any:
        return oneof.fields[self._alternative % len(oneof.fields)]

    def _fill(self, made: Any, field: Any) -> None:
        if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.file.package.startswith("c360"):
            inner, target = self.message(field.message_type), getattr(made, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(inner)
        elif field.type == FieldDescriptor.TYPE_ENUM and not field.is_repeated:
            setattr(made, field.name, 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            text = self._text if next(self._places) == self._at else PLAUSIBLE.get(field.name, AN_ID)
            getattr(made, field.name).append(text) if field.is_repeated else setattr(made, field.name, text)


def _is_map(field: Any) -> bool:
    return field.type == FieldDescriptor.TYPE_MESSAGE and bool(field.message_type.GetOptions().map_entry)


def requests(kind: Any) -> Iterator[Any]:
    for alternative in range(2):
        whole = Filling("", -1, alternative)
        whole.message(kind)
        for at in range(whole.places):
            yield from (Filling(text, at, alternative).message(kind) for text in TEXTS)


def ask(channel: Any, method: Any, request: bytes) -> tuple[str, str]:
    """Status and reason; of a stream the first answer is enough."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        if method.server_streaming:
            call = channel.unary_stream(path)(request, timeout=DEADLINE_S)
            next(call, None)
            call.cancel()
        else:
            channel.unary_unary(path)(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""


@pytest.mark.parametrize("name", METHODS)
def test_no_text_is_an_internal_error(channels: dict[str, grpc.Channel], name: str) -> None:
    channel, method = channels[name.split(maxsplit=1)[0]], METHODS[name]
    for request in requests(method.input_type):
        status, reason = ask(channel, method, request.SerializeToString())
        assert status not in BROKEN, (reason, {field.name for field, _ in request.ListFields()})
        assert status == "OK" or reason


def test_what_is_no_text_is_refused_as_all_else_is(channels: dict[str, grpc.Channel]) -> None:
    for name, method in METHODS.items():
        texts = [field.number for field in method.input_type.fields if field.type == FieldDescriptor.TYPE_STRING]
        for number in texts[:1]:
            request = bytes([number << 3 | 2, len(NOT_UTF_8)]) + NOT_UTF_8
            assert ask(channels[name.split()[0]], method, request) == ("INVALID_ARGUMENT", "REQUEST_UNREADABLE")

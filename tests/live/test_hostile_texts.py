"""Whatever text or number a request holds, nobody gets an internal error: what the database can't take is refused before it is asked."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import grpc
import pytest
from c360.consent.v1 import confirmation_pb2, consent_pb2, evidence_pb2, registry_pb2, signals_pb2
from c360.identity.v1 import decision_pb2, explanation_pb2, identity_pb2, matching_pb2
from c360.identity.v1 import rules_pb2 as identity_rules_pb2
from c360.ingest.v1 import ingest_pb2, plan_pb2, receipt_pb2, source_pb2
from c360.log.v1 import log_pb2
from c360.parked.v1 import parked_pb2
from c360.profile.v1 import export_pb2, history_pb2, profile_pb2, segment_pb2, watch_pb2
from c360.profile.v1 import rules_pb2 as profile_rules_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from services.stack.stack import Stack
from shared.rpc.edge import FIRST_SECOND, LAST_SECOND
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform
from tests.live.erasing import identify

SHARED: Final = (log_pb2, parked_pb2)
SERVED: Final = {
    "identity": (identity_pb2, decision_pb2, explanation_pb2, matching_pb2, identity_rules_pb2, *SHARED),
    "profile": (profile_pb2, history_pb2, watch_pb2, segment_pb2, export_pb2, profile_rules_pb2, *SHARED),
    "consent": (consent_pb2, registry_pb2, log_pb2),
}
ALSO_SERVED: Final = {  # what takes numbers, too
    "consent": (confirmation_pb2, evidence_pb2, signals_pb2),
    "ingest": (ingest_pb2, plan_pb2, receipt_pb2, source_pb2),
}


def methods_of(served: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    return {
        f"{name} {service.name} {method.name}": method
        for name, modules in served.items()
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


METHODS: Final = methods_of(SERVED)
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
TEXTS: Final = {FieldDescriptor.TYPE_STRING: ("a\0b", "x" * 100_000)}
MOST: Final = 2**63 - 1
NUMBERS: Final = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), MOST),
    FieldDescriptor.TYPE_UINT32: (2**31, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (MOST, 2**63, 2**64 - 1),
    Timestamp.DESCRIPTOR.full_name: (
        Timestamp(seconds=-MOST),
        Timestamp(seconds=MOST),
        Timestamp(seconds=FIRST_SECOND),
        Timestamp(seconds=LAST_SECOND, nanos=10**9 - 1),
        Timestamp(nanos=-1),
    ),
    Duration.DESCRIPTOR.full_name: (Duration(seconds=-MOST), Duration(seconds=MOST, nanos=10**9 - 1), Duration(nanos=-1)),
}
SILENT_S: Final = 1.0  # a watch that has nothing to tell has not failed
BROKEN: Final = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
NOT_UTF_8: Final = b"\xed\xa0\x80"  # half of a surrogate pair


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    with Platform(stack.endpoints) as platform:
        return platform.register_source(f"hostile-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def channels(stack: Stack, key: str) -> Iterator[dict[str, grpc.Channel]]:
    """Of a stack that knows somebody, so that questions come as far as they may."""
    with Platform(stack.endpoints) as platform:
        position = platform.record(key, identify({"plan": "basic"}, user_id=SOMEBODY)).position
        platform.resolve("user_id", SOMEBODY, position)
    made = {name: grpc.insecure_channel(getattr(stack.endpoints, name)) for name in (*SERVED, "ingest")}
    yield made
    for channel in made.values():
        channel.close()


class Filling:
    """Messages with something plausible everywhere, and at one place, of all there are of its kind, what isn't: the `at`-th of `hostile`,
    the values by what a field is; of several fields only one of which may be there the `alternative`-th."""

    def __init__(self, hostile: Mapping[Any, Sequence[Any]], at: int, alternative: int) -> None:
        self._hostile, self._at, self._alternative = hostile, at, alternative
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
            _put(made, field, self.message(field.message_type))
        elif field.type == FieldDescriptor.TYPE_ENUM and not field.is_repeated:
            setattr(made, field.name, 1)
        else:
            hostile = self._hostile_value(field)
            if hostile is not None or field.type == FieldDescriptor.TYPE_STRING:
                _put(made, field, PLAUSIBLE.get(field.name, AN_ID) if hostile is None else hostile)

    def _hostile_value(self, field: Any) -> Any:
        values = self._hostile.get(field.message_type.full_name if field.message_type else field.type, ())
        return next((value for value in values if next(self._places) == self._at), None)


def _put(made: Any, field: Any, value: Any) -> None:
    target = getattr(made, field.name)
    if field.is_repeated:
        target.append(value)
    elif field.message_type:
        target.CopyFrom(value)
    else:
        setattr(made, field.name, value)


def _is_map(field: Any) -> bool:
    return field.type == FieldDescriptor.TYPE_MESSAGE and bool(field.message_type.GetOptions().map_entry)


def requests(kind: Any, hostile: Mapping[Any, Sequence[Any]], alternatives: Sequence[int]) -> Iterator[Any]:
    for alternative in alternatives:
        whole = Filling(hostile, -1, alternative)
        whole.message(kind)
        yield from (Filling(hostile, at, alternative).message(kind) for at in range(whole.places))


def ask(channel: Any, method: Any, request: bytes, key: str = "", silent_s: float = DEADLINE_S) -> tuple[str, str]:
    """Status and reason; of a stream the first answer is enough."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("authorization", f"Bearer {key}"),)
    try:
        if method.client_streaming:
            next(channel.stream_stream(path)(iter([request]), timeout=DEADLINE_S, metadata=metadata), None)
        elif method.server_streaming:
            call = channel.unary_stream(path)(request, timeout=silent_s)
            next(call, None)
            call.cancel()
        else:
            channel.unary_unary(path)(request, timeout=DEADLINE_S, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""


@pytest.mark.parametrize("name", METHODS)
def test_no_text_is_an_internal_error(channels: dict[str, grpc.Channel], name: str) -> None:
    channel, method = channels[name.split(maxsplit=1)[0]], METHODS[name]
    for request in requests(method.input_type, TEXTS, range(2)):
        status, reason = ask(channel, method, request.SerializeToString())
        assert status not in BROKEN, (reason, {field.name for field, _ in request.ListFields()})
        assert status == "OK" or reason


@pytest.mark.parametrize("name", [*SERVED, "ingest"])
def test_no_number_and_no_instant_is_an_internal_error(channels: dict[str, grpc.Channel], key: str, name: str) -> None:
    answers = [
        (ask(channels[name], method, request.SerializeToString(), key, SILENT_S), method.full_name, request)
        for method in methods_of({name: (*SERVED.get(name, ()), *ALSO_SERVED.get(name, ()))}).values()
        for request in requests(method.input_type, NUMBERS, [1])  # the other way to name a customer ends at nobody
    ]
    assert [answer for answer in answers if answer[0][0] in BROKEN] == []


def test_what_is_no_text_is_refused_as_all_else_is(channels: dict[str, grpc.Channel]) -> None:
    for name, method in METHODS.items():
        texts = [field.number for field in method.input_type.fields if field.type == FieldDescriptor.TYPE_STRING]
        for number in texts[:1]:
            request = bytes([number << 3 | 2, len(NOT_UTF_8)]) + NOT_UTF_8
            assert ask(channels[name.split()[0]], method, request) == ("INVALID_ARGUMENT", "REQUEST_UNREADABLE")

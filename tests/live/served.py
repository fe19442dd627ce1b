"""Every gRPC method that a running service has, as its own reflection tells it: one that is new is among them."""

import importlib
from pathlib import Path
from typing import Any, Final

import c360
import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from shared.rpc.errors import reason_of

TIMEOUT_S: Final = 30.0
OURS: Final = "c360."


def import_every_proto() -> None:
    """Into the pool of descriptors."""
    for root in map(Path, c360.__path__):
        for file in root.rglob("*_pb2.py"):
            importlib.import_module(".".join(("c360", *file.relative_to(root).with_suffix("").parts)))


import_every_proto()


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def methods_of(channel: grpc.Channel) -> list[MethodDescriptor]:
    """Of our own services: health and reflection answer everybody."""
    names = [name for name in ProtoReflectionDescriptorDatabase(channel).get_services() if name.startswith(OURS)]
    pool = descriptor_pool.Default()
    return [method for name in sorted(names) for method in pool.FindServiceByName(name).methods]


def called(
    channel: Any, method: MethodDescriptor, request: bytes, token: str = "", timeout_s: float = TIMEOUT_S
) -> tuple[str, str]:
    """(status, reason) of a call with this one request; a stream is read until its first answer."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    how: dict[str, Any] = {"timeout": timeout_s, "metadata": metadata}
    try:
        if not method.client_streaming and not method.server_streaming:
            channel.unary_unary(path_of(method))(request, **how)
            return "OK", ""
        begin = channel.stream_stream(path_of(method)) if method.client_streaming else channel.unary_stream(path_of(method))
        answers: Any = begin(iter([request]) if method.client_streaming else request, **how)
        next(answers, None)
        answers.cancel()
        return "OK", ""
    except grpc.RpcError as error:
        return error.code().name, reason_of(error)

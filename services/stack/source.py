"""Registers the source that `make run` gives you a write key for."""

import uuid

import grpc
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc

from services.stack.errors import StackError

NAME = "demo"
TIMEOUT_S = 10.0


def register_demo_source(ingest_address: str, token: str = "") -> str:  # nosec B107
    """The write key. A key is shown only once, so when an earlier one was lost the source gets another name."""
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    with grpc.insecure_channel(ingest_address) as channel:
        ingest = ingest_pb2_grpc.IngestServiceStub(channel)
        for name in (NAME, f"{NAME}-{uuid.uuid4().hex[:8]}"):
            request = ingest_pb2.RegisterSourceRequest(request_id=str(uuid.uuid4()), name=name)
            try:
                answer = ingest.RegisterSource(request, timeout=TIMEOUT_S, wait_for_ready=True, metadata=metadata)
                return str(answer.write_key)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.ALREADY_EXISTS:
                    raise StackError(f"cannot register the source {name}: {error.details()}") from error
    raise StackError(f"the source {NAME} exists, and so does {name}")

"""Every list of every service refuses a page that can't be, in the same words."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from services.stack.stack import Stack
from shared.rpc.errors import reason_of

ROOT = Path(__file__).parents[2] / "protos"
SERVED_BY = {"parked": ("identity", "profile")}  # by a package that isn't named like its service
TIMEOUT_S = 30.0


def lists() -> Iterator[Any]:
    """(service, method) of every call that answers page by page."""
    for path in sorted((ROOT / "c360").rglob("*.proto")):
        module = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") + "_pb2"
        for service in importlib.import_module(module).DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if "page_size" in method.input_type.fields_by_name:
                    package = service.full_name.split(".")[1]
                    for served_by in SERVED_BY.get(package, (package,)):
                        yield pytest.param(served_by, method, id=f"{served_by}-{method.name}")


@pytest.mark.parametrize(("service", "method"), list(lists()))
def test_a_page_that_can_not_be_is_refused(stack: Stack, service: str, method: Any) -> None:
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    refused = []
    with grpc.insecure_channel(getattr(stack.endpoints, service)) as channel:
        call = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        for bad in ({"page_size": -5}, {"page_token": "page 2"}):
            with pytest.raises(grpc.RpcError) as told:
                call(request(**bad), timeout=TIMEOUT_S, wait_for_ready=True)
            refused.append((told.value.code(), reason_of(told.value)))
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert refused == [(invalid, "PAGE_SIZE_INVALID"), (invalid, "PAGE_TOKEN_INVALID")]

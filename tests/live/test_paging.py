"""Every list of every service refuses a page that can't be, or that is of another list or query, in the same words."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from c360.ingest.v1.ingest_pb2 import ListSourcesRequest
from c360.profile.v1.profile_pb2 import ListMembersRequest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from shared.rpc.paging import SAYS_WHICH_PAGE, Page, query_of

ROOT = Path(__file__).parents[2] / "protos"
SERVED_BY = {"parked": ("identity", "profile")}  # by a package that isn't named like its service
TIMEOUT_S = 30.0
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NO_PLACE = {"a place": "no list has"}
NO_PLACES = msgspec.msgpack.Decoder(dict[str, str])
VALUES = {
    FieldDescriptor.CPPTYPE_STRING: "x",
    FieldDescriptor.CPPTYPE_BOOL: True,
    FieldDescriptor.CPPTYPE_ENUM: 1,
    FieldDescriptor.CPPTYPE_INT32: 1,
    FieldDescriptor.CPPTYPE_INT64: 1,
    FieldDescriptor.CPPTYPE_UINT32: 1,
    FieldDescriptor.CPPTYPE_UINT64: 1,
}


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


Call = Callable[[Message], tuple[grpc.StatusCode, str, str]]


@pytest.fixture
def refusal(stack: Stack, service: str, method: Any) -> Iterator[Call]:
    """What a request is refused with: status, reason, text."""
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    with grpc.insecure_channel(getattr(stack.endpoints, service)) as channel:
        call = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

        def refused(asked: Message) -> tuple[grpc.StatusCode, str, str]:
            with pytest.raises(grpc.RpcError) as told:
                call(asked, timeout=TIMEOUT_S, wait_for_ready=True)
            return told.value.code(), reason_of(told.value), told.value.details() or ""

        yield refused


@pytest.mark.parametrize(("service", "method"), list(lists()))
def test_a_page_that_can_not_be_is_refused(refusal: Call, method: Any) -> None:
    request = GetMessageClass(method.input_type)
    refused = [refusal(request(**bad))[:2] for bad in ({"page_size": -5}, {"page_token": "page 2"})]
    assert refused == [(INVALID, "PAGE_SIZE_INVALID"), (INVALID, "PAGE_TOKEN_INVALID")]


@pytest.mark.parametrize(("service", "method"), list(lists()))
def test_a_page_of_another_list_or_query_is_refused(refusal: Call, service: str, method: Any) -> None:
    """Whatever else of a request is another. The place that a token leads to is told apart by what is said of it: here it is none."""
    request = GetMessageClass(method.input_type)
    told = refusal(request(page_token=token_of(service, request(page_size=3))))
    assert told == (INVALID, "PAGE_TOKEN_INVALID", "not a page token of ours"), "it is of this one, and its place is broken"
    others = [token_of(service, ListSourcesRequest()), *(token_of(service, one) for one in otherwise(request))]
    for token in others:
        status, reason, text = refusal(request(page_token=token))
        assert (status, reason) == (INVALID, "PAGE_TOKEN_INVALID")
        assert "another list or query" in text


def token_of(service: str, asked: Message) -> str:
    """Of this list and query, to a place that is none."""
    query = query_of(asked)
    if asked.DESCRIPTOR.full_name.split(".")[1] in SERVED_BY:
        query = service.encode() + query  # each has a list of its own
    return Page(ListMembersRequest(), NO_PLACES, query).token_of(NO_PLACE)


def otherwise(request: type[Message]) -> Iterator[Message]:
    """Requests that differ from an empty one in a single field."""
    for field in request.DESCRIPTOR.fields:
        if field.name not in SAYS_WHICH_PAGE:
            asked = request()
            changed(asked, field)
            yield asked


def changed(message: Any, field: Any) -> None:
    if field.message_type is not None:
        if field.is_repeated:
            getattr(message, field.name).add()
        else:
            getattr(message, field.name).SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).append(VALUES[field.cpp_type])
    else:
        setattr(message, field.name, VALUES[field.cpp_type])

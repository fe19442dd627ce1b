"""The three modes in which CloudEvents come over HTTP (the HTTP protocol binding 1.0.2, section 3)."""

from collections.abc import Iterator
from functools import partial
from typing import Final
from urllib.parse import unquote

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

from services.ingest.api.bodies import decode_or_repair
from services.ingest.domain.call import Call, check_size
from services.ingest.domain.cloudevents import message_id_in, message_id_of, read_structured, to_call
from services.ingest.domain.events import Rejection, call_of
from services.ingest.domain.repairs import read_flagged, repairing
from services.ingest.domain.settings import check_batch
from shared.errors import InvalidInput

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
PREFIX: Final = "ce-"

_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode


def is_batch(headers: Headers) -> bool:
    return _media_type(headers) == BATCHED


class Batch(list[msgspec.Raw]):
    """Its items."""

    is_repaired = False


class RepairedBatch(Batch):
    """Of a body that was not quite JSON: its events show whether that was in them."""

    is_repaired = True


def read_batch(body: bytes) -> Batch:
    """A batch may be empty. Raises InvalidInput (JSON_BROKEN, BODY_INVALID, BATCH_TOO_LONG)."""
    try:
        items = decode_or_repair(body, lambda body: Batch(_decode_batch(body)), lambda body: RepairedBatch(_decode_batch(body)))
    except msgspec.ValidationError:
        raise InvalidInput("a batch of CloudEvents is a JSON list", reason="BODY_INVALID") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("the body is not JSON", reason="JSON_BROKEN") from None
    check_batch(len(items))
    return items


def read_items(batch: Batch) -> Iterator[Call | Rejection]:
    """One by one, as they are asked for."""
    read = partial(read_flagged, read_structured) if batch.is_repaired else read_structured
    return (call_of(read, raw, message_id_in) for raw in batch)


def read_one(headers: Headers, body: bytes) -> Call | Rejection:
    """In structured or in binary mode."""
    media_type = _media_type(headers)
    if media_type == STRUCTURED:
        return call_of(repairing(read_structured), body, message_id_in)
    if media_type.startswith("application/cloudevents"):
        return Rejection("", "CLOUDEVENT_INVALID", "CloudEvents come in the JSON format, or in binary mode")
    return call_of(repairing(lambda data: _read_binary(headers, data)), body, lambda _: _message_id_in_head(headers))


def allow_webhook() -> Response:
    """The handshake of a sender that asks before it sends (HTTP 1.1 Web Hooks for Event Delivery, section 4)."""
    headers = {"allow": "POST", "webhook-allowed-origin": "*", "webhook-allowed-rate": "*"}
    return Response(status_code=200, headers=headers)


def _read_binary(headers: Headers, data: bytes) -> Call:
    content_type = headers.get("content-type")
    attributes = _attributes(headers)
    check_size(len(data) + sum(map(len, attributes.values())))
    return to_call(attributes | ({"datacontenttype": content_type} if content_type else {}), data)


def _attributes(headers: Headers) -> dict[str, str]:
    """They stand in the head, percent-encoded."""
    return {name.removeprefix(PREFIX): _unquoted(value) for name, value in headers.items() if name.startswith(PREFIX)}


def _unquoted(value: str) -> str:
    """What is no UTF-8 is refused: replaced by one sign, different ids would become the same."""
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput("the attributes of a CloudEvent are UTF-8, percent-encoded", reason="CLOUDEVENT_INVALID") from None


def _message_id_in_head(headers: Headers) -> str:
    try:
        attributes = _attributes(headers)
    except InvalidInput:
        return ""
    source, event_id = attributes.get("source", ""), attributes.get("id", "")
    return message_id_of(source, event_id) if source.strip() and event_id.strip() else ""


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()

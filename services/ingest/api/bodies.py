"""Reads request bodies within bounds, and tells what of the Segment protocol is in them."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import msgspec
from starlette.requests import Request

from services.ingest.api.room import Room, Share
from services.ingest.domain.call import (
    MAX_EVENT_BYTES,
    Call,
    CallReader,
    Delivery,
    check_depth,
    is_empty_list,
    may_be_deep,
    message_id_in,
    read_call,
    too_deep,
)
from services.ingest.domain.clocks import SENT_AT_INVALID, sent_at_of
from services.ingest.domain.events import Rejection, call_of
from services.ingest.domain.repairs import flags_of, read_flagged, repaired, repairing
from services.ingest.domain.settings import KnownSource, check_batch
from shared.errors import InvalidInput
from shared.privacy import Personal

MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # the largest that any SDK sends, decompressed
PIECE_BYTES: Final = 16 * 1024  # of a packed body, unpacked at a time
MAX_MEMBERS: Final = 4_096  # of gzip in a body: more than events in a batch; each costs a moment, however little it holds
MAX_SHARED_BYTES: Final = MAX_EVENT_BYTES  # of a batch's context, and of its integrations: each of its events gets a copy
MAX_VALUE_BYTES: Final = 1024  # of a key or an instant
TOO_LONG: Final = "too long"
MAX_READING_BYTES: Final = 128 * 1024 * 1024  # of all requests, until they are answered: their bodies as they come in, and unpacked

NOTHING: Final = msgspec.Raw(b"null")


class BatchBody(Personal, frozen=True, kw_only=True, rename="camel"):
    """Nothing in it is decoded before its size is known: 4 MiB of JSON may be 200 MB of objects."""

    batch: list[msgspec.Raw]
    context: msgspec.Raw = NOTHING
    integrations: msgspec.Raw = NOTHING
    sent_at: msgspec.Raw = NOTHING
    is_repaired: ClassVar[bool] = False


class RepairedBatch(BatchBody, frozen=True, kw_only=True, rename="camel"):
    """Of a body that was not quite JSON: its events show whether that was in them."""

    is_repaired: ClassVar[bool] = True


_decode_batch = msgspec.json.Decoder(BatchBody).decode
_decode_repaired = msgspec.json.Decoder(RepairedBatch).decode
_decode_shared = msgspec.json.Decoder(dict[str, Any] | None).decode


class _Keyed(Personal, frozen=True, rename="camel"):
    write_key: msgspec.Raw = NOTHING


_decode_key = msgspec.json.Decoder(_Keyed).decode

BYTE_ORDER_MARK: Final = (
    b"\xef\xbb\xbf"  # some editors and tools on Windows begin a file with it; readers may ignore it (RFC 8259, section 8.1)
)
T = TypeVar("T")


class BodyReader:
    """Bounds one body, and all that are being read at a time."""

    def __init__(self) -> None:
        self.room = Room(MAX_READING_BYTES)

    @asynccontextmanager
    async def body_of(self, request: Request) -> AsyncIterator[bytes]:
        """Unpacked; it counts until the request has its answer.

        Raises InvalidInput (BODY_TOO_LARGE, BODY_INVALID, ENCODING_UNSUPPORTED), LimitExceeded (OVERLOADED).
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding == "x-gzip":  # the same (RFC 9110, section 8.4.1.3)
            encoding = "gzip"
        if encoding not in ("identity", "gzip"):
            raise InvalidInput("the content encoding is gzip or none", reason="ENCODING_UNSUPPORTED")
        with self.room.share() as share:
            body = await _read_raw(request, share)
            if encoding == "gzip":
                body = _unzip(body)
                share.take(len(body))
            yield body.removeprefix(BYTE_ORDER_MARK)


async def _read_raw(request: Request, share: Share) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size_bytes += len(chunk)
        share.take(len(chunk))
        if size_bytes > MAX_BODY_BYTES:
            raise _too_large()
    return b"".join(chunks)


def _unzip(body: bytes) -> bytes:
    """All members, one behind the other (RFC 1952, section 2.2). Fed piece by piece: what a member leaves is copied each time."""
    parts: list[bytes] = []
    place, room = 0, MAX_BODY_BYTES
    for _ in range(MAX_MEMBERS):
        part, place = _unzip_member(body, place, room)
        parts.append(part)
        room -= len(part)
        if place == len(body):
            return b"".join(parts)
    raise InvalidInput(f"a body has at most {MAX_MEMBERS:,} gzip members", reason="BODY_INVALID")


def _unzip_member(body: bytes, place: int, room: int) -> tuple[bytes, int]:
    """What the member at `place` holds, at most `room` bytes, and where it ends."""
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    parts: list[bytes] = []
    begin = place
    while not member.eof:
        piece = body[place : place + PIECE_BYTES]
        if not piece:
            raise InvalidInput("the body's gzip is cut off", reason="BODY_INVALID")
        try:
            parts.append(member.decompress(piece, room + 1))
        except zlib.error:
            what = "the body is not gzip" if begin == 0 else "what follows the gzip in the body is not gzip"
            raise InvalidInput(what, reason="BODY_INVALID") from None
        room -= len(parts[-1])
        if room < 0:
            raise _too_large()
        place += len(piece) - len(member.unused_data)
    return b"".join(parts), place


def _too_large() -> InvalidInput:
    return InvalidInput("a body has at most 4 MiB, decompressed", reason="BODY_TOO_LARGE", limit_bytes=MAX_BODY_BYTES)


def decode_or_repair(body: bytes, decode: Callable[[bytes], T], decode_repaired: Callable[[bytes], T]) -> T:
    """What strict decoding takes costs nothing more. Raises as `decode`."""
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return decode_repaired(repaired(body))


def read_batch(body: bytes) -> BatchBody:
    """Raises InvalidInput (JSON_BROKEN, BODY_INVALID, BATCH_EMPTY, BATCH_TOO_LONG)."""
    try:
        batch = decode_or_repair(body, _decode_batch, _decode_repaired)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), reason="BODY_INVALID") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json() from None
    if not batch.batch:
        raise InvalidInput("the batch is empty", reason="BATCH_EMPTY")
    check_batch(len(batch.batch))
    return batch


def key_of(body: bytes) -> Any:
    """All that is decoded for a sender who is not known yet. Raises InvalidInput (JSON_BROKEN, BODY_INVALID)."""
    try:
        return _small(decode_or_repair(body, _decode_key, _decode_key).write_key)
    except msgspec.ValidationError:
        raise InvalidInput("the body is a JSON object", reason="BODY_INVALID") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json() from None


def delivery_of(batch: BatchBody, source: KnownSource, received_at: int, *, gpc: bool) -> Delivery:
    """Raises InvalidInput (CONTEXT_TOO_LARGE, EVENT_TOO_DEEP, BODY_INVALID)."""
    sent_at, flags = _sent_at(batch.sent_at)
    if batch.is_repaired:
        flags += flags_of(bytes(batch.context) + bytes(batch.integrations))
    return Delivery(
        source=source,
        received_at=received_at,
        sent_at=sent_at,
        context=_shared("context", batch.context),
        integrations=_shared("integrations", batch.integrations),
        flags=tuple(flags),
        gpc=gpc,
    )


def _sent_at(raw: msgspec.Raw) -> tuple[int | None, list[str]]:
    """One that can't be read is none: its events are flagged, and no clock is corrected by it."""
    try:
        return sent_at_of(_small(raw))
    except InvalidInput:
        return None, [SENT_AT_INVALID]


def _shared(name: str, raw: msgspec.Raw) -> dict[str, Any]:
    """What all events of a batch have in common."""
    if len(raw) > MAX_SHARED_BYTES:
        raise InvalidInput(f"a batch's {name} has at most 32 KB", reason="CONTEXT_TOO_LARGE", limit_bytes=MAX_SHARED_BYTES)
    if is_empty_list(raw):
        return {}
    try:
        found = _decode_shared(raw) or {}
    except msgspec.ValidationError:
        raise InvalidInput(f"a batch's {name} is a JSON object", reason="BODY_INVALID") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json() from None
    except RecursionError:
        raise too_deep() from None
    if may_be_deep(raw):
        check_depth([found])
    return found


def _small(raw: msgspec.Raw) -> Any:
    """A larger one is read as a text that is neither a key nor an instant."""
    if len(raw) > MAX_VALUE_BYTES:
        return TOO_LONG
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json() from None


def _not_json() -> InvalidInput:
    return InvalidInput("the body is not JSON", reason="JSON_BROKEN")


def read_items(batch: BatchBody) -> Iterator[Call | Rejection]:
    """One by one, as they are asked for."""
    reader = CallReader()
    read = partial(read_flagged, reader.read) if batch.is_repaired else reader.read
    return (call_of(read, raw, message_id_in) for raw in batch.batch)


def read_single(body: bytes, kind: str) -> Call | Rejection:
    """The path says what it is. Raises InvalidInput (JSON_BROKEN, BODY_INVALID)."""
    if len(body) <= MAX_EVENT_BYTES and body.lstrip()[:1] not in (b"{", b""):
        raise InvalidInput("the body is a JSON object", reason=_reason_of_no_object(body))
    return call_of(lambda raw: msgspec.structs.replace(read_one(raw), type=kind), body, message_id_in)


read_one = repairing(read_call)


def _reason_of_no_object(body: bytes) -> str:
    try:
        decode_or_repair(body, msgspec.json.decode, msgspec.json.decode)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "JSON_BROKEN"
    return "BODY_INVALID"

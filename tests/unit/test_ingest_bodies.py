"""What a body may cost before its sender is known, and until it is answered."""

import gzip
import tracemalloc
from typing import Any

import pytest
from starlette.requests import Request

from services.ingest.api import bodies
from services.ingest.api.bodies import BodyReader, delivery_of, key_of, read_batch
from services.ingest.api.room import Room
from services.ingest.domain.settings import KnownSource
from shared.errors import InvalidInput, LimitExceeded


def request_of(body: bytes, encoding: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "headers": [(b"content-encoding", encoding.encode())]}, receive)


def test_of_a_body_nothing_but_its_key_is_decoded() -> None:
    body = (
        b'{"context":{"a":['
        + b",".join([b"[]"] * 1_000_000)
        + b']},"batch":['
        + b",".join([b"{}"] * 300_000)
        + b'],"writeKey":"k"}'
    )
    tracemalloc.start()
    assert key_of(body) == "k"
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"[]", "BODY_INVALID"), (b"", "JSON_BROKEN"), (b'{"a"', "JSON_BROKEN"), (b'{"a":' + b"[" * 100_000, "JSON_BROKEN")],
)
def test_a_body_without_a_key_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        key_of(body)
    assert refused.value.reason == reason


def test_a_key_that_is_none_is_not_decoded_either() -> None:
    assert key_of(b'{"writeKey":[' + b",".join([b"[]"] * 1_000) + b"]}") == bodies.TOO_LONG


def test_what_a_batch_shares_may_be_an_empty_list() -> None:
    batch = read_batch(b'{"batch":[{}],"context":[],"integrations":[ ]}')
    delivery = delivery_of(batch, KnownSource(name="shop"), 1, gpc=False)
    assert (delivery.context, delivery.integrations) == ({}, {})
    with pytest.raises(InvalidInput, match="context is a JSON object"):
        delivery_of(read_batch(b'{"batch":[{}],"context":[1]}'), KnownSource(name="shop"), 1, gpc=False)


@pytest.mark.parametrize("sent_at", ['"garbage"', "1772539200000", "{}", '"' + "2" * 2_000 + '"'])
def test_a_batch_whose_sending_time_cannot_be_read_is_taken_and_flagged(sent_at: str) -> None:
    delivery = delivery_of(read_batch(f'{{"batch":[{{}}],"sentAt":{sent_at}}}'.encode()), KnownSource(name="shop"), 1, gpc=False)
    assert (delivery.sent_at, delivery.flags) == (None, ("CLOCK_SENT_AT_INVALID",))


async def test_a_byte_order_mark_is_not_part_of_a_body() -> None:
    async with BodyReader().body_of(request_of(b"\xef\xbb\xbf{}", "identity")) as body:
        assert body == b"{}"


async def test_a_body_counts_unpacked_until_it_is_answered() -> None:
    reader = BodyReader()
    before = reader.room.left_bytes
    async with reader.body_of(request_of(gzip.compress(b" " * 1_000_000), "gzip")) as body:
        assert reader.room.left_bytes <= before - len(body)
    assert reader.room.left_bytes == before


async def read(body: bytes) -> bytes:
    async with BodyReader().body_of(request_of(body, "gzip")) as found:
        return found


async def test_gzip_members_behind_each_other_are_one_body() -> None:
    parts = [b"x" * 100_000, b"", b"y", b"z" * 17_000]
    assert await read(b"".join(map(gzip.compress, parts))) == b"".join(parts)


@pytest.mark.parametrize(
    ("body", "reason", "text"),
    [
        (gzip.compress(b"{}") + b"garbage", "BODY_INVALID", "what follows"),
        (gzip.compress(b"{}") + b"\0", "BODY_INVALID", "cut off"),
        (gzip.compress(b"{}") + gzip.compress(b"{}")[:-1], "BODY_INVALID", "cut off"),
        (b"", "BODY_INVALID", "cut off"),
        (b"{}", "BODY_INVALID", "not gzip"),
        (gzip.compress(b"") * (bodies.MAX_MEMBERS + 1), "BODY_INVALID", "members"),
        (gzip.compress(b" " * bodies.MAX_BODY_BYTES) + gzip.compress(b" "), "BODY_TOO_LARGE", "4 MiB"),
        (gzip.compress(b" " * 1024 * 1024) * 500, "BODY_TOO_LARGE", "4 MiB"),
    ],
)
async def test_a_gzip_that_is_none_or_too_much_has_a_reason(body: bytes, reason: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text) as refused:
        await read(body)
    assert refused.value.reason == reason


async def test_what_finds_no_room_is_sent_again_later() -> None:
    reader = BodyReader()
    reader.room = Room(1_500)
    async with reader.body_of(request_of(b" " * 1_000, "identity")):
        with pytest.raises(LimitExceeded):
            async with reader.body_of(request_of(b" " * 1_000, "identity")):
                pass
    assert reader.room.left_bytes == 1_500

"""Which streams a bundle of evidence has to have: those of the customer, and of nobody who was split off."""

from typing import NamedTuple

import msgspec
from c360_verify.trail import streams_of

ANN, BOB, CAT = (letter * 16 for letter in (b"a", b"b", b"c"))


class Event(NamedTuple):
    type: str
    header: bytes


def merged(merge_id: bytes, other: bytes) -> Event:
    return Event("customer.merged", msgspec.msgpack.encode({"merge_id": merge_id, "other": other}))


def split(merge_id: bytes) -> Event:
    return Event("customer.split", msgspec.msgpack.encode({"merge_id": merge_id}))


def members(*events: Event) -> set[bytes]:
    """Of Ann, whose events in identity's log these are; profile has not heard of the last yet."""
    streams = {("identity", ANN): events, ("profile", ANN): events[:-1]}
    return {stream for log, stream in streams_of(ANN, streams) if log == "identity"}


def test_who_is_merged_belongs_to_it_and_who_was_split_off_does_not() -> None:
    assert members(merged(b"1", BOB), merged(b"2", CAT)) == {ANN, BOB, CAT}
    assert members(merged(b"1", BOB), merged(b"2", CAT), split(b"1")) == {ANN, CAT}


def test_who_is_merged_again_belongs_to_it_again() -> None:
    assert members(merged(b"1", BOB), split(b"1"), merged(b"2", BOB)) == {ANN, BOB}

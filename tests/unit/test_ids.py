"""Ids are UUIDs of version 7 (RFC 9562, 5.7): 48 bits of milliseconds, 74 random bits, and six that say what it is."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from shared.ids import RANDOM_BITS, id_maker


@given(st.integers(0, (1 << 48) * 1000 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_is_its_instant_and_what_was_drawn(now: int, drawn: bytes) -> None:
    made = uuid.UUID(bytes=id_maker(lambda: now, lambda _: drawn)())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == now // 1000
    assert made.int & RANDOM_BITS == int.from_bytes(drawn) & RANDOM_BITS


def test_74_bits_are_random() -> None:
    assert RANDOM_BITS.bit_count() == 74

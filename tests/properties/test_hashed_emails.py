"""An e-mail address may be named by its SHA-256: whoever knows the address and whoever knows its hash name the same."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.identifiers import EMAIL_SHA256, hash_of, name_and_hash, normalise

KEYS = st.binary(min_size=32, max_size=32)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)


@given(NAMES, NAMES, KEYS, st.sampled_from([str.lower, str.upper, str.title]))
def test_an_address_and_its_hash_name_the_same(name: str, host: str, key: bytes, written: Callable[[str], str]) -> None:
    address = f"{name}@{host}.example"
    digest = hashlib.sha256(address.encode()).hexdigest()
    found = name_and_hash("email", f" {written(address)}", key)
    assert found == ("email", hash_of(normalise("email", address), key))
    assert name_and_hash(EMAIL_SHA256, written(digest), key) == found
    assert name_and_hash("user_id", digest, key)[1] != found[1]


@given(NAMES, NAMES, KEYS)
def test_two_addresses_are_two(one: str, other: str, key: bytes) -> None:
    hashes = {name_and_hash("email", f"{name}@shop.example", key) for name in (one, other)}
    assert len(hashes) == len({one, other})


@given(st.text(max_size=70))
def test_what_is_no_hash_names_nobody(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        name_and_hash(EMAIL_SHA256, f"{text}!", b"k" * 32)
    assert refused.value.reason == "IDENTIFIER_INVALID"

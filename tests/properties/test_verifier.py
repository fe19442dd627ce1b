"""c360-verify was written anew from the formats; here both sides have to agree."""

import os
from typing import Any

import msgspec
from c360_verify import check, msgpack, trail
from c360_verify.envelope import open_envelope
from c360_verify.merkle import root_by_path
from c360_verify.notes import read_checkpoint, read_stream_head
from hypothesis import given
from hypothesis import strategies as st

from shared.events.catalogue import Entry
from shared.events.consent import decisions_stream, definition_stream
from shared.log import merkle, notes
from shared.log.notes import Checkpoint, StreamHead
from shared.log.records import leaf_data
from shared.vault import DataKey
from tests.properties.audited_log import SIGNER

numbers = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.booleans(), st.none())
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(numbers, st.text(max_size=300), st.binary(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=8), inner, max_size=20)),
    max_leaves=30,
)


@given(values)
def test_what_was_packed_is_read(value: Any) -> None:
    assert msgpack.decode(msgspec.msgpack.encode(value)) == value


@given(st.integers(1, 300), st.data())
def test_a_path_leads_to_the_root(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaves = [merkle.leaf_hash(number.to_bytes(4)) for number in range(size)]
    nodes = {(0, number): leaf for number, leaf in enumerate(leaves)}
    frontier, complete = merkle.append(0, (), leaves)
    nodes |= {(node.height, node.number): node.hash for node in complete}

    def read(height: int, first: int, count: int) -> list[bytes]:
        return [nodes[height, number] for number in range(first, first + count)]

    path = [merkle.root_of_range(part, read) for part in merkle.inclusion_path(index, size)]
    assert root_by_path(leaves[index], index, size, path) == merkle.root_of(frontier)


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.integers(1, 2**31))
def test_notes_are_read_as_they_are_meant(size: int, root: bytes, stream: bytes, version: int) -> None:
    checkpoint = Checkpoint(notes.origin_of("00ff", "profile", 3), size, root)
    read = read_checkpoint(notes.signed(checkpoint.text(), SIGNER), SIGNER.public_key)
    assert (read.origin, read.size, read.root) == checkpoint
    for head in (StreamHead(checkpoint, stream, version, 17, 4), StreamHead(checkpoint, stream, 0, None, 4)):
        found = read_stream_head(notes.signed(head.text(), SIGNER), SIGNER.public_key)
        assert (found.tree, *found[1:]) == (read, *head[1:])


big = st.integers(-(2**63), 2**63 - 1)


@given(big, big, big, st.integers(-(2**31), 2**31 - 1), st.text(), st.binary(), st.binary())
def test_both_make_the_same_leaf(
    version: int, recorded_us: int, occurred_us: int, schema_version: int, kind: str, header: bytes, envelope: bytes
) -> None:
    """Also of numbers that only a tampered row can have."""
    stream, event_id = b"s" * 16, b"e" * 16
    event = {
        "version": version,
        "recorded_us": recorded_us,
        "occurred_us": occurred_us,
        "schema_version": schema_version,
        "type": kind,
    }
    ours = leaf_data(Entry(stream, event_id, kind, schema_version, occurred_us, header, envelope), version, recorded_us)
    assert check.leaf_data(event, stream, event_id, header, envelope) == ours


@given(st.binary(), st.binary())
def test_what_was_sealed_opens(plaintext: bytes, associated: bytes) -> None:
    key = os.urandom(32)
    assert open_envelope(key, DataKey(key).seal(plaintext, associated), associated) == plaintext


@given(st.binary(min_size=16, max_size=16), st.text())
def test_both_find_the_same_streams_of_consent(identifier: bytes, purpose: str) -> None:
    assert trail.derived_id(b"decisions", identifier) == decisions_stream(identifier)
    assert trail.derived_id(b"purpose", purpose.encode()) == definition_stream("purpose", purpose)

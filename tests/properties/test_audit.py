"""Whatever is changed in what a log has stored, an audit finds; and an audit finds nothing where nothing was changed."""

from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log.merkle import Node
from shared.log.records import leaf_data
from tests.properties.audited_log import AuditedLog

units = st.lists(st.one_of(st.integers(1, 30), st.integers(100, 300)), min_size=1, max_size=5)
signed = st.sets(st.integers(0, 4)).map(sorted)


@given(units, signed)
def test_what_nobody_touched_is_right(units: list[int], signed: list[int]) -> None:
    assert AuditedLog(units, signed).found() == []


def flip(data: st.DataObject, old: bytes) -> bytes:
    at = data.draw(st.integers(0, len(old) - 1))
    return old[:at] + bytes([old[at] ^ data.draw(st.integers(1, 255))]) + old[at + 1 :]


def alter_entry(log: AuditedLog, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(["stream", "event_id", "header", "envelope"]))
    at = data.draw(st.integers(0, len(log.events) - 1))
    log.alter(at, with_leaf=data.draw(st.booleans()), **{field: flip(data, getattr(log.events[at].entry, field))})


def alter_leaf(log: AuditedLog, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(log.events) - 1))
    log.events[at] = msgspec.structs.replace(log.events[at], leaf=flip(data, log.events[at].leaf))


def remove(log: AuditedLog, data: st.DataObject) -> None:
    del log.events[data.draw(st.integers(0, len(log.events) - 1))]


def swap(log: AuditedLog, data: st.DataObject) -> None:
    one, other = data.draw(st.lists(st.integers(0, len(log.events) - 1), min_size=2, max_size=2, unique=True))
    log.swap(one, other)


def alter_frontier(log: AuditedLog, data: st.DataObject) -> None:
    log.head = msgspec.structs.replace(log.head, merkle_frontier=flip(data, log.head.merkle_frontier))


def alter_checkpoint(log: AuditedLog, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(log.checkpoints) - 1))
    found = log.checkpoints[at]
    note = flip(data, found.note.encode()).decode(errors="replace")
    log.checkpoints[at] = msgspec.structs.replace(found, note=note)


def alter_node(log: AuditedLog, data: st.DataObject) -> None:
    if log.nodes:
        at = data.draw(st.integers(0, len(log.nodes) - 1))
        node = log.nodes[at]
        log.nodes[at] = Node(node.height, node.number, flip(data, node.hash))
    else:
        alter_leaf(log, data)


TAMPERINGS: list[Callable[[AuditedLog, st.DataObject], None]] = [
    alter_entry,
    alter_leaf,
    remove,
    swap,
    alter_frontier,
    alter_checkpoint,
    alter_node,
]


@settings(deadline=None)  # where nothing simpler explains it, half a second goes into looking for two that were swapped
@given(st.sampled_from([2, 2, 2, 250]), st.lists(st.integers(1, 20), max_size=4), st.integers(0, 4), st.data())
def test_whatever_is_changed_is_found(first: int, units: list[int], last: int, data: st.DataObject) -> None:
    log = AuditedLog([first, *units], signed=range(last + 1))
    tamper = data.draw(st.sampled_from(TAMPERINGS))
    tamper(log, data)
    assert log.found()


@given(units, st.data())
def test_one_changed_byte_of_an_event_is_named_with_its_position(units: list[int], data: st.DataObject) -> None:
    log = AuditedLog([2, *units], signed=[0])
    at = data.draw(st.integers(0, len(log.events) - 1))
    log.alter(at, envelope=flip(data, b"envelope"))
    assert log.found() == [("EVENT_ALTERED", at, at)]


@given(st.data())
def test_no_two_events_share_what_their_leaf_is_made_of(data: st.DataObject) -> None:
    """Lengths keep the parts apart: what moves from one part to its neighbour is seen."""
    [event] = AuditedLog([1], []).events
    whole = data.draw(st.binary(max_size=20))
    cut, other = (data.draw(st.integers(0, len(whole))) for _ in range(2))
    made = [
        leaf_data(msgspec.structs.replace(event.entry, event_id=whole[:at], type_id=whole[at:].hex()), 1, 1) for at in (cut, other)
    ]
    assert (made[0] == made[1]) == (cut == other)

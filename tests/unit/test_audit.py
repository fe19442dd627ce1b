"""What was done to a log is found, and named for what it is."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from shared.log import merkle
from shared.log.merkle import Node
from tests.properties.audited_log import AuditedLog


def small() -> AuditedLog:
    """10 events under a checkpoint, 4 after it."""
    return AuditedLog([4, 6, 4], signed=[1])


def large() -> AuditedLog:
    """Three whole blocks and some; checkpoints at 300 and 700, in the middle of blocks."""
    return AuditedLog([300, 400, 100], signed=[0, 1])


@pytest.mark.parametrize("log", [AuditedLog([], []), small(), large(), AuditedLog([256, 256], signed=[0, 1])])
def test_nothing_is_wrong_with_a_log_that_nobody_touched(log: AuditedLog) -> None:
    assert log.found() == []


def altered(position: int) -> list[tuple[str, int, int]]:
    return [("EVENT_ALTERED", position, position)]


@pytest.mark.parametrize("make", [small, large])
@pytest.mark.parametrize(
    "change",
    [
        {"header": b"heades"},
        {"envelope": b"envelopf"},
        {"type_id": "customer.trackee"},
        {"event_id": b"0" * 16},
        {"occurred_at": 99},
        {"schema_version": 2},
    ],
)
def test_an_altered_event_is_named(make: Callable[[], AuditedLog], change: dict[str, Any]) -> None:
    for position in (3, 12):
        log = make()
        log.alter(position, **change)
        assert log.found() == altered(position)


def test_an_altered_instant_is_named() -> None:
    log = small()
    log.alter(3, recorded_at=log.events[3].record.recorded_at - 1)
    assert log.found() == [("TIME_BACKWARDS", 3, 3), *altered(3)]


def test_numbers_that_no_event_can_have_are_named_too() -> None:
    log = small()
    log.alter(3, recorded_at=-1, version=-1)
    assert altered(3)[0] in log.found()


@pytest.mark.parametrize("make", [small, large])
def test_an_altered_version_is_named(make: Callable[[], AuditedLog]) -> None:
    log = make()
    log.alter(3, version=9)
    assert ("VERSION_WRONG", 3, 3) in log.found()
    assert altered(3)[0] in log.found()


@pytest.mark.parametrize("make", [small, large])
def test_an_altered_leaf_is_told_from_an_altered_event(make: Callable[[], AuditedLog]) -> None:
    log = make()
    log.events[5] = msgspec.structs.replace(log.events[5], leaf=bytes(32))
    log.alter(8, header=b"else")
    log.events[13] = msgspec.structs.replace(log.events[13], leaf=b"short")
    assert sorted(log.found()) == [("EVENT_ALTERED", 8, 8), ("LEAF_ALTERED", 5, 5), ("LEAF_ALTERED", 13, 13)]


def test_two_swapped_events_are_named() -> None:
    for make, one, other in ((small, 2, 8), (small, 11, 13), (large, 17, 240), (large, 290, 299), (large, 770, 799)):
        log = make()
        log.swap(one, other)
        assert ("EVENTS_SWAPPED", one, other) in log.found()
        assert {code for code, _, _ in log.found()} <= {"EVENTS_SWAPPED", "VERSION_WRONG", "TIME_BACKWARDS"}


@pytest.mark.parametrize("make", [small, large])
def test_removed_rows_are_named(make: Callable[[], AuditedLog]) -> None:
    log = make()
    last = len(log.events) - 1
    for position in (last, 6, 5):
        del log.events[position]
    assert [found for found in log.found() if found[0] != "VERSION_WRONG"] == [
        ("EVENTS_MISSING", 5, 6),
        ("EVENTS_MISSING", last, last),
    ]


def test_after_removed_rows_whole_blocks_are_still_checked_against_the_checkpoints() -> None:
    log = large()
    log.alter(600, header=b"else", with_leaf=True)
    log.alter(650, header=b"else")
    del log.events[5]
    assert [found for found in log.found() if found[0] != "VERSION_WRONG"] == [
        ("EVENTS_MISSING", 5, 5),
        ("LEAF_MISMATCH", 650, 650),
        ("BLOCK_ALTERED", 512, 767),
    ]


def test_an_event_changed_together_with_its_leaf_is_found_by_its_block() -> None:
    log = large()
    log.alter(400, header=b"else", with_leaf=True)
    assert log.found() == [("BLOCK_ALTERED", 256, 511)]


def test_an_event_changed_with_leaf_and_node_is_found_by_the_checkpoint() -> None:
    log = large()
    log.alter(400, header=b"else", with_leaf=True)
    log.nodes[1] = Node(8, 1, merkle.root_of_leaves(event.leaf for event in log.events[256:512]))
    assert log.found() == [("HISTORY_REWRITTEN", 300, 699)]


def test_history_rewritten_with_everything_but_the_signature_is_found() -> None:
    log = large()
    log.alter(100, header=b"else", with_leaf=True)
    frontier, log.nodes = merkle.append(0, [], [event.leaf for event in log.events])
    log.head = msgspec.structs.replace(log.head, merkle_frontier=merkle.pack(frontier))
    assert log.found() == [("HISTORY_REWRITTEN", 0, 299)]


@pytest.mark.parametrize(
    "change",
    [
        {"next_pos": 13},
        {"next_pos": 15},
        {"next_pos": 10**15},
        {"last_recorded_at": 5},
        {"merkle_frontier": b""},
        {"merkle_frontier": bytes(96)},
    ],
)
def test_a_rewritten_head_is_named(change: dict[str, object]) -> None:
    log = small()
    log.head = msgspec.structs.replace(log.head, **change)
    assert {code for code, _, _ in log.found()} == {"HEAD_ALTERED"}


def test_a_rewritten_checkpoint_is_named() -> None:
    log = small()
    [good] = log.checkpoints
    for note in (good.note.replace("\n10\n", "\n11\n"), good.note[:-4] + "A==\n", "", "customer360"):
        log.checkpoints = [msgspec.structs.replace(good, note=note)]
        assert log.found() == [("CHECKPOINT_ALTERED", None, None)]
    log.checkpoints = [msgspec.structs.replace(good, tree_size=9)]
    assert log.found() == [("CHECKPOINT_ALTERED", None, None)]


def test_a_signature_under_what_never_was_is_contradicted() -> None:
    log = small()
    log.checkpoints.append(log.signed(12, bytes(32)))
    assert log.found() == [("HISTORY_REWRITTEN", 10, 11)]


def test_a_log_that_was_cut_back_together_with_its_head_is_found_by_the_checkpoint() -> None:
    log, shorter = small(), AuditedLog([4], signed=[])
    shorter.checkpoints = log.checkpoints
    assert shorter.found() == [("LOG_TRUNCATED", 4, 9)]


def test_altered_missing_and_added_nodes_are_named() -> None:
    log = large()
    log.nodes[1] = Node(8, 1, bytes(32))
    assert log.found() == [("NODE_ALTERED", None, None)]
    del log.nodes[1]
    assert log.found() == [("NODE_MISSING", None, None)]
    log = large()
    log.nodes.append(Node(7, 1, bytes(32)))
    assert log.found() == [("NODE_UNEXPECTED", None, None)]


def test_a_unit_that_was_had_twice_is_named() -> None:
    log = small()
    first = log.events[2].entry
    for position in (12, 13):
        log.alter(position, event_id=log.events[position - 10].entry.event_id, stream=log.events[position - 10].entry.stream)
    assert log.events[12].entry.stream == first.stream
    assert ("EVENT_DOUBLED", 12, 13) in log.found()


def test_nodes_that_no_tree_has_cost_no_time() -> None:
    log = large()
    log.nodes += [Node(2**31 - 1, number, b"") for number in range(1_000_000)] + [Node(8, -1, b""), Node(0, 0, b"")]
    assert log.found() == [("NODE_UNEXPECTED", None, None)]


def test_missing_rows_are_counted_by_blocks_and_only_so_many() -> None:
    """A few rows, each a million positions after the one before."""
    log = AuditedLog([30], signed=[])
    apart = 1_000_000
    for number, event in enumerate(log.events):
        log.events[number] = msgspec.structs.replace(event, record=msgspec.structs.replace(event.record, pos=number * apart))
    log.head = msgspec.structs.replace(log.head, next_pos=30 * apart)
    found = log.found()
    assert [one for one in found if one[0] == "EVENTS_MISSING"] == [
        ("EVENTS_MISSING", n * apart + 1, n * apart + apart - 1) for n in range(10)
    ]
    assert sum(code == "EVENT_MISPLACED" for code, _, _ in found) == 19


def test_nodes_of_the_second_stored_height_are_checked_too() -> None:
    log = AuditedLog([65_536 + 10], signed=[0], streams=200)
    assert log.found() == []
    [at] = [at for at, node in enumerate(log.nodes) if node.height == 16]
    log.nodes[at] = Node(16, 0, bytes(32))
    assert log.found() == [("NODE_ALTERED", None, None)]


def test_a_second_event_at_a_position_is_out_of_place() -> None:
    log = small()
    log.events.append(log.events[3])
    assert log.found() == [("EVENT_MISPLACED", 3, 3)]

"""What a bundle claims, checked step by step; the first thing that is wrong ends it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from c360_verify.envelope import open_envelope
from c360_verify.merkle import leaf_hash, root_by_path
from c360_verify.notes import Tree, read_checkpoint, read_stream_head
from c360_verify.reading import as_bytes, as_id, checked, parse
from c360_verify.refusal import Refused, require
from c360_verify.trail import streams_of


@dataclass(frozen=True)
class Event:
    """One event that is proved to stand where it says. `personal` is its opened part; None when there is none, or no key."""

    log: str
    partition: int
    position: int
    stream: bytes
    version: int
    type: str
    recorded_us: int
    occurred_us: int
    header: bytes
    sealed: bool
    personal: bytes | None


@dataclass
class Report:
    """What was proved."""

    customer: str
    public_key: bytes
    trees: list[Tree] = field(default_factory=list)
    streams: dict[tuple[str, bytes], list[Event]] = field(default_factory=dict)

    def events(self) -> Iterator[Event]:
        for stream in self.streams.values():
            yield from stream


def check(data: bytes, trusted_key: bytes | None = None) -> Report:
    """`data` is the file. With a trusted key, the bundle's must be the same. Raises Refused."""
    bundle = parse(data)
    public_key = as_bytes(bundle["public_key"], "the public key")
    require(len(public_key) == 32, "a public key is 32 bytes")
    require(trusted_key is None or public_key == trusted_key, "it is signed with another key than the one given with --key")
    report = Report(bundle["customer"], public_key)
    keys = {as_id(stream, "a stream's id"): as_bytes(key, "a data key") for stream, key in bundle["data_keys"].items()}
    counts: dict[str, int] = {}
    for part in bundle["partitions"]:
        _check_partition(checked(part, "partition"), report, keys, counts)
    order = [(tree.log, tree.partition) for tree in report.trees]
    require(order == sorted(set(order)), "its partitions are not in order, or one stands there twice")
    require(len({tree.installation for tree in report.trees}) <= 1, "it mixes the logs of several installations")
    _check_complete(report, as_id(bundle["customer"], "the customer's id"))
    opened = {event.stream for event in report.events() if event.sealed}
    require(keys.keys() <= opened, "it holds a key that opens nothing in it")
    return report


def _check_partition(part: dict[str, Any], report: Report, keys: dict[bytes, bytes], counts: dict[str, int]) -> None:
    tree = read_checkpoint(part["checkpoint"], report.public_key)
    report.trees.append(tree)
    require(bool(part["streams"]), f"{tree.name}: a partition is there for no stream")
    before = b""
    for item in part["streams"]:
        content = checked(item, "stream")
        head = read_stream_head(content["head"], report.public_key)
        name = f"{tree.name} stream {UUID(bytes=head.stream)}"
        require(head.tree == tree, f"{name}: its head is of another tree than the checkpoint")
        require(head.stream > before, f"{tree.name}: its streams are not in order, or one stands there twice")
        require(head.partitions == counts.setdefault(tree.log, head.partitions), f"{name}: heads disagree on the partitions")
        require(_partition_of(head.stream, head.partitions) == tree.partition, f"{name}: it belongs to another partition")
        events = [_check_event(event, tree, head.stream, keys) for event in content["events"]]
        require([event.version for event in events] == [*range(1, head.version + 1)], f"{name}: not all of its versions are there")
        positions = [event.position for event in events]
        require(positions == sorted(set(positions)), f"{name}: its versions don't follow each other in the log")
        require(not events or positions[-1] == head.position, f"{name}: its newest event stands elsewhere than its head says")
        report.streams[tree.log, head.stream] = events
        before = head.stream


def _check_event(value: Any, tree: Tree, stream: bytes, keys: dict[bytes, bytes]) -> Event:
    event = checked(value, "event")
    name = f"{tree.name} position {event['position']}"
    try:
        event_id = as_id(event["event_id"], "its id")
        header, envelope = as_bytes(event["header"], "its header"), as_bytes(event["envelope"], "its envelope")
        path = [as_bytes(node, "its proof") for node in event["proof"]]
        require(all(len(node) == 32 for node in path), "a hash in its proof is not 32 bytes")
        leaf = leaf_hash(leaf_data(event, stream, event_id, header, envelope))
        root = root_by_path(leaf, event["position"], tree.size, path)
        require(
            root == tree.root, "its proof doesn't lead to the root that was signed: the event, its place or the proof was changed"
        )
        personal = None
        if envelope and (key := keys.get(stream)) is not None:
            personal = open_envelope(key, envelope, _binding(event, stream, event_id))
    except Refused as refusal:
        raise Refused(f"{name}: {refusal}") from None
    return Event(
        tree.log,
        tree.partition,
        event["position"],
        stream,
        event["version"],
        event["type"],
        event["recorded_us"],
        event["occurred_us"],
        header,
        bool(envelope),
        personal,
    )


def leaf_data(event: dict[str, Any], stream: bytes, event_id: bytes, header: bytes, envelope: bytes) -> bytes:
    """What the leaf of an event is the hash of: nine parts, each after its length; the envelope by its own hash."""
    try:
        parts = (
            stream,
            event["version"].to_bytes(8, signed=True),
            event_id,
            event["type"].encode(),
            event["schema_version"].to_bytes(4, signed=True),
            event["recorded_us"].to_bytes(8, signed=True),
            event["occurred_us"].to_bytes(8, signed=True),
            header,
            hashlib.sha256(envelope).digest(),
        )
    except (OverflowError, UnicodeEncodeError):
        raise Refused("a number or its type is not one that an event can have") from None
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def _binding(event: dict[str, Any], stream: bytes, event_id: bytes) -> bytes:
    return stream + event_id + f"{event['type']}/{event['schema_version']}".encode()


def _partition_of(stream: bytes, partitions: int) -> int:
    require(partitions > 0, "a log has at least one partition")
    return int.from_bytes(stream[-4:]) % partitions


def _check_complete(report: Report, customer: bytes) -> None:
    """The trail from the customer leads to exactly the streams that are there."""
    require(bool(report.streams.get(("identity", customer))), "it has no birth of the customer that it is about")
    expected = streams_of(customer, report.streams)
    for log, stream in sorted(expected - report.streams.keys()):
        raise Refused(f"{log} stream {UUID(bytes=stream)} belongs to this customer and is not there")
    for log, stream in sorted(report.streams.keys() - expected):
        raise Refused(f"{log} stream {UUID(bytes=stream)} is there and doesn't belong to this customer")

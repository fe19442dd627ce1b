"""A service's log over gRPC, as the checks of `shared.log` want it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from c360.log.v1 import log_pb2 as pb
from c360.log.v1 import log_pb2_grpc

from services.cli.errors import error_info
from shared.events.catalogue import Entry
from shared.log.merkle import Node
from shared.log.placing import Head
from shared.log.prover import MAX_POSITIONS
from shared.log.raw import RawCheckpoint, RawEvent, RawHead
from shared.log.records import Record

if TYPE_CHECKING:
    import grpc


class RemoteLog:
    """`timeout_s` is for calls that answer once; streams take as long as they take."""

    def __init__(self, channel: grpc.Channel, timeout_s: float, log: str = "") -> None:
        """`log` names one of several that the service owns; empty: its first."""
        self._stub: Any = log_pb2_grpc.LogServiceStub(channel)
        self._metadata = (("c360-log", log),) if log else ()
        self._timeout_s = timeout_s

    def describe(self) -> pb.ListPartitionsResponse:
        listed: pb.ListPartitionsResponse = self._stub.ListPartitions(
            pb.ListPartitionsRequest(), timeout=self._timeout_s, metadata=self._metadata
        )
        return listed

    def checkpoint(self, partition: int) -> str:
        """Signed now, or before if nothing has come since."""
        return str(
            self._stub.GetCheckpoint(
                pb.GetCheckpointRequest(partition=partition), timeout=self._timeout_s, metadata=self._metadata
            ).note
        )

    def refusal(self, partition: int) -> str:
        """Why it would not be signed now; empty: it is."""
        import grpc

        try:
            self.checkpoint(partition)
        except grpc.RpcError as error:
            if error_info(error)[0] != "LOG_DAMAGED":
                raise
            return str(error.details())
        return ""

    def checkpoints(self, partition: int) -> Iterator[RawCheckpoint]:
        for page in self._stub.ReadCheckpoints(
            pb.ReadCheckpointsRequest(partition=partition, after_tree_size=-1), metadata=self._metadata
        ):
            yield from (RawCheckpoint(found.tree_size, found.note) for found in page.checkpoints)

    def nodes(self, partition: int) -> Iterator[Node]:
        for page in self._stub.ReadNodes(pb.ReadNodesRequest(partition=partition), metadata=self._metadata):
            yield from (Node(found.height, found.number, found.hash) for found in page.nodes)

    def events(self, partition: int) -> Iterator[RawEvent]:
        for page in self._stub.ReadEvents(pb.ReadEventsRequest(partition=partition), metadata=self._metadata):
            yield from (_event(partition, found) for found in page.events)

    def stream(self, partition: int, stream_id: str, tree_size: int) -> list[RawEvent]:
        pages = self._stub.ReadStream(pb.ReadStreamRequest(stream_id=stream_id, tree_size=tree_size), metadata=self._metadata)
        return [_event(partition, found) for page in pages for found in page.events]

    def stream_head(self, stream_id: str, tree_size: int) -> str:
        request = pb.GetStreamHeadRequest(stream_id=stream_id, tree_size=tree_size)
        return str(self._stub.GetStreamHead(request, timeout=self._timeout_s, metadata=self._metadata).note)

    def inclusions(self, partition: int, tree_size: int, positions: Sequence[int]) -> list[list[bytes]]:
        paths: list[list[bytes]] = []
        for first in range(0, len(positions), MAX_POSITIONS):
            wanted = positions[first : first + MAX_POSITIONS]
            request = pb.GetInclusionProofsRequest(partition=partition, tree_size=tree_size, positions=wanted)
            answer = self._stub.GetInclusionProofs(request, timeout=self._timeout_s, metadata=self._metadata)
            paths += [list(proof.hashes) for proof in answer.proofs]
        return paths


def to_head(found: pb.Partition) -> RawHead:
    head = Head(found.next_position, {}, found.last_recorded_us, 0, found.frontier)
    return RawHead(found.partition, head, found.first_stored_position, found.last_stored_position)


def _event(partition: int, found: pb.Event) -> RawEvent:
    entry = Entry(
        found.stream_id, found.event_id, found.type, found.schema_version, found.occurred_us, found.header, found.envelope
    )
    return RawEvent(Record(partition, found.position, found.version, found.recorded_us, entry), found.leaf)

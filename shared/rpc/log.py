"""Serves a service's log to those who check it; the same servicer in all services."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from c360.log.v1 import log_pb2 as pb
from c360.log.v1 import log_pb2_grpc

from shared.errors import InvalidInput
from shared.ids import from_text, partition_of
from shared.instants import Clock
from shared.log.checkpoints import Checkpoints, Known, nothing_known
from shared.log.prover import Prover
from shared.log.raw import SMALLEST, RawEvent, RawLog
from shared.rpc.server import RpcServer
from shared.vault import Keyring

PAGE_BYTES = 1024 * 1024  # of envelopes and headers; with one event of any size above it a message stays below gRPC's limit
END = 2**63 - 1
LAST_PARTITION = 2**31 - 1  # that a log can have; a request may name others


def serve_log(
    server: RpcServer, pool: Any, log: str, keyring: Keyring, clock: Clock, partitions: int = 1, known: Known = nothing_known
) -> Checkpoints:
    """Adds the LogService of the log that `log` names. Run what is returned in the background: it signs at an interval."""
    checkpoints = Checkpoints(pool, log, keyring, clock, partitions, known)
    api = LogApi(log, RawLog(pool), Prover(pool), checkpoints)
    server.add(log_pb2_grpc.add_LogServiceServicer_to_server, api, "c360.log.v1.LogService")
    return checkpoints


class LogApi(log_pb2_grpc.LogServiceServicer):
    def __init__(self, log: str, raw: RawLog, prover: Prover, checkpoints: Checkpoints) -> None:
        self._log = log
        self._raw = raw
        self._prover = prover
        self._checkpoints = checkpoints

    async def ListPartitions(self, request: pb.ListPartitionsRequest, context: Any) -> pb.ListPartitionsResponse:
        return pb.ListPartitionsResponse(
            log=self._log,
            public_key=self._checkpoints.public_key,
            partition_count=self._checkpoints.partitions,
            stored_partitions=await self._raw.partitions(),
            partitions=[
                pb.Partition(
                    partition=found.partition,
                    origin=self._checkpoints.origin(found.partition),
                    next_position=found.head.next_pos,
                    frontier=found.head.merkle_frontier,
                    last_recorded_us=found.head.last_recorded_at,
                    first_stored_position=found.first_pos,
                    last_stored_position=found.last_pos,
                )
                for found in await self._raw.heads()
                if 0 <= found.partition < self._checkpoints.partitions
            ],
        )

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Any) -> pb.GetCheckpointResponse:
        return pb.GetCheckpointResponse(note=await self._checkpoints.on_demand(request.partition))

    async def ReadCheckpoints(self, request: pb.ReadCheckpointsRequest, context: Any) -> AsyncIterator[pb.ReadCheckpointsResponse]:
        async with aclosing(self._raw.checkpoints(_partition(request), request.after_tree_size)) as pages:
            async for page in pages:
                yield pb.ReadCheckpointsResponse(
                    checkpoints=[pb.StoredCheckpoint(tree_size=found.tree_size, note=found.note) for found in page]
                )

    async def GetInclusionProofs(self, request: pb.GetInclusionProofsRequest, context: Any) -> pb.GetInclusionProofsResponse:
        paths = await self._prover.inclusions(_partition(request), request.positions, request.tree_size)
        return pb.GetInclusionProofsResponse(proofs=[pb.Proof(hashes=path) for path in paths])

    async def GetConsistencyProof(self, request: pb.GetConsistencyProofRequest, context: Any) -> pb.GetConsistencyProofResponse:
        path = await self._prover.consistency(_partition(request), request.old_tree_size, request.new_tree_size)
        return pb.GetConsistencyProofResponse(proof=pb.Proof(hashes=path))

    async def GetStreamHead(self, request: pb.GetStreamHeadRequest, context: Any) -> pb.GetStreamHeadResponse:
        stream = from_text(request.stream_id, "stream")
        partition, note = await self._checkpoints.stream_head(stream, request.tree_size)
        return pb.GetStreamHeadResponse(partition=partition, note=note)

    async def ReadEvents(self, request: pb.ReadEventsRequest, context: Any) -> AsyncIterator[pb.ReadEventsResponse]:
        first = request.first_position if request.HasField("first_position") else SMALLEST
        async with aclosing(self._raw.events(_partition(request), first)) as pages:
            async for page in pages:
                for part in _parts(page):
                    yield pb.ReadEventsResponse(events=[_event(raw) for raw in part])

    async def ReadStream(self, request: pb.ReadStreamRequest, context: Any) -> AsyncIterator[pb.ReadStreamResponse]:
        stream = from_text(request.stream_id, "stream")
        partition = partition_of(stream, self._checkpoints.partitions)
        async with aclosing(
            self._raw.stream(partition, stream, request.tree_size if request.HasField("tree_size") else END)
        ) as pages:
            async for page in pages:
                for part in _parts(page):
                    yield pb.ReadStreamResponse(events=[_event(raw) for raw in part])

    async def ReadNodes(self, request: pb.ReadNodesRequest, context: Any) -> AsyncIterator[pb.ReadNodesResponse]:
        async with aclosing(self._raw.nodes(_partition(request))) as pages:
            async for page in pages:
                yield pb.ReadNodesResponse(nodes=[pb.Node(height=node.height, number=node.number, hash=node.hash) for node in page])


def _partition(request: Any) -> int:
    """Raises InvalidInput (PARTITION_UNKNOWN)."""
    if request.partition > LAST_PARTITION:
        raise InvalidInput("a log has no such partition", reason="PARTITION_UNKNOWN", partition=request.partition)
    return int(request.partition)


def _parts(page: Sequence[RawEvent]) -> Iterator[list[RawEvent]]:
    """A page in pieces that fit into a message."""
    part: list[RawEvent] = []
    room = PAGE_BYTES
    for raw in page:
        part.append(raw)
        room -= len(raw.entry.header) + len(raw.entry.envelope)
        if room <= 0:
            yield part
            part, room = [], PAGE_BYTES
    if part:
        yield part


def _event(raw: RawEvent) -> pb.Event:
    record, entry = raw.record, raw.record.entry
    return pb.Event(
        position=record.pos,
        stream_id=entry.stream,
        version=record.version,
        event_id=entry.event_id,
        type=entry.type_id,
        schema_version=entry.schema_version,
        recorded_us=record.recorded_at,
        occurred_us=entry.occurred_at,
        header=entry.header,
        envelope=entry.envelope,
        leaf=raw.leaf,
    )

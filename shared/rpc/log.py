"""Serves a service's log to those who check it; the same servicer in all services."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from c360.log.v1 import log_pb2 as pb
from c360.log.v1 import log_pb2_grpc

from shared.errors import InvalidInput, NotFound
from shared.ids import from_text, partition_of
from shared.instants import Clock
from shared.log.checkpoints import Checkpoints, Known, nothing_known
from shared.log.prover import Prover
from shared.log.raw import SMALLEST, RawEvent, RawLog
from shared.rpc.server import RpcServer
from shared.vault import Keyring

LOG_KEY: Final = "c360-log"  # in the metadata of a call: which log is meant, of a service that owns several
PAGE_BYTES = 1024 * 1024  # of envelopes and headers; with one event of any size above it a message stays below gRPC's limit
END = 2**63 - 1
LAST_PARTITION = 2**31 - 1  # that a log can have; a request may name others


class Served(NamedTuple):
    """A log of a service, its name first."""

    log: str
    raw: RawLog
    prover: Prover
    checkpoints: Checkpoints


def log_of(pool: Any, log: str, keyring: Keyring, clock: Clock, partitions: int = 1, known: Known = nothing_known) -> Served:
    """`pool`'s search path names its schema."""
    return Served(log, RawLog(pool), Prover(pool), Checkpoints(pool, log, keyring, clock, partitions, known))


def serve_log(
    server: RpcServer, pool: Any, log: str, keyring: Keyring, clock: Clock, partitions: int = 1, known: Known = nothing_known
) -> Checkpoints:
    """As `serve_logs`, of the only log that a service has."""
    served = log_of(pool, log, keyring, clock, partitions, known)
    serve_logs(server, served)
    return served.checkpoints


def serve_logs(server: RpcServer, first: Served, *others: Served) -> None:
    """Adds the LogService of a service's logs. Run the checkpoints of each in the background: they sign at an interval."""
    server.add(log_pb2_grpc.add_LogServiceServicer_to_server, LogApi(first, *others), "c360.log.v1.LogService")


class LogApi(log_pb2_grpc.LogServiceServicer):
    """The first of the logs is meant where a call names none."""

    def __init__(self, first: Served, *others: Served) -> None:
        self._first = first
        self._logs = {one.log: one for one in (first, *others)}

    def _of(self, context: Any) -> Served:
        """Raises NotFound (LOG_UNKNOWN)."""
        for key, name in context.invocation_metadata() or ():
            if key == LOG_KEY:
                if name not in self._logs:
                    raise NotFound("this service has no such log", reason="LOG_UNKNOWN")
                return self._logs[name]
        return self._first

    async def ListPartitions(self, request: pb.ListPartitionsRequest, context: Any) -> pb.ListPartitionsResponse:
        of = self._of(context)
        return pb.ListPartitionsResponse(
            log=of.log,
            public_key=of.checkpoints.public_key,
            partition_count=of.checkpoints.partitions,
            stored_partitions=await of.raw.partitions(),
            partitions=[
                pb.Partition(
                    partition=found.partition,
                    origin=of.checkpoints.origin(found.partition),
                    next_position=found.head.next_pos,
                    frontier=found.head.merkle_frontier,
                    last_recorded_us=found.head.last_recorded_at,
                    first_stored_position=found.first_pos,
                    last_stored_position=found.last_pos,
                )
                for found in await of.raw.heads()
                if 0 <= found.partition < of.checkpoints.partitions
            ],
        )

    async def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: Any) -> pb.GetCheckpointResponse:
        of = self._of(context)
        return pb.GetCheckpointResponse(note=await of.checkpoints.on_demand(request.partition))

    async def ReadCheckpoints(self, request: pb.ReadCheckpointsRequest, context: Any) -> AsyncIterator[pb.ReadCheckpointsResponse]:
        of = self._of(context)
        async with aclosing(of.raw.checkpoints(_partition(request), request.after_tree_size)) as pages:
            async for page in pages:
                yield pb.ReadCheckpointsResponse(
                    checkpoints=[pb.StoredCheckpoint(tree_size=found.tree_size, note=found.note) for found in page]
                )

    async def GetInclusionProofs(self, request: pb.GetInclusionProofsRequest, context: Any) -> pb.GetInclusionProofsResponse:
        of = self._of(context)
        paths = await of.prover.inclusions(_partition(request), request.positions, request.tree_size)
        return pb.GetInclusionProofsResponse(proofs=[pb.Proof(hashes=path) for path in paths])

    async def GetConsistencyProof(self, request: pb.GetConsistencyProofRequest, context: Any) -> pb.GetConsistencyProofResponse:
        of = self._of(context)
        path = await of.prover.consistency(_partition(request), request.old_tree_size, request.new_tree_size)
        return pb.GetConsistencyProofResponse(proof=pb.Proof(hashes=path))

    async def GetStreamHead(self, request: pb.GetStreamHeadRequest, context: Any) -> pb.GetStreamHeadResponse:
        of = self._of(context)
        stream = from_text(request.stream_id, "stream")
        partition, note = await of.checkpoints.stream_head(stream, request.tree_size)
        return pb.GetStreamHeadResponse(partition=partition, note=note)

    async def ReadEvents(self, request: pb.ReadEventsRequest, context: Any) -> AsyncIterator[pb.ReadEventsResponse]:
        of = self._of(context)
        first = request.first_position if request.HasField("first_position") else SMALLEST
        async with aclosing(of.raw.events(_partition(request), first)) as pages:
            async for page in pages:
                for part in _parts(page):
                    yield pb.ReadEventsResponse(events=[_event(raw) for raw in part])

    async def ReadStream(self, request: pb.ReadStreamRequest, context: Any) -> AsyncIterator[pb.ReadStreamResponse]:
        of = self._of(context)
        stream = from_text(request.stream_id, "stream")
        partition = partition_of(stream, of.checkpoints.partitions)
        async with aclosing(of.raw.stream(partition, stream, request.tree_size if request.HasField("tree_size") else END)) as pages:
            async for page in pages:
                for part in _parts(page):
                    yield pb.ReadStreamResponse(events=[_event(raw) for raw in part])

    async def ReadNodes(self, request: pb.ReadNodesRequest, context: Any) -> AsyncIterator[pb.ReadNodesResponse]:
        of = self._of(context)
        async with aclosing(of.raw.nodes(_partition(request))) as pages:
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

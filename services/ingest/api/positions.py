"""Positions in answers over gRPC."""

from typing import overload

from c360.common.v1.common_pb2 import Position

from services.ingest.domain.sources import PARTITION


@overload
def position(log: str, number: int) -> Position: ...
@overload
def position(log: str, number: int | None) -> Position | None: ...
def position(log: str, number: int | None) -> Position | None:
    """Of "source", "ingest" or "customer", each of which has one partition; None stands nowhere."""
    return None if number is None else Position(log=log, partition=PARTITION, number=number)

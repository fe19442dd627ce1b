"""What changed in a lake's customers with no event: windows that ran out, addresses that were confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from services.cli.client import connect
from services.cli.lake.manifest import Manifest
from services.cli.lake.shapes import to_us
from services.cli.options import DEFAULT_TIMEOUT_S

if TYPE_CHECKING:
    from c360.profile.v1 import export_pb2

REFRESHED_AT_ONCE = 200  # customers of a call, each some milliseconds at the most


class Lapsed(NamedTuple):
    """Of customers up to one, by id, so many of so many; `goes_on`: behind `through_us` is more to look at."""

    traits: list[export_pb2.ExportedTraits]
    customer: str
    through_us: int
    goes_on: bool
    looked_at: int = 0
    customers: int = 0


def lapsed_of(people: Iterable[list[str]], manifest: Manifest, since_us: int, stopped: Callable[[], bool]) -> Iterator[Lapsed]:
    """Of the customers in a lake, in the order of their ids, under the first rules since then by which anything changes so; goes on
    where one before was interrupted. Nothing when there are no such rules, else at least one. Raises CommandError."""
    from c360.profile.v1 import export_pb2, export_pb2_grpc

    with connect("profile") as channel:
        stub = export_pb2_grpc.ExportServiceStub(channel)
        request = export_pb2.RefreshExportedRequest(purpose=manifest.purpose)
        request.since.FromMicroseconds(since_us)
        if manifest.passing is not None:
            request.through.FromMicroseconds(manifest.passing.through_us)
        known = stub.RefreshExported(request, timeout=DEFAULT_TIMEOUT_S)
        if not known.can_lapse:
            return
        request.through.CopyFrom(known.through)
        after = manifest.passing.customer if manifest.passing else ""
        goes_on = known.goes_on or manifest.passing is not None  # time has passed since
        yield Lapsed([], after, to_us(known.through), goes_on)
        ids = sorted({one for some in people for one in some if one > after})
        for begin in range(0, len(ids), REFRESHED_AT_ONCE):
            if stopped():
                return
            del request.customer_ids[:]
            request.customer_ids.extend(ids[begin : begin + REFRESHED_AT_ONCE])
            answer = stub.RefreshExported(request, timeout=DEFAULT_TIMEOUT_S)
            looked_at = begin + len(request.customer_ids)
            yield Lapsed(list(answer.traits), request.customer_ids[-1], to_us(known.through), goes_on, looked_at, len(ids))

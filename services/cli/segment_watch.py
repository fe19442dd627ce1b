"""`c360 segments watch`: who is in a segment, and who enters and leaves, as it happens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import render
from services.cli.options import MOST, AsJson, PurposeOption
from services.cli.reconnecting import reconnecting

if TYPE_CHECKING:
    from c360.profile.v1 import watch_pb2

ENTERED = "entered"
LEFT = "left"
WITHIN = "in"  # when the watch began


class Members:
    """Who is in, by what a watch told, found by the hashes of their ids too."""

    def __init__(self) -> None:
        self._held: dict[bytes, str] = {}
        self._begun = False

    def take(self, response: watch_pb2.WatchProfilesResponse) -> Iterator[tuple[str, str]]:
        """(customer, what became of it)."""
        for change in response.changes:
            gone = {hash_of(member) for member in change.member_ids} | set(change.gone.customer_hashes)
            if change.HasField("profile"):
                own = hash_of(change.customer_id)
                gone.discard(own)
                if own not in self._held:
                    self._held[own] = change.customer_id
                    yield change.customer_id, ENTERED if self._begun else WITHIN
            for left in sorted(gone & self._held.keys()):
                yield self._held.pop(left), LEFT
        self._begun |= bool(response.positions) and not response.events_behind


def hash_of(customer_id: str) -> bytes:
    return hashlib.sha256(customer_id.encode()).digest()


def watch(
    segment: Annotated[str, typer.Argument(metavar="SEGMENT", help="Its name.")],
    *,
    purpose: PurposeOption,
    count: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Stop after so many lines. Default: go on until Ctrl-C.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show who is in a segment and then who enters and leaves, until Ctrl-C. With --json: one line per customer and change.

    Who doesn't permit the purpose isn't shown, and has left when that changes. A connection that breaks is made again, from there on.

    Example:
      c360 segments watch lapsed --purpose marketing
    """
    from c360.profile.v1 import watch_pb2
    from google.protobuf.field_mask_pb2 import FieldMask

    request = watch_pb2.WatchProfilesRequest(segment=segment, purpose=purpose, read_mask=FieldMask(paths=["customer_id"]))
    members = Members()
    try:
        told = (one for response in reconnecting(lambda: _stream(request)) for one in members.take(response))
        for number, (customer, change) in enumerate(told, start=1):
            render.line({"customer_id": customer, "change": change}) if as_json else render.say(f"{customer}  {change}")
            if number == count:
                return
    except KeyboardInterrupt:
        render.note("stopped")


def _stream(request: watch_pb2.WatchProfilesRequest) -> Iterator[watch_pb2.WatchProfilesResponse]:
    """Begun again it goes on behind what was taken."""
    from c360.profile.v1 import watch_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        call = watch_pb2_grpc.WatchServiceStub(channel).WatchProfiles(request)
        try:
            for response in call:
                yield response
                request.resume_place = response.place or request.resume_place
        finally:
            call.cancel()

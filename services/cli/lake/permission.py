"""Whose rows may not stay: whoever doesn't permit the lake's purpose any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from services.cli.client import connect
from services.cli.options import DEFAULT_TIMEOUT_S

CHECKED_AT_ONCE = 1_000  # as many as the service takes


def refused_of(people: Iterable[list[str]], purpose: str, stopped: Callable[[], bool]) -> set[str]:
    """Of the customers in a lake, whoever has to go. Keeps some hundred bytes for each of them. Raises CommandError."""
    from c360.profile.v1 import export_pb2, export_pb2_grpc

    refused: set[str] = set()
    known: set[bytes] = set()
    with connect("profile") as channel:
        stub = export_pb2_grpc.ExportServiceStub(channel)

        def ask(ids: list[str]) -> export_pb2.CheckExportedResponse:
            return stub.CheckExported(export_pb2.CheckExportedRequest(purpose=purpose, customer_ids=ids), timeout=DEFAULT_TIMEOUT_S)

        if not ask([]).can_end:
            return refused
        for ids in people:
            new = [one for one in ids if UUID(one).bytes not in known]
            known.update(UUID(one).bytes for one in new)
            for begin in range(0, len(new), CHECKED_AT_ONCE):
                if stopped():
                    return refused
                refused.update(ask(new[begin : begin + CHECKED_AT_ONCE]).refused_customer_ids)
    return refused

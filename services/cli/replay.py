"""`c360 profile replay`: a customer version by version, replayed apart from the code that serves reads."""

from __future__ import annotations

from typing import Any

import typer

from services.cli import render
from services.cli.options import AsJson, Fresh, PersonRef, PurposeOption, TimeoutS
from services.cli.profile import kind_of

TIMEOUT_S = 60.0  # a replay hashes the state at every version
HASH_SHOWN = 16  # characters; --json has all
COLUMNS = ("customer", "version", "kind", "happened", "event", "state after it")


def replay(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = TIMEOUT_S,
) -> None:
    """Replay a customer version by version, and compare the result with what is served.

    Exit code 1 when they differ. With --json: one line per version, then the outcome.
    """
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = profile_pb2.ReplayCustomerRequest(
        customer=messages.customer_ref(person), purpose=purpose, at_least_as_fresh=messages.positions(fresh)
    )
    rows: list[tuple[Any, ...]] = []
    with connect("profile") as channel:
        for answer in profile_pb2_grpc.ProfileServiceStub(channel).ReplayCustomer(request, timeout=timeout_s):
            shown = messages.plain(getattr(answer, answer.WhichOneof("result") or "step"))
            if as_json:
                render.line(shown)
            elif answer.HasField("step"):
                rows.append(_row(shown))
    if not as_json:
        render.table("Replayed", COLUMNS, rows)
        render.facts([("replayed", shown["state_hash"]), ("served", shown["served_state_hash"]), ("agrees", shown["agrees"])])
    if not shown["agrees"]:
        raise typer.Exit(1)


def _row(step: dict[str, Any]) -> tuple[Any, ...]:
    return (
        step["customer_id"],
        step["version"],
        kind_of(step),
        step["occur_time"],
        step["event_id"],
        f"{step['state_hash'][:HASH_SHOWN]}…",
    )

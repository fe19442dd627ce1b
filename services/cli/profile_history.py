"""`c360 profile diff`: what differs between two points in a customer's past, and what made the difference."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import render
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    AsJson,
    Fresh,
    KnownAt,
    PersonRef,
    PurposeOption,
    TimeoutS,
    ValidAt,
    instant_parser,
)

if TYPE_CHECKING:
    from c360.profile.v1 import history_pb2

SHORT_ID = 8  # characters from the end of an id: enough to tell two apart


class Clock(StrEnum):
    known = "known"
    happened = "happened"


ByClock = Annotated[Clock, typer.Option("--clock", help="What the instants mean: what our log knew by then, or what had happened.")]
From = Annotated[
    datetime | None,
    typer.Option("--from", metavar="INSTANT", parser=instant_parser, help="The first point: ISO 8601, now, or an age such as -2h."),
]
To = Annotated[
    datetime | None, typer.Option("--to", metavar="INSTANT", parser=instant_parser, help="The second point. Default: now.")
]


def diff(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    since: From = None,
    until: To = None,
    clock: ByClock = Clock.known,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    traits: Annotated[list[str] | None, typer.Option("--trait", metavar="NAME", help="Only this trait. Repeatable.")] = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what differs in a profile between two points, and which event made each difference.

    The instants are of what our log knew, or with --clock happened of what had happened; --valid-at or --known-at sets the
    other clock for both points. From a later point to an earlier one, it tells what would have to be undone.

    Examples:
      c360 profile diff user_id:u1 --purpose audit --from -7d
      c360 profile diff user_id:u1 --purpose audit --from -30d --to -7d --clock happened --known-at 2026-03-03T10:02:11Z
    """
    from c360.profile.v1 import history_pb2, history_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    def point(instant: datetime | None) -> history_pb2.Point:
        happened, known = (valid_at, instant) if clock is Clock.known else (instant, known_at)
        return history_pb2.Point(valid_at=messages.timestamp(happened), known_at=messages.timestamp(known))

    _check_other_clock(clock, valid_at, known_at)
    request = history_pb2.DiffProfileRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        old=point(since),
        new=point(until),
        traits=traits,
        at_least_as_fresh=messages.positions(fresh),
    )
    with connect("profile") as channel:
        answer = history_pb2_grpc.HistoryServiceStub(channel).DiffProfile(request, timeout=timeout_s)
    shown = messages.plain(answer)
    render.document(shown) if as_json else _show(shown)


def _check_other_clock(clock: Clock, valid_at: datetime | None, known_at: datetime | None) -> None:
    taken, given = ("--known-at", known_at) if clock is Clock.known else ("--valid-at", valid_at)
    if given is not None:
        raise typer.BadParameter(f"{taken} is what --from and --to say here")


def _show(shown: dict[str, Any]) -> None:
    old, new = shown["old"], shown["new"]
    render.facts(
        [
            ("customer", (new or old)["customer_id"]),
            ("purpose", shown["purpose_version"]),
            ("version", f"{_of(old, 'version')} → {_of(new, 'version')}"),
            ("last seen", f"{_of(old, 'last_seen_time')} → {_of(new, 'last_seen_time')}"),
            ("left out for their size", shown["cut_count"] or None),
        ]
    )
    columns = ("because of", "source", "happened", "known", "event")
    traits = [(one["name"], _value(one["old"]), _value(one["new"]), *_cause(one["cause"])) for one in shown["traits"]]
    render.table("Traits", ("trait", "old", "new", *columns), traits)
    identifiers = [
        (
            "linked" if one["linked"] else "gone",
            f"{one['identifier']['namespace']}:{one['identifier']['value']}",
            *_cause(one["cause"]),
        )
        for one in shown["identifiers"]
    ]
    members = [("joined" if one["joined"] else "left", one["customer_id"], *_cause(one["cause"])) for one in shown["members"]]
    for title, name, rows in (("Identifiers", "identifier", identifiers), ("Customers", "customer", members)):
        if rows:
            render.table(title, ("", name, *columns), rows)
    if shown["withheld"]:
        render.table("Withheld", ("field", "reason"), [(one["field"], one["reason"]) for one in shown["withheld"]])


def _of(standing: dict[str, Any] | None, field: str) -> str:
    return "nothing yet" if standing is None else render.as_text(standing[field] or "")


def _value(trait: dict[str, Any] | None) -> str:
    return "-" if trait is None else render.as_text(trait["value"]) + (" (verified)" if trait["verified"] else "")


def _cause(cause: dict[str, Any] | None) -> tuple[str, ...]:
    if cause is None:
        return "-", "-", "-", "-", "-"
    kind = f"{cause['kind']} (undone)" if cause["undone"] else cause["kind"]
    return kind, cause["source"], cause["occur_time"], cause["record_time"], f"…{cause['event_id'][-SHORT_ID:]}"

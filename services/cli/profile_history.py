"""`c360 profile diff` and `history`: what changed in a golden record, when, and which event made each change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import paging, render
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    Fresh,
    KnownAt,
    PersonRef,
    PurposeOption,
    Rules,
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
    rules: Rules = None,
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
        rules=messages.rules_choice(rules),
        traits=traits,
        at_least_as_fresh=messages.positions(fresh),
    )
    with connect("profile") as channel:
        answer = history_pb2_grpc.HistoryServiceStub(channel).DiffProfile(request, timeout=timeout_s)
    shown = messages.plain(answer)
    render.document(shown) if as_json else _show(shown)


def history(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    clock: Annotated[
        Clock, typer.Option("--clock", help="In the order in which our log learnt of it, or in which it happened.")
    ] = Clock.known,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    rules: Rules = None,
    traits: Annotated[list[str] | None, typer.Option("--trait", metavar="NAME", help="Only this trait. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many changes to show, earliest first.")] = 500,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how a golden record came to be: every change of it, earliest first, with the event that made it.

    As it came to be known, or with --clock happened as it came to be, by what is known now. --valid-at and --known-at say up to
    where. With --json: one line each. What every event said, used or not, is in `c360 profile timeline`.

    Examples:
      c360 profile history user_id:u1 --purpose audit
      c360 profile history user_id:u1 --purpose audit --trait email --clock happened
    """
    from c360.profile.v1 import history_pb2

    from services.cli import messages

    request = history_pb2.ListProfileChangesRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        order=history_pb2.CHANGE_ORDER_KNOWN if clock is Clock.known else history_pb2.CHANGE_ORDER_HAPPENED,
        until=history_pb2.Point(valid_at=messages.timestamp(valid_at), known_at=messages.timestamp(known_at)),
        rules=messages.rules_choice(rules),
        traits=traits,
        at_least_as_fresh=messages.positions(fresh),
    )
    changes = (messages.plain(change) for change in _changes(request, limit, timeout_s))
    if as_json:
        for change in changes:
            render.line(change)
        return
    columns = ("known" if clock is Clock.known else "happened", "what", "before", "after", "because of", "source", "event")
    render.table("Changes, earliest first", columns, [_row(change) for change in changes])


def _changes(request: history_pb2.ListProfileChangesRequest, limit: int, timeout_s: float) -> Iterator[history_pb2.DatedChange]:
    from c360.profile.v1 import history_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        yield from paging.entries(stub.ListProfileChanges, request, "changes", limit, timeout_s)


def _row(change: dict[str, Any]) -> tuple[str, ...]:
    trait, identifier, member = change["trait"], change["identifier"], change["member"]
    if trait is not None:
        what = trait["name"], _value(trait["old"]), _value(trait["new"])
    elif identifier is not None:
        named = f"{identifier['identifier']['namespace']}:{identifier['identifier']['value']}"
        what = ("identifier", "-", named) if identifier["linked"] else ("identifier", named, "-")
    else:
        what = ("customer", "-", member["customer_id"]) if member["joined"] else ("customer", member["customer_id"], "-")
    kind, source, _, _, event = _cause((trait or identifier or member)["cause"])
    return change["change_time"], *what, kind, source, event


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

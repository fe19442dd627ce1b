"""`c360 profile diff` and `history`: what changed in a profile, when, and what made each change."""

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
    Version,
    instant_parser,
)
from services.cli.profile_changes import TOLD, cause_of, coming

if TYPE_CHECKING:
    from c360.profile.v1 import history_pb2


class Clock(StrEnum):
    known = "known"
    happened = "happened"


ByClock = Annotated[Clock, typer.Option("--clock", help="What the instants mean: what our log knew by then, or what had happened.")]
From = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        metavar="INSTANT",
        parser=instant_parser,
        help="The first point: ISO 8601 (UTC without an offset), now, or an age such as -2h.",
    ),
]
To = Annotated[
    datetime | None,
    typer.Option("--to", metavar="INSTANT", parser=instant_parser, help="The second point, UTC without an offset. Default: now."),
]
FromVersion = Annotated[
    int | None,
    typer.Option(
        "--from-version", metavar="N", min=1, max=MOST, help="Instead of --from: once the customer's stream had come to it."
    ),
]
ToVersion = Annotated[
    int | None,
    typer.Option("--to-version", metavar="N", min=1, max=MOST, help="Instead of --to: once the customer's stream had come to it."),
]
SaidAgain = Annotated[
    bool, typer.Option("--said-again", help="Also traits whose value is the same, and which another event or source says now.")
]


def diff(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    since: From = None,
    until: To = None,
    since_version: FromVersion = None,
    until_version: ToVersion = None,
    clock: ByClock = Clock.known,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    rules: Rules = None,
    traits: Annotated[list[str] | None, typer.Option("--trait", metavar="NAME", help="Only this trait. Repeatable.")] = None,
    said_again: SaidAgain = False,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what differs in a profile between two points, and what made each difference: an event, a decision, time or other rules.

    The instants are of what our log knew, or with --clock happened of what had happened; --valid-at or --known-at (or
    --version) sets the other clock for both points. From a later point to an earlier one, it tells what would have to be undone.

    A trait that another event or source says, with the same value, is no difference: such are counted, and shown with --said-again.

    Examples:
      c360 profile diff user_id:u1 --purpose audit --from -7d
      c360 profile diff user_id:u1 --purpose audit --from-version 3 --to-version 7
      c360 profile diff user_id:u1 --purpose audit --from -30d --to -7d --clock happened --known-at 2026-03-03T10:02:11Z
    """
    from c360.profile.v1 import history_pb2, history_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    def point(instant: datetime | None, at_version: int | None) -> history_pb2.Point:
        happened, known = (valid_at, instant) if clock is Clock.known else (instant, known_at)
        times = {"valid_at": messages.timestamp(happened), "known_at": messages.timestamp(known)}
        return history_pb2.Point(**times, version=at_version or version or 0)

    _check_clock(clock, valid_at, known_at, version, (since_version, until_version))
    request = history_pb2.DiffProfileRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        old=point(since, since_version),
        new=point(until, until_version),
        rules=messages.rules_choice(rules),
        traits=traits,
        said_again=said_again,
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
    version: Version = None,
    rules: Rules = None,
    traits: Annotated[list[str] | None, typer.Option("--trait", metavar="NAME", help="Only this trait. Repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many changes to show, earliest first.")] = 500,
    said_again: SaidAgain = False,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how a profile came to be: every change of it, earliest first, with what made it; what is withheld is named at the end.

    As it came to be known, or with --clock happened as it came to be, by what is known now. --valid-at and --known-at (or
    --version) say up to where. What changed by time alone stands at the instant at which it did; how long ago something was is told when it happens and
    at the end. A value that was only said again is told with --said-again. With --json: one line each. What every event said, used or not, is in `c360 profile timeline`.

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
        until=history_pb2.Point(valid_at=messages.timestamp(valid_at), known_at=messages.timestamp(known_at), version=version or 0),
        rules=messages.rules_choice(rules),
        traits=traits,
        said_again=said_again,
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

    withheld: dict[str, str] = {}
    not_all_kept = False

    def page(asked: history_pb2.ListProfileChangesRequest, timeout: float) -> history_pb2.ListProfileChangesResponse:
        nonlocal not_all_kept
        found: history_pb2.ListProfileChangesResponse = stub.ListProfileChanges(asked, timeout=timeout)
        not_all_kept |= found.not_all_kept
        withheld.update({one.field: one.reason for one in found.withheld})
        return found

    with connect("profile") as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        yield from paging.entries(page, request, "changes", limit, timeout_s)
    if withheld:
        told = ", ".join(f"{field} ({reason})" for field, reason in sorted(withheld.items()))
        render.note(render.printable(f"withheld: {told}"))
    if not_all_kept:
        render.note(NOT_ALL_KEPT)


def _row(change: dict[str, Any]) -> tuple[str, ...]:
    kind, one = next((kind, one) for kind, one in change.items() if kind in TOLD and one is not None)
    cause, source, _, _, event = cause_of(one)
    return change["change_time"], *TOLD[kind](one), cause, source, event


NOT_ALL_KEPT = "more was told of the customer than there is room for: what of that changed isn't told (profile get says what it is)"

# What is there or not: its title, its kind, its field, and the words for having come and gone.
_MEMBERSHIPS = (
    ("Identifiers", "identifier", "identifiers", ("linked", "gone")),
    ("Customers", "member", "members", ("joined", "left")),
    ("Segments", "segment", "segments", ("entered", "left")),
)


def _check_clock(
    clock: Clock, valid_at: datetime | None, known_at: datetime | None, version: int | None, between: tuple[int | None, int | None]
) -> None:
    """What the two points say can't be said for both besides."""
    if clock is Clock.known and version is not None:
        raise typer.BadParameter("--version is of both points, with --clock happened; of one it is --from-version or --to-version")
    if clock is Clock.happened and any(between):
        raise typer.BadParameter("--from-version and --to-version are of what our log knew; --version is of both points")
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
            ("rules", _rules(old, new)),
            ("last seen", f"{_of(old, 'last_seen_time')} → {_of(new, 'last_seen_time')}"),
            ("traits only said again", _said_again(shown["said_again_count"])),
            ("left out for their size", shown["cut_count"] or None),
        ]
    )
    columns = ("because of", "source", "happened", "known", "event")
    traits = [(*TOLD["trait"](one), *cause_of(one)) for one in shown["traits"]]
    render.table("Traits", ("trait", "before", "after", *columns), traits)
    decided = [(one["purpose"], *TOLD["decided"](one)[1:], *cause_of(one)) for one in shown["decided"]]
    if decided:
        render.table("Consent", ("purpose", "before", "after", *columns), decided)
    for title, name, field, (came, went) in _MEMBERSHIPS:
        rows = [coming(TOLD[name](one), came, went) + cause_of(one) for one in shown[field]]
        if rows:
            render.table(title, ("", title.lower().removesuffix("s"), *columns), rows)
    if shown["withheld"]:
        render.table("Withheld", ("field", "reason"), [(one["field"], one["reason"]) for one in shown["withheld"]])
    if any(side and side["not_all_kept"] for side in (old, new)):
        render.note(NOT_ALL_KEPT)


def _said_again(count: int) -> str | None:
    return f"{count} with the same value as before: see --said-again" if count else None


def _rules(old: dict[str, Any] | None, new: dict[str, Any] | None) -> str:
    versions = [f"v{standing['rules_version']}" for standing in (old, new) if standing is not None]
    return " → ".join(dict.fromkeys(versions))


def _of(standing: dict[str, Any] | None, field: str) -> str:
    return "nothing yet" if standing is None else render.as_text(standing[field] or "")

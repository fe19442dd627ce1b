"""`c360 segments`: which there are, who is in them, and who came and went, when and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import paging, render
from services.cli.instants import parse_age
from services.cli.notation import Person, parse_person
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
    parsed_by,
)

if TYPE_CHECKING:
    from c360.profile.v1 import segment_pb2_grpc

app = typer.Typer(no_args_is_help=True, help="Segments of customers, as the rules of profiles define them.")
Name = Annotated[str, typer.Argument(metavar="SEGMENT", help="Its name.")]
NOT_PERMITTED = "their customers do not permit the purpose"
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")]
Sizes = Annotated[str, typer.Option("--purpose", "-P", metavar="NAME", help="What sizes will be used for; none without it.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        metavar="INSTANT",
        parser=instant_parser,
        help="The first instant, UTC without an offset. Default: 30 steps before the last.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option("--to", metavar="INSTANT", parser=instant_parser, help="The last instant, UTC without an offset. Default: now."),
]
Step = Annotated[
    timedelta | None,
    typer.Option(
        "--step", metavar="TIME", parser=parsed_by(parse_age), help="From one instant to the next, such as 1h. Default: 1d."
    ),
]
Customer = Annotated[
    Person | None,
    typer.Option("--customer", metavar="PERSON", parser=parsed_by(parse_person), help="Of this customer only."),
]


@app.command("list")
def list_segments(
    *,
    purpose: Sizes = "",
    limit: Limit = 200,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the segments, with the sizes that a purpose may see. With --json: one line per segment."""
    from c360.profile.v1 import segment_pb2

    from services.cli import messages

    asked = segment_pb2.ListSegmentsRequest(purpose=purpose, at_least_as_fresh=messages.positions(fresh))
    with _segments() as stub:
        progress = behind = ""

        def call(request: Any, timeout: float) -> Any:
            nonlocal progress, behind
            answer = stub.ListSegments(request, timeout=timeout)
            looked_at = f"{answer.looked_at_customers:,} of {answer.customers:,}" if answer.customers else "not yet any"
            progress = "" if answer.settled else looked_at
            behind = messages.behind(answer)
            return answer

        found = list(_plain(paging.entries(call, asked, "segments", limit, timeout_s)))
    if progress:
        waiting = ", ".join(one["name"] for one in found if not one["settled"])
        render.note(f"by the rules in force {progress} customers were looked at for: {waiting}")
    if behind:
        render.note(behind)
    _show(found, as_json, "Segments", {"segment": "name", "customers": "size", "when": "when", "title": "title"})


@app.command()
def members(
    segment: Name,
    *,
    purpose: PurposeOption,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    rules: Rules = None,
    limit: Limit = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List who is in a segment, or was at an instant, and permits the purpose. With --json: one line per customer.

    Of an instant everybody is looked at, which takes its time.

    Example:
      c360 segments members lapsed --purpose audit --valid-at -7d --known-at -7d
    """
    from c360.profile.v1 import segment_pb2

    from services.cli import messages

    request = segment_pb2.ListSegmentMembersRequest(
        segment=segment,
        purpose=purpose,
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        rules=messages.rules_choice(rules),
        at_least_as_fresh=messages.positions(fresh),
    )
    with _segments() as stub:
        found = _told(stub.ListSegmentMembers, request, "members", limit, timeout_s)
    columns = {"customer": "customer_id", "since": "enter_time", "": "cut"}
    if then := request.HasField("valid_at") or request.HasField("known_at") or request.HasField("rules"):
        del columns["since"]
    shown = found if as_json else [one | {"cut": "cut" if one["cut"] else ""} for one in found]
    _show(shown, as_json, "Members then" if then else "Members", columns)


@app.command()
def history(
    segment: Name,
    *,
    purpose: PurposeOption,
    customer: Customer = None,
    limit: Limit = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List who entered and left a segment, since when, when that became known, and why: what became known last comes first. With --json:
    one line per change.
    """
    from c360.profile.v1 import segment_pb2

    from services.cli import messages

    request = segment_pb2.ListMembershipChangesRequest(
        segment=segment, purpose=purpose, at_least_as_fresh=messages.positions(fresh)
    )
    if customer is not None:
        request.customer.CopyFrom(messages.customer_ref(customer))
    with _segments() as stub:
        why = f"{NOT_PERMITTED}, or it may not see what the condition of then looked at"
        found = _told(stub.ListMembershipChanges, request, "changes", limit, timeout_s, why)
    for change in found:
        change["change"] = "entered" if change["entered"] else "left"
    columns = {"customer": "customer_id", "change": "change", "since": "valid_time", "known": "record_time"}
    columns |= {"why": "cause", "event": "event_type"}
    _show(found, as_json, "Entered and left", columns)


@app.command()
def size(
    segment: Name,
    *,
    purpose: PurposeOption,
    since: Since = None,
    until: Until = None,
    step: Step = None,
    limit: Limit = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how many were in a segment at instants of the past, as it was written then. With --json: one line per instant.

    Example:
      c360 segments size lapsed --purpose audit --from -12w --to now --step 7d
    """
    from c360.profile.v1 import segment_pb2

    from services.cli import messages

    request = segment_pb2.ListSegmentSizesRequest(
        segment=segment,
        purpose=purpose,
        from_time=messages.timestamp(since),
        to_time=messages.timestamp(until),
        step=messages.duration(step),
        at_least_as_fresh=messages.positions(fresh),
    )
    with _segments() as stub:
        found = list(_plain(paging.entries(stub.ListSegmentSizes, request, "sizes", limit, timeout_s)))
    columns = {"when": "record_time", "customers": "size", "not known": "unknown", "rules": "rules_version"}
    known = found if as_json else list(dropwhile(lambda one: one["unknown"] == "not_begun", found))
    if before := len(found) - len(known):
        render.note(f"nothing was written of segments before: {before} earlier instant{'s' * (before > 1)} left out")
    if known or not found:
        _show(known, as_json, "Sizes", columns)


@app.command()
def of(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    rules: Rules = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell which segments a customer is in, now or at any instant.

    Example:
      c360 segments of email:ann@example.com --purpose audit --known-at -7d
    """
    from c360.profile.v1 import segment_pb2

    from services.cli import messages

    request = segment_pb2.GetMembershipRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        version=version or 0,
        rules=messages.rules_choice(rules),
        at_least_as_fresh=messages.positions(fresh),
    )
    with _segments() as stub:
        shown = messages.plain(stub.GetMembership(request, timeout=timeout_s))
    if as_json:
        render.document(shown)
        return
    cut = set(shown["cut_segments"])
    render.table("Segments", ("segment", ""), [(name, "cut" if name in cut else "") for name in shown["segments"]])
    if beside := sorted(cut.difference(shown["segments"])):
        render.note(f"judged by less than all that was said or done, and not in them by that: {', '.join(beside)}")
    if shown["withheld_segments"]:
        render.note(f"not in the purpose, whether in them or not: {', '.join(shown['withheld_segments'])}")
    if shown["redacted_segments"]:
        render.note(f"can't be told any more, as events were erased: {', '.join(shown['redacted_segments'])}")


def _told(call: Any, request: Any, field: str, limit: int, timeout_s: float, why: str = NOT_PERMITTED) -> list[dict[str, Any]]:
    """Says how many were left out."""
    withheld = unknown = 0

    def counting(request: Any, timeout: float) -> Any:
        nonlocal withheld, unknown
        answer = call(request, timeout=timeout)
        withheld += answer.withheld_count
        unknown += getattr(answer, "unknown_count", 0)
        return answer

    found = list(_plain(paging.entries(counting, request, field, limit, timeout_s)))
    if withheld:
        render.note(f"{withheld} left out: {why}")
    if unknown:
        render.note(f"{unknown} left out: it can't be told of them, as events were erased, or no answer can be made")
    return found


def _plain(entries: Iterator[Any]) -> Iterator[dict[str, Any]]:
    from services.cli import messages

    return (messages.plain(entry) for entry in entries)


def _show(found: list[dict[str, Any]], as_json: bool, title: str, columns: dict[str, str]) -> None:
    if as_json:
        for one in found:
            render.line(one)
        return
    render.table(title, tuple(columns), [tuple(one[field] for field in columns.values()) for one in found])


@contextmanager
def _segments() -> Iterator[segment_pb2_grpc.SegmentServiceStub]:
    from c360.profile.v1 import segment_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        yield segment_pb2_grpc.SegmentServiceStub(channel)

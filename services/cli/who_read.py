"""`c360 audit who-read` and `c360 audit uses`: who read what of a customer, and which reads follow from a decision."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import notation, render
from services.cli.errors import Misused
from services.cli.instants import format_instant
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, TimeoutS, instant_parser, parsed_by

if TYPE_CHECKING:
    from c360.profile.v1 import disclosure_pb2

EXPOSURE_COLUMNS = ("read", "caller", "purpose", "fields", "outcome", "decided", "taken down", "disclosure")
SHOWN_FIELDS = 6  # of a read, for eyes

OfWhom = Annotated[
    notation.Person | None,
    typer.Argument(
        metavar="[PERSON]",
        parser=parsed_by(notation.parse_person),
        help="A customer id, or namespace:value such as email:ann@example.com. Default: everybody.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="How many reads to show, latest first.")]
Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="INSTANT",
        parser=instant_parser,
        help="Only reads from then on: ISO 8601 (UTC without an offset) or an age such as -30d.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option("--until", metavar="INSTANT", parser=instant_parser, help="Only reads before then, UTC without an offset."),
]


def who_read(
    person: OfWhom = None,
    *,
    caller: Annotated[str, typer.Option(help="Only reads by this caller.")] = "",
    purpose: Annotated[str, typer.Option(help="Only reads for this purpose.")] = "",
    field: Annotated[str, typer.Option(help="Only reads that gave out this field, such as email or identifier:email.")] = "",
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List who read what of a customer, for which purpose and on what basis: also who was refused, and reads of whoever is one with her now.
    Without a PERSON: of everybody.

    Names of fields, never values. Of whoever was erased, by her id. With --json: one line each.

    Examples:
      c360 audit who-read email:ann@example.com
      c360 audit who-read email:ann@example.com --purpose marketing --since -30d
      c360 audit who-read --caller newsletter --field email --since -1d
    """
    from c360.profile.v1 import disclosure_pb2

    from services.cli import messages

    request = disclosure_pb2.WhoReadRequest(
        customer=messages.customer_ref(person) if person else None,
        caller=caller,
        purpose=purpose,
        field=field,
        since_time=messages.timestamp(since),
        until_time=messages.timestamp(until),
    )
    _show("WhoRead", request, limit, as_json, timeout_s)


def uses(
    decision_id: Annotated[str, typer.Argument(metavar="ID", help="The decision's id; `c360 consent history` lists them.")],
    *,
    limit: Limit = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the reads that a decision of a person justified, or for which they were refused.

    With --json: one line each.
    """
    from c360.profile.v1 import disclosure_pb2

    _show("ListUses", disclosure_pb2.ListUsesRequest(decision_id=decision_id), limit, as_json, timeout_s)


def exposures(
    person: OfWhom = None,
    *,
    purpose: Annotated[str, typer.Option(help="Only reads for this purpose.")] = "",
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List what was given out of a customer after she had forbidden it, because the denial wasn't known or enforced yet.

    Without a PERSON: of everybody, oldest first, with what it amounts to; it takes as long as there are reads, however short --timeout is.
    With --json: one line each, and of everybody a last one with the summary.

    Examples:
      c360 audit exposures email:ann@example.com
      c360 audit exposures --since -30d --purpose marketing
    """
    from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc

    from services.cli import messages, paging
    from services.cli.client import connect

    if person is None:
        report_exposures(purpose, since, until, limit, as_json)
        return
    if until is not None:
        raise Misused("PERSON_GIVEN", "--until is for everybody's exposures; leave PERSON out")
    whose, then = messages.customer_ref(person), messages.timestamp(since)
    request = disclosure_pb2.ListExposuresRequest(customer=whose, purpose=purpose, since_time=then)
    with connect("profile") as channel:
        call = disclosure_pb2_grpc.DisclosureServiceStub(channel).ListExposures
        found = [messages.plain(one) for one in paging.entries(call, request, "exposures", limit, timeout_s)]
    if as_json:
        for one in found:
            render.line(one)
        return
    render.table("Exposures", EXPOSURE_COLUMNS, map(exposure_row, found))


def exposure_row(one: dict[str, Any]) -> tuple[str, ...]:
    read = _row(one["disclosure"])
    return (*read[:2], read[3], read[5], one["outcome"], one["decide_time"], one["record_time"], read[6])


def report_exposures(purpose: str, since: datetime | None, until: datetime | None, limit: int, as_json: bool) -> None:
    from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc

    from services.cli import messages, paging
    from services.cli.read_summaries import streamed, summary_facts
    from services.cli.telling import telling

    if since and until and since > until:
        raise Misused("INTERVAL_INVALID", f"--since {format_instant(since)} is later than --until {format_instant(until)}")
    request = disclosure_pb2.ReportExposuresRequest(
        purpose=purpose, since_time=messages.timestamp(since), until_time=messages.timestamp(until)
    )
    shown, summary = list[Any](), None
    with telling("looking for exposures") as teller:
        for answer in streamed(disclosure_pb2_grpc.DisclosureServiceStub, "ReportExposures", request):
            for one in answer.exposures[: max(limit - len(shown), 0)]:
                shown.append(messages.plain(one))
                if as_json:
                    render.line(shown[-1])
            summary = answer.summary if answer.HasField("summary") else summary
            teller.tell(answer.done_events / (answer.total_events or 1), f"{answer.read_count:,} reads")
    assert summary is not None, "the last message has it"
    told = messages.plain(summary)
    if as_json:
        render.line({"summary": told})
        return
    render.table("Exposures", EXPOSURE_COLUMNS, map(exposure_row, shown))
    render.facts(summary_facts("exposed", told))
    if summary.read_count > len(shown):
        render.note(paging.MORE)


def _show(method: str, request: Any, limit: int, as_json: bool, timeout_s: float) -> None:
    from c360.profile.v1 import disclosure_pb2_grpc

    from services.cli import messages, paging
    from services.cli.client import connect

    with connect("profile") as channel:
        call = getattr(disclosure_pb2_grpc.DisclosureServiceStub(channel), method)
        found: Iterable[disclosure_pb2.Disclosure] = paging.entries(call, request, "disclosures", limit, timeout_s)
        if as_json:
            for one in found:
                render.line(messages.plain(one))
            return
        columns = ("when", "caller", "call", "purpose", "verdict", "fields or reason", "disclosure")
        render.table("Reads", columns, (_row(messages.plain(one)) for one in found))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    fields, verdict = one["fields"], one["verdict"].upper()
    told = ", ".join(fields[:SHOWN_FIELDS]) + (f" and {more} more" if (more := len(fields) - SHOWN_FIELDS) > 0 else "")
    return (
        one["read_time"],
        one["caller"],
        one["call"],
        one["purpose_version"],
        verdict,
        one["reason"] or told,
        one["disclosure_id"],
    )

"""`c360 audit simulate`: which past reads another policy would have refused, or permitted."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli import notation, render
from services.cli.errors import Misused
from services.cli.instants import format_instant
from services.cli.options import MOST, AsJson, parsed_by
from services.cli.policy_changes import parse_change
from services.cli.read_summaries import streamed, summary_facts
from services.cli.who_read import SHOWN_FIELDS, Since, Until

SHOWN_READS = 20

Changes = Annotated[
    list[Any] | None,
    typer.Option(
        "--if",
        metavar="CHANGE",
        parser=parsed_by(parse_change),
        help="What is supposed. Repeatable: one after the other. Without any, which reads can't be judged again as they were.",
    ),
]


def simulate(
    *,
    changes: Changes = None,
    since: Since = None,
    until: Until = None,
    caller: Annotated[str, typer.Option(help="Only reads by this caller.")] = "",
    purpose: Annotated[str, typer.Option(help="Only reads for this purpose.")] = "",
    person: Annotated[
        notation.Person | None,
        typer.Option("--person", metavar="PERSON", parser=parsed_by(notation.parse_person), help="Only reads of this customer."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, max=MOST, help=f"How many reads to list, oldest first. Default: {SHOWN_READS}, with --json all."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge past reads again as another policy would have, by all that was known then, and tell which it would have decided otherwise.

    Nothing is written. A CHANGE is PURPOSE and one of: invalid, legal-basis=BASIS, jurisdiction=CODE (the basis that it claims there),
    expires-after-days=N, minimum-age=N, minors-under=N, minors-opt-in-from=N, double-opt-in, notice=NAME@VERSION, version=N (as if that
    version had been in force); or: decision ID withdrawn. It ends with since INSTANT where it isn't of always.
    With --json: one line for each read, and a last one with the report.

    Examples:
      c360 audit simulate --if "marketing invalid since 2026-03-01"
      c360 audit simulate --if "marketing expires-after-days=365" --if "marketing double-opt-in since -90d" --since -90d --json
    """
    from c360.profile.v1 import policy_pb2, policy_pb2_grpc

    from services.cli import messages
    from services.cli.telling import telling

    if since and until and since > until:
        raise Misused("INTERVAL_INVALID", f"--since {format_instant(since)} is later than --until {format_instant(until)}")
    request = policy_pb2.SimulatePolicyRequest(
        changes=changes or [],
        since_time=messages.timestamp(since),
        until_time=messages.timestamp(until),
        caller=caller,
        read_purpose=purpose,
        customer=messages.customer_ref(person) if person else None,
    )
    at_most = limit if limit is not None else MOST if as_json else SHOWN_READS
    shown, listed, report = list[Any](), 0, None
    with telling("judging again") as teller:
        for answer in streamed(policy_pb2_grpc.PolicyServiceStub, "SimulatePolicy", request):
            for one in answer.reads[: max(at_most - listed, 0)]:
                listed += 1
                if as_json:
                    render.line(messages.plain(one))
                else:
                    shown.append(messages.plain(one))
            report = answer.report if answer.HasField("report") else report
            teller.tell(answer.done_events / (answer.total_events or 1), f"{answer.read_count:,} reads")
    assert report is not None, "the last message has it"
    if as_json:
        render.line({"report": messages.plain(report)})
    else:
        _show(shown, messages.plain(report))


def _show(reads: list[Any], report: dict[str, Any]) -> None:
    columns = ("read", "caller", "purpose", "was", "would be", "why", "fields", "disclosure")
    render.table("Reads that would have been told otherwise", columns, map(_row, reads))
    found = [(title, report[name]) for title, name in SUMMARIES]
    if sum(told["read_count"] for _, told in found) > len(reads):
        render.note("there are more: raise --limit to see them")
    render.facts(
        [
            ("reads looked at", report["read_count"]),
            ("nothing supposed bears on", report["unaffected_count"]),
            ("can't be judged again", report["unjudged_count"] or ""),
            ("not as they were", unreproduced(report)),
            ("never decided by", report["unmet_decision_ids"]),
            *(pair for title, told in found for pair in summary_facts(title, told)),
        ]
    )


SUMMARIES = (("unlawful", "unlawful"), ("partly unlawful", "partly_unlawful"), ("needlessly refused", "needlessly_refused"))


def unreproduced(report: dict[str, Any]) -> str:
    count, examples = report["unreproduced_count"], ", ".join(report["unreproduced_ids"])
    return f"{count}, such as {examples}: what they went by is gone" if count else ""


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    read, fields = one["disclosure"], one["fields"]
    more = ["..."] if len(fields) > SHOWN_FIELDS else []
    return (
        read["read_time"],
        read["caller"],
        read["purpose_version"],
        read["verdict"],
        one["verdict"],
        one["reason"],
        ", ".join([*fields[:SHOWN_FIELDS], *more]),
        read["disclosure_id"],
    )

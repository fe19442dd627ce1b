"""`c360 audit re-derive`: whether a read follows from what it was made from, and that from consent's own log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import render
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, TimeoutS

if TYPE_CHECKING:
    from services.cli.against_consent import Compared


def re_derive(
    disclosure_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of a read, as `c360 audit who-read` shows it, such as 4711.3.")
    ],
    *,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Make the answer of a read again from what it was made from, also a refusal, and tell whether it is the same; and hold the purpose and the decisions
    that it is judged by against consent's own log. Exit code 1: something differs, or can't be told any more after an erasure."""
    from c360.profile.v1 import disclosure_pb2, disclosure_pb2_grpc

    from services.cli import messages
    from services.cli.against_consent import compare
    from services.cli.client import connect
    from services.cli.remote_log import RemoteLog

    request = disclosure_pb2.RederiveDisclosureRequest(disclosure_id=disclosure_id)
    with connect("profile") as channel:
        answer = disclosure_pb2_grpc.DisclosureServiceStub(channel).RederiveDisclosure(request, timeout=timeout_s)
    with connect("consent") as channel:
        compared = compare(RemoteLog(channel, timeout_s), answer)
    found = messages.plain(answer)
    if as_json:
        render.document(found | {"against_consent": compared._asdict()})
    else:
        _show(found, compared)
    if not answer.agrees or compared.findings:
        raise typer.Exit(1)


def _same(found: dict[str, Any]) -> str:
    if found["judged_only"]:
        return "it follows from the log that it was permitted; what was given out isn't made again"
    return "the same answer follows from the log"


def _show(found: dict[str, Any], compared: Compared) -> None:
    read, gone = found["disclosure"], found["redacted_events"]
    other = (
        "it can't be told any more: some of what it was made from was erased"
        if gone
        else "the answer that follows from the log is another one"
    )
    held = f"all {compared.events} events stand in consent's log" if found["judged_by"] else "nothing was judged by them"
    forgotten = f" ({compared.forgotten} grants are forgotten since an erasure)" if compared.forgotten else ""
    render.facts(
        [
            ("disclosure", read["disclosure_id"]),
            ("read", read["read_time"]),
            ("purpose", read["purpose_version"]),
            ("fields then", read["fields"]),
            ("fields now", found["fields"]),
            ("refused then", read["reason"]),
            ("refused now", found["reason"]),
            ("erased since", f"{gone} events" if gone else ""),
            ("differs in", found["differences"]),
            ("outcome", _same(found) if found["agrees"] else other),
            ("judged by", ", ".join(compared.findings) if compared.findings else held + forgotten),
        ]
    )

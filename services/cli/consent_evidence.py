"""`c360 consent receipt`, `explain` and `diff`: what consent tells of its decisions and verdicts."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from services.cli import render
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    Fresh,
    KnownAt,
    PersonRef,
    PurposeArgument,
    TimeoutS,
    ValidAt,
)
from services.cli.profile_history import ByClock, Clock, From, To


class ReceiptForm(StrEnum):
    KANTARA = "kantara"
    ISO_27560 = "27560"


FORMATS = {ReceiptForm.KANTARA: "RECEIPT_FORMAT_KANTARA", ReceiptForm.ISO_27560: "RECEIPT_FORMAT_ISO_27560"}


def receipt(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="As `c360 consent decisions` lists it.")],
    form: Annotated[
        ReceiptForm, typer.Option("--format", help="Kantara Consent Receipt 1.1 (JSON), or ISO/IEC TS 27560 (JSON-LD).")
    ] = ReceiptForm.ISO_27560,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Print the receipt of a decision, as JSON. The same each time, but that it says so while processing is restricted; what the
    registry doesn't know is told as not stated.

    The person is named by the keyed hash of the identifier.

    Example:
      c360 consent receipt 0199f1c2-7f0e-7a3b-9c51-2f7d3b1c8e42 --format kantara
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli.client import connect

    wanted = evidence_pb2.ReceiptFormat.Value(FORMATS[form])
    request = evidence_pb2.GetReceiptRequest(decision_id=decision_id, format=wanted)
    with connect("consent") as channel:
        answer = evidence_pb2_grpc.EvidenceServiceStub(channel).GetReceipt(request, timeout=timeout_s)
    render.document(json.loads(answer.document))


def explain(
    person: PersonRef,
    purpose: PurposeArgument,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell why a purpose is permitted for a person or isn't: which decision decided, and why each of the others didn't.

    As of any instant, by the purpose of then; with --known-at also by whose the identifiers were then known to be. They are shown by their hashes.
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = evidence_pb2.ExplainCheckRequest(
        purpose=purpose,
        customer=messages.customer_ref(person),
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        at_least_as_fresh=messages.positions(fresh),
    )
    with connect("consent") as channel:
        answer = evidence_pb2_grpc.EvidenceServiceStub(channel).ExplainCheck(request, timeout=timeout_s)
    told = messages.plain(answer)
    render.document(told) if as_json else _show(purpose, told["explanation"])


def diff(
    person: PersonRef,
    purpose: PurposeArgument,
    since: From = None,
    until: To = None,
    clock: ByClock = Clock.known,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell what made the difference between what was permitted at one instant and at another.

    The instants are of what our log knew, or with --clock happened of what had happened, by what is known now.

    Example:
      c360 consent diff email:ann@example.com marketing --from -7d
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    field = "known_at" if clock is Clock.known else "valid_at"
    instants: dict[str, Any] = {f"from_{field}": messages.timestamp(since), f"to_{field}": messages.timestamp(until)}
    request = evidence_pb2.DiffCheckRequest(
        purpose=purpose, customer=messages.customer_ref(person), at_least_as_fresh=messages.positions(fresh), **instants
    )
    with connect("consent") as channel:
        answer = evidence_pb2_grpc.EvidenceServiceStub(channel).DiffCheck(request, timeout=timeout_s)
    told = messages.plain(answer)
    if as_json:
        render.document(told)
        return
    render.facts([(end, _verdict(told[end])) for end in ("before", "after")])
    rows = [
        (one["what"], one["before"], one["after"], one["decision_id"] or one["identifier_hash"][: render.SHOWN_DIGITS])
        for one in told["changes"]
    ]
    render.table("What changed", ("what", "before", "after", "which"), rows)


def conflicts(
    purpose: PurposeArgument,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")] = 50,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List who has decided both ways, so that nothing is permitted until they are asked again.

    By identifiers of different strength, or by some that a match alone joins. `c360 consent explain CUSTOMER PURPOSE` tells of both
    decisions. With --json: one line each.

    Example:
      c360 consent conflicts marketing
    """
    from c360.consent.v1 import evidence_pb2, evidence_pb2_grpc

    from services.cli import messages, paging
    from services.cli.client import connect

    request = evidence_pb2.ListConflictsRequest(purpose=purpose)
    with connect("consent") as channel:
        call = evidence_pb2_grpc.EvidenceServiceStub(channel).ListConflicts
        found = [messages.plain(one) for one in paging.entries(call, request, "conflicts", limit, timeout_s)]
    if as_json:
        for one in found:
            render.line(one)
        return
    rows = [
        (one["namespace"], one["identifier_hash"][: render.SHOWN_DIGITS], one["customer_id"], one["decision_id"], one["against"])
        for one in found
    ]
    render.table("Conflicts", ("namespace", "identifier", "customer", "would permit", "stands against it"), rows)


def _verdict(explanation: dict[str, Any]) -> str:
    return f"{'permitted' if explanation['permitted'] else 'not permitted'}: {explanation['reason']}"


def _show(purpose: str, explanation: dict[str, Any]) -> None:
    by = f"{purpose}@{explanation['purpose_version']}, {explanation['purpose_position']}"
    render.facts([(purpose, _verdict(explanation)), ("by", by), ("its SHA-256", explanation["purpose_sha256"])])
    rows = [
        (
            one["role"],
            one["decision"]["outcome"],
            one["decision"]["decide_time"],
            one["decision"]["record_time"],
            one["identifier_hash"][: render.SHOWN_DIGITS],
            one["position"],
            one["decision"]["decision_id"],
        )
        for one in explanation["decisions"]
    ]
    render.table("Decisions", ("role", "outcome", "decided", "known", "identifier", "position", "decision"), rows)
    identifiers = [
        (one["identifier_hash"][: render.SHOWN_DIGITS], one["customer_id"], "" if one["theirs"] else "shared: only denials count")
        for one in explanation["identifiers"]
    ]
    render.table("Identifiers", ("identifier", "customer", ""), identifiers)

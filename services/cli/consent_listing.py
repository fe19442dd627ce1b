"""`c360 consent decisions`: what was decided by one identifier."""

from __future__ import annotations

from typing import Any

from services.cli import render
from services.cli.evidence import age_words, notice_words
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, IdentifierRef, KnownAt, TimeoutS, ValidAt


def decisions(
    identifier: IdentifierRef,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List the decisions bound to one identifier, in the order in which they were recorded."""
    from c360.consent.v1 import consent_pb2, consent_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = consent_pb2.ListDecisionsRequest(
        identifier=messages.identifier(identifier), valid_at=messages.timestamp(valid_at), known_at=messages.timestamp(known_at)
    )
    with connect("consent") as channel:
        answer = consent_pb2_grpc.ConsentServiceStub(channel).ListDecisions(request, timeout=timeout_s)
    listed = list(map(messages.plain, answer.decisions))
    if as_json:
        render.document(listed)
        return
    rows = [
        (
            d["decide_time"],
            d["record_time"],
            d["purpose"] if d["restriction"] or d["age"] else f"{d['purpose']}@{d['purpose_version']}",
            _outcome(d),
            d["method"] + (" (by a parent)" if d["parental_authorisation"] else ""),
            "yes" if d["confirmed"] else "",
            notice_words(d["notice"]),
            d["because"],
            d["decision_id"],
        )
        for d in listed
    ]
    render.table(
        "Decisions", ("decided", "known", "purpose", "outcome", "method", "confirmed", "shown", "by signal", "decision"), rows
    )


def _outcome(decision: dict[str, Any]) -> str:
    if not (age := age_words(decision["age"])):
        return str(decision["outcome"])
    return f"{decision['outcome']} ({age}{', of a parent' if decision['age']['guardian_hash'] else ''})"

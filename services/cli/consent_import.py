"""`c360 consent import`: decisions that were taken elsewhere, with the instants at which people took them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli import render
from services.cli.audiences.command import By, source_of
from services.cli.errors import Interrupted, NotReachable
from services.cli.options import AsJson
from services.cli.whole_files import whole

if TYPE_CHECKING:
    from c360.consent.v1 import consent_pb2

    from services.cli.audiences.people import Asked

BATCH_ROWS: Final = 500
ANSWER_S: Final = 30.0
TRIES: Final = 30  # in a row, while consent is away
TRY_AGAIN_S: Final = 1.0
COLUMNS: Final = ("purpose", "outcome", "decided_at", "method", "confirmed", "attested_age", "notice", "guardian", "verified_by")


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="CSV with a header, or JSON Lines; - for stdin.")],
    *,
    by: By,
    purpose: Annotated[str, typer.Option(help="Of rows that have no purpose.")] = "",
    outcome: Annotated[str, typer.Option(help="Of rows that have no outcome: granted, withdrawn, refused, objected ...")] = "",
    method: Annotated[str, typer.Option(help="Of rows that have no method.")] = "import",
    decided_at: Annotated[str, typer.Option(help="Of rows that have no decided_at: ISO 8601, UTC without an offset.")] = "",
    rejects: Annotated[Path | None, typer.Option(metavar="FILE", help="For row, line and reason of each that was refused.")] = None,
    format_: Annotated[str, typer.Option("--format", metavar="csv|jsonl", help="Default: by the file's ending.")] = "",
    as_json: AsJson = False,
) -> None:
    """Import decisions: a row each, with the columns purpose, outcome, decided_at (ISO 8601, UTC without an offset; needed), method, confirmed,
    attested_age, notice (name@version/locale), guardian (namespace:value, of who is responsible for a child and granted it) and verified_by.
    Other columns are left alone.

    A row's request id follows from the file's content and the row's number: after Ctrl-C, or whatever happened, the same command
    again records what is missing and doubles nothing. A changed file is another file. Exit code 1 when rows were refused.

    A list of those who opted out may have hashes instead of addresses: `email_sha256`, the SHA-256 of the address in small letters.

    Examples:
      c360 consent import optins.csv --by email --purpose marketing --outcome granted --rejects refused.jsonl
      c360 consent import optouts.csv --by email_sha256 --purpose marketing --outcome withdrawn --decided-at 2026-01-31
    """
    from services.cli.audiences.people import People

    with contextlib.ExitStack() as opened:
        try:
            source = opened.enter_context(source_of(file))
            others = opened.enter_context(whole(rejects)) if rejects else None
            people = People(source, file, format_, by, COLUMNS)
            defaults = {"purpose": purpose, "outcome": outcome, "method": method, "decided_at": decided_at}
            counts = _import(people, _requests(defaults), _digest(source), others)
        except KeyboardInterrupt:
            raise Interrupted("INTERRUPTED", "the same command goes on from here") from None
    recorded = counts.pop("", 0)
    if as_json:
        render.document({"recorded": recorded, "refused": dict(counts.most_common())})
    else:
        told = ", ".join(f"{number:,} {reason}" for reason, number in counts.most_common())
        render.note(f"{recorded:,} recorded, {counts.total():,} refused{': ' + told if told else ''}")
    if counts:
        raise typer.Exit(1)


Requests = Callable[["Asked"], "consent_pb2.RecordDecisionRequest"]


def _import(people: Any, request_of: Requests, digest: str, others: IO[bytes] | None) -> Counter[str]:
    from services.cli.audiences.command import reject_line
    from services.cli.client import connect
    from services.cli.telling import telling

    counts: Counter[str] = Counter()
    with telling("importing") as teller, connect("consent") as channel:
        for batch in _batches(people):
            why = _recorded(channel, batch, request_of, digest)
            for asked, reason in zip(batch, why, strict=True):
                if reason and others is not None:
                    others.write(reject_line(asked.row, reason))
            counts.update(why)
            teller.tell(people.rows.share_read(batch[-1].row.after), f"{counts.total():,} rows, {counts['']:,} recorded")
    return counts


def _batches(people: Any) -> Iterator[list[Asked]]:
    asked = people.asked()
    while batch := list(islice(asked, BATCH_ROWS)):
        yield batch


def _recorded(channel: Any, batch: list[Asked], request_of: Requests, digest: str) -> list[str]:
    """Of each why it was refused; empty of what is recorded."""
    from c360.consent.v1 import consent_pb2

    why, sent, request = list[str](), list[int](), consent_pb2.RecordDecisionsRequest(file_sha256=digest)
    for place, asked in enumerate(batch):
        reason = asked.reason
        if not reason:
            try:
                request.decisions.append(request_of(asked))
                sent.append(place)
            except ValueError as error:
                reason = str(error)
        why.append(reason)
    results = _answer(channel, request).results if sent else []
    for place, result in zip(sent, results, strict=True):
        why[place] = result.refusal.reason
    return why


def _answer(channel: Any, request: consent_pb2.RecordDecisionsRequest) -> consent_pb2.RecordDecisionsResponse:
    """Sends again while consent is away: what arrived before is not recorded twice. Raises CommandError."""
    import grpc
    from c360.consent.v1 import consent_pb2_grpc

    from services.cli.errors import from_rpc_error

    stub = consent_pb2_grpc.ConsentServiceStub(channel)
    for attempt in range(TRIES):
        try:
            answer: consent_pb2.RecordDecisionsResponse = stub.RecordDecisions(request, timeout=ANSWER_S)
        except grpc.RpcError as error:
            failure = from_rpc_error("consent", "its address", error)
            if not isinstance(failure, NotReachable) or attempt == TRIES - 1:
                raise
            time.sleep(TRY_AGAIN_S)
        else:
            return answer
    raise AssertionError("the last try raises")


def _digest(file: IO[bytes]) -> str:
    from services.cli.importing.rows import content_of

    return content_of(file, 0, lambda _: None).digest.hex()


def _requests(defaults: dict[str, str]) -> Requests:
    """Makes a row's request. What is wrong with a row is a ValueError with the reason."""
    from c360.consent.v1 import consent_pb2

    from services.cli import messages
    from services.cli.evidence import notice_message
    from services.cli.notation import parse_notice

    def request_of(asked: Asked) -> consent_pb2.RecordDecisionRequest:
        told = {name: asked.more[name] or defaults.get(name, "") for name in COLUMNS}
        return consent_pb2.RecordDecisionRequest(
            request_id=str(asked.row.at.row),
            identifier=asked.ref.identifier if asked.ref else None,
            purpose=told["purpose"],
            outcome=_outcome(told["outcome"]),
            decide_time=messages.timestamp(_instant(told["decided_at"])),
            method=told["method"],
            confirmed=_read(_flag, told["confirmed"], "CONFIRMED_INVALID"),
            attested_age=_read(int, told["attested_age"] or "0", "AGE_INVALID"),
            notice=notice_message(_read(parse_notice, told["notice"], "NOTICE_UNKNOWN") if told["notice"] else None),
            parental_authorisation=_authorisation(told["guardian"], told["verified_by"]),
        )

    return request_of


def _authorisation(guardian: str, verified_by: str) -> Any:
    """A row that says how nobody was verified is no grant of a parent's."""
    from services.cli.evidence import authorisation
    from services.cli.notation import parse_identifier

    if not guardian and not verified_by:
        return None
    return authorisation(_read(parse_identifier, guardian, "AUTHORISATION_INVALID"), verified_by)


def _outcome(text: str) -> Any:
    from c360.consent.v1 import consent_pb2

    return _read(consent_pb2.Outcome.Value, f"OUTCOME_{text.strip().upper().replace('-', '_')}", "OUTCOME_MISSING")


def _instant(text: str) -> datetime:
    """Never "now": who imports says when."""
    found: datetime = _read(datetime.fromisoformat, text.strip(), "INSTANT_INVALID")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _flag(text: str) -> bool:
    from services.cli.importing.cells import boolean

    return bool(text) and boolean(text)


def _read(convert: Callable[[str], Any], text: str, reason: str) -> Any:
    try:
        return convert(text)
    except (ValueError, OverflowError):
        raise ValueError(reason) from None

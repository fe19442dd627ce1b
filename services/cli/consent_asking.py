"""`c360 consent askable`: whom one may ask for a purpose, or ask again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import notation, render
from services.cli.audiences.command import Sifted, sift
from services.cli.errors import Misused
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, Fresh, PurposeArgument, TimeoutS, parsed_by


def askable(
    purpose: PurposeArgument,
    persons: Annotated[
        list[notation.Person] | None,
        typer.Argument(
            metavar="[PERSON]...",
            parser=parsed_by(notation.parse_person),
            help="Whether these may be asked: customer ids, or namespace:value such as email:ann@example.com. Default: everybody who may.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many to show of everybody.")] = 50,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Write the rows of those in it who may be asked: CSV with a header, or JSON Lines."),
    ] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAMESPACE[=COLUMN]", help="Of a file, as for `consent filter`.")] = "",
    to: Annotated[Path | None, typer.Option("--to", "-o", metavar="FILE", help="For these rows. Default: stdout.")] = None,
    excluded: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For the others: row, line and reason of each, as JSON Lines.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", metavar="csv|jsonl", help="Default: by the file's ending.")] = "",
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """List whom one may ask for a purpose, or ask again: why, and from when on.

    Who never decided, whose consent ran out, went stale or was never confirmed, who decided both ways, and who denied once the purpose's
    ask_again_after_days are over. Never who objected, was erased, or whose processing is restricted. With --json: one line each.

    Examples:
      c360 consent askable marketing
      c360 consent askable marketing email:ann@example.com email:bob@example.com
      c360 consent askable marketing --file people.csv --by email -o askable.csv --excluded others.jsonl
    """
    if file is not None:
        if persons or not by:
            raise Misused("PEOPLE_AMBIGUOUS", "--file names the people, and --by the column that does")
        _of_file(Sifted("may be asked", file, by, format_, to, excluded), purpose, fresh, as_json)
        return
    if fresh and not persons:
        raise Misused(
            "FRESH_OF_NOBODY", "--fresh is for those who are named, each or by --file; everybody is listed as they are known"
        )
    found = _of_each(purpose, persons, fresh, timeout_s) if persons else _of_all(purpose, limit, timeout_s)
    if as_json:
        for one in found:
            render.line(one)
        return
    rows = [
        (
            "" if one["refusal"] else "yes" if one["may_be_asked"] else "no",
            one["reason"],
            one["ask_time"],
            one["namespace"],
            one["identifier_hash"][: render.SHOWN_DIGITS],
            one["customer_id"],
        )
        for one in found
    ]
    render.table("Who may be asked", ("may be asked", "why", "from", "namespace", "identifier", "customer"), rows)


def _of_file(sifted: Sifted, purpose: str, fresh: Any, as_json: bool) -> None:
    from functools import partial

    from services.cli import messages
    from services.cli.audiences import asking_again

    sift(sifted, purpose, partial(asking_again.askable, fresh=messages.positions(fresh)), as_json)


def _of_each(purpose: str, persons: list[notation.Person], fresh: Any, timeout_s: float) -> list[dict[str, Any]]:
    """By number of the one who was named, from 0."""
    from c360.consent.v1 import asking_pb2, asking_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = asking_pb2.CheckAskableRequest(
        purpose=purpose, customers=[messages.customer_ref(one) for one in persons], at_least_as_fresh=messages.positions(fresh)
    )
    with connect("consent") as channel:
        answer = asking_pb2_grpc.AskingServiceStub(channel).CheckAskable(request, timeout=timeout_s)
    found = []
    for number, result in enumerate(answer.results):
        told = [messages.plain(one) for one in result.askable]
        if result.HasField("refusal"):
            told = [messages.plain(asking_pb2.Askable(reason=result.refusal.reason))]
        found += [one | {"person": number, "refusal": result.HasField("refusal")} for one in told]
    return found


def _of_all(purpose: str, limit: int, timeout_s: float) -> list[dict[str, Any]]:
    from c360.consent.v1 import asking_pb2, asking_pb2_grpc

    from services.cli import messages, paging
    from services.cli.client import connect

    request = asking_pb2.ListAskableRequest(purpose=purpose)
    with connect("consent") as channel:
        call = asking_pb2_grpc.AskingServiceStub(channel).ListAskable
        found = paging.entries(call, request, "askable", limit, timeout_s)
        return [messages.plain(one) | {"refusal": False} for one in found]

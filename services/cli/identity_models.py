"""`c360 identity match model`, `models`, `check-model`, `activate-model`: by what records are compared; `read-back`: which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render
from services.cli.documents import read_document
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, RequestId, TimeoutS

if TYPE_CHECKING:
    import grpc
    from c360.identity.v1 import matching_pb2, matching_pb2_grpc
    from c360.log.v1 import log_pb2

LONG_TIMEOUT_S = 3600.0  # all that is stored is compared
PAGE_EVENTS = 1_000
PAGE_BYTES = 2 * 1024 * 1024  # with one event of any size above it a message stays below gRPC's limit
COUNTS = ("merges", "splits", "links", "unlinks")

ModelFile = Annotated[Path, typer.Argument(metavar="FILE", help="A model, as `c360 identity train` writes it.")]


def model(
    number: Annotated[int, typer.Option(min=0, max=MOST, help="Default: the one in force.")] = 0,
    document: Annotated[bool, typer.Option("--document", help="Instead: its file, as it was given.")] = False,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Show the model in force: what is compared, what it weighs, and from which weight on two are one.

    Example, to go back to the first one:
      c360 identity match model --number 1 --document > first.json
      c360 identity match activate-model first.json --by ops --reason "ticket 14"
    """
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    with _matching() as stub:
        response = stub.GetModel(matching_pb2.GetModelRequest(number=number), timeout=timeout_s)
    if document:
        typer.echo(response.document, nl=False)
        return
    answer = messages.plain(response)
    del answer["document"]
    if as_json:
        render.document(answer)
        return
    _show_model(answer)


def _show_model(answer: dict[str, Any]) -> None:
    bands = f"links from {answer['link_weight']:g} bits, asks people from {answer['review_weight']:g}"
    activation = answer["activation"]
    render.facts(
        [
            ("model", answer["version"]),
            ("trained on", answer["trained_on"]),
            ("activated by", activation["activated_by"]),
            ("because", activation["reason"]),
            ("matching", bands if answer["on"] else "off"),
            ("links unasked", "with a witness" if answer["witness"] else "without a witness too"),
            ("the model's own calibration", f"links from {answer['calibrated_weight']:.2f} bits"),
            ("sources that keep a person once", answer["one_per_source"] or None),
            ("before anything is compared", f"{answer['prior_weight']:+.2f} bits"),
        ]
    )
    rows = [(c["name"], level["label"], f"{level['weight']:+.2f}") for c in answer["comparisons"] for level in c["levels"]]
    render.table("Comparisons", ("comparison", "level", "bits"), rows)
    if not activation["settled"]:
        render.note(f"{answer['compared_records']} of {answer['records']} records are compared by it")


def models(as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """List the models that were in force, with who activated them and why."""
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    with _matching() as stub:
        listed = messages.plain(stub.ListModels(matching_pb2.ListModelsRequest(), timeout=timeout_s))["models"]
    if as_json:
        render.document(listed)
        return
    rows = [
        (m["number"], m["version"], m["activate_time"], m["activated_by"], m["reason"], "yes" if m["settled"] else "not yet")
        for m in listed
    ]
    render.table("Models", ("number", "model", "activated", "by", "reason", "all compared"), rows)


def check_model(file: ModelFile, as_json: AsJson = False, timeout_s: TimeoutS = LONG_TIMEOUT_S) -> None:
    """Tell what another model would change: all records are compared by it. Nothing is written."""
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    found: matching_pb2.CheckModelResponse | None = None
    with _matching() as stub:
        for found in stub.CheckModel(matching_pb2.CheckModelRequest(document=read_document(file)), timeout=timeout_s):
            _tell(found.checked_identifiers, found.identifiers)
    assert found is not None, "the first message comes before the first page"
    difference = messages.plain(found.difference)
    if as_json:
        render.document(difference)
        return
    render.facts([(name, difference[name]) for name in COUNTS])
    if difference["examples"]:
        rows = [("merge" if one["merges"] else "split", one["parts"], one["customer_ids"]) for one in difference["examples"]]
        render.table("Examples", ("effect", "parts", "customers"), rows)


def activate_model(
    file: ModelFile,
    *,
    by: Annotated[str, typer.Option("--by", help="Who, as an id or a role. Kept for ever.")],
    reason: Annotated[str, typer.Option(help="Why. Kept for ever: name nobody in it.")],
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = LONG_TIMEOUT_S,
) -> None:
    """Put a model in force. All records are then compared by it, in pages (`c360 status` tells how far).

    Example:
      c360 identity train records.csv && c360 identity match check-model model.json
      c360 identity match activate-model model.json --by ops --reason "our own records, ticket 13"
    """
    from c360.identity.v1 import matching_pb2

    from services.cli import messages

    request = matching_pb2.ActivateModelRequest(
        request_id=request_id or str(uuid4()), document=read_document(file), reason=reason, activated_by=by
    )
    last: matching_pb2.ActivateModelResponse | None = None
    try:
        with _matching() as stub:
            for last in stub.ActivateModel(request, timeout=timeout_s):
                _tell(last.checked_identifiers, last.identifiers)
    except NotReachable as failure:
        failure.hint = f"It may be in force: repeat the command with --request-id {request.request_id}"
        raise
    assert last is not None, "the last message names the model"
    activated = messages.plain(last.activated)
    if as_json:
        render.document(activated)
        return
    expected = [(name, activated["expected"][name]) for name in COUNTS]
    render.facts([("model", activated["version"]), ("number", activated["number"]), *expected])


def read_back(as_json: AsJson = False, timeout_s: TimeoutS = LONG_TIMEOUT_S) -> None:
    """Read what was said of people, and what was seen together, back from profile's log: where identity has lost its records or such facts.

    Events stay sealed on their way. Stopped halfway, run it again: what is heard twice changes nothing. What comes back is settled behind the events.
    """
    from c360.identity.v1 import matching_pb2

    from services.cli.client import connect

    read = records = sightings = 0
    with connect("profile") as profile, _matching() as stub:
        for page in _pages(profile, timeout_s):
            answer = stub.ReadBack(matching_pb2.ReadBackRequest(events=page), timeout=timeout_s)
            records, sightings = records + answer.records, sightings + answer.sightings
            read += len(page)
            render.note(f"{read} events read back")
    if as_json:
        render.document({"events": read, "records": records, "sightings": sightings})
        return
    facts = ("records they are about, page by page", records), ("sightings that were lost", sightings)
    render.facts([("events read back", read), *facts])


def _pages(profile: grpc.Channel, timeout_s: float) -> Iterator[list[log_pb2.Event]]:
    """Of all partitions of a log: whom events named, and what people said of themselves, in pages that fit into a message."""
    from c360.log.v1 import log_pb2, log_pb2_grpc

    from shared.events.customer import ACTIVITY_IDS, IDENTIFIED

    log: Any = log_pb2_grpc.LogServiceStub(profile)
    page: list[log_pb2.Event] = []
    room = PAGE_BYTES
    for partition in range(log.ListPartitions(log_pb2.ListPartitionsRequest(), timeout=timeout_s).partition_count):
        for answer in log.ReadEvents(log_pb2.ReadEventsRequest(partition=partition)):
            for event in answer.events:
                if event.type not in ACTIVITY_IDS:
                    continue
                if event.type != IDENTIFIED.id:
                    event.ClearField("envelope")  # nothing in it is asked for
                if page and (len(page) == PAGE_EVENTS or event.ByteSize() > room):
                    yield page
                    page, room = [], PAGE_BYTES
                page.append(event)
                room -= event.ByteSize()
    if page:
        yield page


def _tell(checked: int, of: int) -> None:
    if checked:
        render.note(f"{checked} of {of} identifiers looked at")


@contextmanager
def _matching() -> Iterator[matching_pb2_grpc.MatchingServiceStub]:
    from c360.identity.v1 import matching_pb2_grpc

    from services.cli.client import connect

    with connect("identity") as channel:
        yield matching_pb2_grpc.MatchingServiceStub(channel)

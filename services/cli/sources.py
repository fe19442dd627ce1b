"""`c360 sources`: the systems that may send events."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

import typer

from services.cli import render
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, RequestId, TimeoutS

app = typer.Typer(no_args_is_help=True, help="The systems that may send events, and their write keys.")


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Register a source and show its write key, this once."""
    from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = ingest_pb2.RegisterSourceRequest(request_id=request_id or str(uuid4()), name=name)
    try:
        with connect("ingest") as channel:
            answer = ingest_pb2_grpc.IngestServiceStub(channel).RegisterSource(request, timeout=timeout_s)
    except NotReachable as failure:
        failure.hint = f"It may have been registered: repeat the command with --request-id {request.request_id}"
        raise
    if as_json:
        render.document(messages.plain(answer))
        return
    key = answer.write_key or "was shown when this request id was first used"
    render.facts([("source", answer.source.name), ("write key", key), ("position", messages.position_text(answer.position))])
    if answer.write_key:
        render.note("Keep the write key now: only its hash is stored.")


@app.command("list")
def list_sources(as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """List the sources, oldest first."""
    from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("ingest") as channel:
        answer = ingest_pb2_grpc.IngestServiceStub(channel).ListSources(ingest_pb2.ListSourcesRequest(), timeout=timeout_s)
    listed = [messages.plain(source) for source in answer.sources]
    if as_json:
        render.document(listed)
        return
    rows = [(s["name"], f"{s['write_key_hint']}…", s["register_time"]) for s in listed]
    render.table("Sources", ("name", "write key", "registered"), rows)

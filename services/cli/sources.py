"""`c360 sources`: the systems that may send events, and what they may send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from services.cli import render, write_keys
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, RequestId, SourceName, TimeoutS

if TYPE_CHECKING:
    from c360.ingest.v1 import source_pb2

LONGEST_S = 100 * 365 * 24 * 3600

app = typer.Typer(no_args_is_help=True, help="The systems that may send events, their write keys and their limits.")
app.command("keys")(write_keys.list_keys)
app.command("add-key")(write_keys.add_key)
app.command("revoke-key")(write_keys.revoke_key)

Types = Annotated[
    str | None, typer.Option("--types", metavar="TYPE,TYPE", help="What it may send: identify, track, page, screen, group, alias.")
]
EventsPerS = Annotated[
    int | None,
    typer.Option(
        "--events-per-s",
        min=0,
        max=1_000_000,
        help="Of each ingest process, a second's worth at once; after a larger batch the next waits. 0 is without limit.",
    ),
]
MaxEventBytes = Annotated[
    int | None,
    typer.Option(
        "--max-event-bytes", min=1, max=98_304, help="As we encode it, with its batch's context; as it is sent, 32768 at most."
    ),
]
MaxBatchEvents = Annotated[int | None, typer.Option("--max-batch-events", min=1, max=2_500, help="In one request.")]
Region = Annotated[str | None, typer.Option("--region", help="Country of phone numbers without a country code, such as DE.")]
TrustRank = Annotated[
    int | None, typer.Option("--trust-rank", min=0, max=1_000, help="500 for a new one. Kept; no profile goes by it yet.")
]
FarPast = Annotated[
    int | None, typer.Option("--far-past-s", min=0, max=LONGEST_S, help="Events that are older, in seconds, are flagged.")
]
FarFuture = Annotated[
    int | None, typer.Option("--far-future-s", min=0, max=LONGEST_S, help="Events that lie further ahead, in seconds, are flagged.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")],
    *,
    types: Types = None,
    events_per_s: EventsPerS = None,
    max_event_bytes: MaxEventBytes = None,
    max_batch_events: MaxBatchEvents = None,
    region: Region = None,
    trust_rank: TrustRank = None,
    far_past_s: FarPast = None,
    far_future_s: FarFuture = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Make a source and show its write key, this once. What isn't named is as for any new source.

    Example:
      c360 sources create shop --types identify,track --region DE
    """
    from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc, source_pb2

    from services.cli import messages
    from services.cli.client import connect

    settings = source_pb2.InitialSettings(
        allowed_types=_allowed(types),
        events_per_s=events_per_s,
        max_event_bytes=max_event_bytes,
        max_batch_events=max_batch_events,
        region=region,
        trust_rank=trust_rank,
        far_past_s=far_past_s,
        far_future_s=far_future_s,
    )
    request = ingest_pb2.RegisterSourceRequest(request_id=request_id or str(uuid4()), name=name, settings=settings)
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
    listed = described("", timeout_s)
    if as_json:
        render.document(listed)
        return
    rows = [
        (
            s["name"],
            s["live_keys"],
            f"v{s['plan_version']}" if s["plan_version"] else "",
            s["settings"]["trust_rank"],
            s["register_time"],
        )
        for s in listed
    ]
    render.table("Sources", ("name", "keys", "plan", "trust rank", "registered"), rows)


@app.command()
def show(name: SourceName, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """Show what a source may send, and its trust rank."""
    [found] = described(name, timeout_s)
    render.document(found) if as_json else _show(found)


@app.command()
def update(
    name: SourceName,
    *,
    types: Types = None,
    events_per_s: EventsPerS = None,
    max_event_bytes: MaxEventBytes = None,
    max_batch_events: MaxBatchEvents = None,
    region: Region = None,
    trust_rank: TrustRank = None,
    far_past_s: FarPast = None,
    far_future_s: FarFuture = None,
    request_id: RequestId = "",
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Change what a source may send; what isn't named stays. `--types ""` allows all types.

    Example:
      c360 sources update shop --types identify,track --events-per-s 500 --region DE
    """
    from c360.ingest.v1 import source_pb2

    request = source_pb2.ChangeSettingsRequest(
        request_id=request_id or str(uuid4()),
        source=name,
        allowed_types=_allowed(types),
        events_per_s=events_per_s,
        max_event_bytes=max_event_bytes,
        max_batch_events=max_batch_events,
        region=region,
        trust_rank=trust_rank,
        far_past_s=far_past_s,
        far_future_s=far_future_s,
    )
    _change(request, as_json, timeout_s)


def _allowed(types: str | None) -> source_pb2.AllowedTypes | None:
    from c360.ingest.v1 import source_pb2

    return None if types is None else source_pb2.AllowedTypes(types=[word.strip() for word in types.split(",") if word.strip()])


def _change(request: source_pb2.ChangeSettingsRequest, as_json: bool, timeout_s: float) -> None:
    from c360.ingest.v1 import source_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("ingest") as channel:
        answer = messages.plain(source_pb2_grpc.SourceServiceStub(channel).ChangeSettings(request, timeout=timeout_s))
    render.document(answer) if as_json else _show(answer["source"])


def described(name: str, timeout_s: float) -> list[dict[str, Any]]:
    """All when `name` is empty. Raises Refused (SOURCE_UNKNOWN), NotReachable."""
    from c360.ingest.v1 import source_pb2, source_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    with connect("ingest") as channel:
        stub = source_pb2_grpc.SourceServiceStub(channel)
        answer = stub.DescribeSources(source_pb2.DescribeSourcesRequest(name=name), timeout=timeout_s)
    return [messages.plain(source) for source in answer.sources]


def _show(described: dict[str, Any]) -> None:
    settings = described["settings"]
    render.facts(
        [
            ("source", described["name"]),
            ("may send", settings["allowed_types"] or "all types"),
            ("events a second", settings["events_per_s"] or "without limit"),
            ("event bytes", f"{settings['max_event_bytes']} as encoded with its batch's context; 32768 as sent"),
            ("events a request", settings["max_batch_events"]),
            ("region", settings["region"]),
            ("trust rank", settings["trust_rank"]),
            ("far past", f"{settings['far_past_s']} s"),
            ("far future", f"{settings['far_future_s']} s"),
            ("keys", described["live_keys"]),
            ("plan", f"version {described['plan_version']}" if described["plan_version"] else "none"),
            ("registered", described["register_time"]),
        ]
    )

"""`c360 profile`: who is this, what may I use, and what did we know then?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli import paging, render
from services.cli.notation import LogPosition
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    Fresh,
    KnownAt,
    PersonRef,
    PurposeOption,
    Rules,
    TimeoutS,
    ValidAt,
    Version,
    instant_parser,
    position_parser,
)
from services.cli.reconnecting import reconnecting

if TYPE_CHECKING:
    from c360.profile.v1 import profile_pb2

DETAILS_SHOWN = 300  # characters: a table of whole documents can't be read; --json has them
EARLIER: Final = "there are earlier events: raise --limit to see them"
FLAGS: Final = ("verified", "cut")

app = typer.Typer(no_args_is_help=True, help="Golden profiles: now, as of any past instant, and as they change.")


@app.command()
def get(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    rules: Rules = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Show a profile, as far as the purpose and the person's consent allow.

    Examples:
      c360 profile get email:ann@example.com --purpose service
      c360 profile get user_id:u1 --purpose service --fresh ingest/0/42
      c360 profile get user_id:u1 --purpose audit --valid-at -7d --known-at 2026-03-03T10:02:11Z
      c360 profile get user_id:u1 --purpose audit --version 12
    """
    from c360.profile.v1 import profile_pb2, profile_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = profile_pb2.GetProfileRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        version=version or 0,
        rules=messages.rules_choice(rules),
        at_least_as_fresh=messages.positions(fresh),
    )
    with connect("profile") as channel:
        answer = profile_pb2_grpc.ProfileServiceStub(channel).GetProfile(request, timeout=timeout_s)
    shown = messages.plain(answer.profile)
    render.document(shown) if as_json else _show(shown)


@app.command()
def timeline(
    person: PersonRef,
    *,
    purpose: PurposeOption,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only this kind, such as tracked, identified or merged. Repeatable."),
    ] = None,
    sources: Annotated[list[str] | None, typer.Option("--source", help="Only what this source sent. Repeatable.")] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", help="Only events of this name, such as Order Completed, where the purpose may see it. Repeatable."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="INSTANT",
            parser=instant_parser,
            help="Only what happened at or after it: ISO 8601 (UTC without an offset), or an age.",
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="INSTANT", parser=instant_parser, help="Only what happened before it, UTC without an offset."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many events to show, latest first.")] = 50,
    details: Annotated[
        bool, typer.Option("--details", help="Show what each event carried, long ones cut; --json has all.")
    ] = False,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Replay what happened, latest first, with both clocks: when it happened and when our log knew.

    An instant from either column can be given back to --valid-at or --known-at. With --json: one line per event.

    Examples:
      c360 profile timeline user_id:u1 --purpose audit
      c360 profile timeline user_id:u1 --purpose audit --known-at 2026-03-03T10:02:11.000052Z --kind merged
      c360 profile timeline user_id:u1 --purpose audit --source shop --name "Order Completed" --since -30d
    """
    from c360.profile.v1 import profile_pb2

    from services.cli import messages

    request = profile_pb2.GetTimelineRequest(
        customer=messages.customer_ref(person),
        purpose=purpose,
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        version=version or 0,
        kinds=kinds,
        sources=sources,
        names=names,
        since_time=messages.timestamp(since),
        until_time=messages.timestamp(until),
        at_least_as_fresh=messages.positions(fresh),
    )
    entries = _entries(request, limit, timeout_s)
    if as_json:
        for entry in entries:
            render.line(messages.plain(entry))
    else:
        _show_entries([messages.plain(entry) for entry in entries], details)


@app.command()
def watch(
    person: PersonRef,
    purpose: PurposeOption,
    resume_after: Annotated[
        list[LogPosition] | None,
        typer.Option(
            metavar="POSITION",
            parser=position_parser,
            help="Stay silent until something after this has changed. Repeatable.",
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Stop after so many states. Default: go on until Ctrl-C.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a profile whenever it changes, until Ctrl-C. With --json: one line per state.

    Consent is checked for every state: when it ends, so does this command, with the reason and exit code 1.
    A connection that breaks is made again, from the last state seen.
    """
    from c360.profile.v1 import profile_pb2

    from services.cli import messages

    request = profile_pb2.WatchProfileRequest(
        customer=messages.customer_ref(person), purpose=purpose, resume_after=messages.positions(resume_after)
    )
    before: dict[str, Any] | None = None
    try:
        for number, profile in enumerate(reconnecting(lambda: _stream(request)), start=1):
            shown = messages.plain(profile)
            render.line(shown) if as_json else _show(shown, before)
            before = shown
            if number == count:
                return
    except KeyboardInterrupt:
        render.note("stopped")


def _entries(request: profile_pb2.GetTimelineRequest, limit: int, timeout_s: float) -> Iterator[profile_pb2.TimelineEntry]:
    from c360.profile.v1 import profile_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        stub = profile_pb2_grpc.ProfileServiceStub(channel)
        yield from paging.entries(stub.GetTimeline, request, "entries", limit, timeout_s, EARLIER)


def _stream(request: profile_pb2.WatchProfileRequest) -> Iterator[profile_pb2.Profile]:
    """Begun again it goes on behind what was taken."""
    from c360.profile.v1 import profile_pb2_grpc

    from services.cli.client import connect

    with connect("profile") as channel:
        call = profile_pb2_grpc.ProfileServiceStub(channel).WatchProfile(request)
        try:
            for answer in call:
                yield answer.profile
                del request.resume_after[:]
                request.resume_after.extend(answer.profile.positions)
        finally:
            call.cancel()


def _show(profile: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    render.facts(
        [
            ("customer", profile["customer_id"]),
            ("members", profile["member_ids"]),
            ("purpose", profile["purpose_version"]),
            ("version", profile["version"]),
            ("redacted events", profile["redacted_events"] or None),
            ("rules", f"v{profile['rules_version']}"),
            ("founded", profile["found_time"]),
            ("last seen", profile["last_seen_time"]),
            ("identifiers", [f"{item['namespace']}:{item['value']}" for item in profile["identifiers"]]),
            ("positions", profile["positions"]),
            ("state hash", profile["state_hash"]),
            ("changed", _changed(profile, before)),
        ]
    )
    traits = [
        (name, item["value"], item["source"], item["occur_time"], ", ".join(flag for flag in FLAGS if item[flag]))
        for name, item in profile["traits"].items()
    ]
    render.table("Traits", ("trait", "value", "source", "since", ""), traits)
    withheld = sorted((item["field"], item["reason"]) for item in profile["withheld"])
    if withheld:
        render.table("Withheld", ("field", "reason"), withheld)


def _changed(profile: dict[str, Any], before: dict[str, Any] | None) -> list[str]:
    if before is None:
        return []
    now, then = profile["traits"], before["traits"]
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def _show_entries(entries: list[dict[str, Any]], details: bool) -> None:
    columns = ["happened", "known", "kind", "name", "source", "stream"]
    more = (["flags"] if any(entry["flags"] for entry in entries) else []) + (["details"] if details else [])
    rows = [
        [entry["occur_time"], entry["record_time"], kind_of(entry), entry["name"], entry["source"], _stream_name(entry)]
        + [_shown(entry, name) for name in more]
        + ([_sent_as(entry)] if details else [])
        for entry in entries
    ]
    render.table("Events, latest first", columns + more + (["sent as"] if details else []), rows)


def _shown(entry: dict[str, Any], name: str) -> str:
    return "redacted" if name == "details" and entry["redacted"] else _shortened(render.as_text(entry[name]))


def _sent_as(entry: dict[str, Any]) -> str:
    """What standardisation changed: the source's own name and value of each."""
    sent = {name: f"{raw['field']}={render.as_text(raw['value'])}" for name, raw in (entry["sent_as"] or {}).items()}
    return _shortened(", ".join(f"{name} from {text}" for name, text in sent.items()))


def kind_of(event: dict[str, Any]) -> str:
    """Of a timeline's entry or a replay's step; an empty event and one that nobody can read any more look different."""
    return f"{event['kind']} (redacted)" if event["redacted"] else str(event["kind"])


def _shortened(text: str) -> str:
    return text if len(text) <= DETAILS_SHOWN else f"{text[: DETAILS_SHOWN - 1]}…"


def _stream_name(entry: dict[str, Any]) -> str:
    """The end of the id tells streams apart; the beginning of an id is its time of birth, often the same."""
    whose = f"…{entry['customer_id'][-8:]}" if entry["customer_id"] else "erased"
    return f"{whose} v{entry['version']}"

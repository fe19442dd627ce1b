"""`c360 consent purposes`, `controllers`, `notices`, `mappings`, `callers` and `overrides`: what decisions and reads refer to, in versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from services.cli import paging, render
from services.cli.definition_documents import document_of, fill, read
from services.cli.errors import NotReachable
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, KnownAt, RequestId, TimeoutS, instant_parser

if TYPE_CHECKING:
    from c360.consent.v1 import registry_pb2, registry_pb2_grpc

PURPOSE, CONTROLLER, NOTICE, MAPPING = "purpose", "controller", "notice", "mapping"  # as the protos' oneof calls them
CALLER, OVERRIDE = "caller", "override"
NAMES: Final = {
    PURPOSE: "service",
    CONTROLLER: "operator",
    NOTICE: "privacy",
    MAPPING: "signals",
    CALLER: "operator",
    OVERRIDE: "incident_12",
}  # that every installation has, for examples

DefinitionName = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and underscores.")]
DefinitionVersion = Annotated[int, typer.Option("--version", min=0, max=MOST, metavar="N", help="Default: the one in force.")]
InForceAt = Annotated[
    datetime | None,
    typer.Option(
        metavar="INSTANT",
        parser=instant_parser,
        help="The version in force then: ISO 8601 (UTC without an offset), now, or an age such as -2h.",
    ),
]
Document = Annotated[bool, typer.Option("--document", help="Print it as a file that can be edited and defined again.")]
DocumentFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A JSON document, as `show --document` prints it; - reads stdin.")
]
By = Annotated[str, typer.Option("--by", help="Who, as an id or a role. Kept for ever.")]
Reason = Annotated[str, typer.Option(help="Why. Kept for ever: name nobody in it.")]
InForceFrom = Annotated[
    datetime | None,
    typer.Option(
        "--in-force-from",
        metavar="INSTANT",
        parser=instant_parser,
        help="From when on: ISO 8601 (UTC without an offset) or an age such as -2h, never in the future. Default: now.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, max=MOST, help="How many to show.")]
Row = Callable[[dict[str, Any]], tuple[Any, ...]]


def list_definitions(kind: str, columns: tuple[str, ...], row: Row, limit: int, as_json: bool, timeout_s: float) -> None:
    from c360.consent.v1 import registry_pb2

    with _registry() as stub:
        request = registry_pb2.ListDefinitionsRequest(kind=_kind(kind))
        listed = [_plain(one) for one in paging.entries(stub.ListDefinitions, request, "definitions", limit, timeout_s)]
    if as_json:
        render.document(listed)
        return
    rows = [(_versioned(one), *row(one), one["in_force_time"]) for one in listed]
    render.table(f"{kind}s".capitalize(), (kind, *columns, "in force from"), rows)


def show_version(request: registry_pb2.GetVersionAtRequest, document: bool, as_json: bool, timeout_s: float) -> None:
    with _registry() as stub:
        found = stub.GetVersionAt(request, timeout=timeout_s).definition
    shown = _plain(found)
    if document:
        render.document(document_of(found))
    elif as_json:
        render.document(shown)
    else:
        facts = {name: value for name, value in shown.items() if name not in ("name", "version", "texts") and value}
        render.facts([("definition", _versioned(shown)), *facts.items()])
        for text in shown.get("texts", ()):
            render.say("")
            render.say(f"[{text['locale']}] sha256 {text['sha256']}")
            for line in text["text"].splitlines():
                render.say(line)


def list_versions(kind: str, name: str, limit: int, as_json: bool, timeout_s: float) -> None:
    from c360.consent.v1 import registry_pb2

    from services.cli import messages

    with _registry() as stub:
        request = registry_pb2.ListVersionsRequest(kind=_kind(kind), name=name)
        found = list(paging.entries(stub.ListVersions, request, "versions", limit, timeout_s))
    listed = [_plain(one.definition) | {"differences": [messages.plain(d) for d in one.differences]} for one in found]
    if as_json:
        render.document(listed)
        return
    rows = [
        (
            f"v{one['version']}",
            one["in_force_time"],
            one["record_time"],
            one["defined_by"],
            one["reason"],
            _changes(one["differences"]),
        )
        for one in listed
    ]
    render.table(name, ("version", "in force from", "known", "by", "reason", "what it changed"), rows)


def define_version(
    kind: str, name: str, file: Path, by: str, reason: str, start: datetime | None, request_id: str, as_json: bool, timeout_s: float
) -> None:
    from c360.consent.v1 import registry_pb2

    from services.cli import messages

    definition = registry_pb2.Definition(name=name, defined_by=by, reason=reason, in_force_time=messages.timestamp(start))
    fill(getattr(definition, kind), read(file))
    request = registry_pb2.DefineRequest(request_id=request_id or str(uuid4()), definition=definition)
    try:
        with _registry() as stub:
            answer = stub.Define(request, timeout=timeout_s)
    except NotReachable as failure:
        failure.hint = f"It may have been defined: repeat the command with --request-id {request.request_id}"
        raise
    shown = _plain(answer.definition) | {"position": messages.plain(answer.position)}
    if as_json:
        render.document(shown)
        return
    render.facts([(kind, _versioned(shown)), ("in force from", shown["in_force_time"]), ("position", shown["position"])])


def _commands(kind: str, what: str, columns: tuple[str, ...], row: Row) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, help=what)
    group, example = f"c360 consent {kind}s", NAMES[kind]

    @app.command("list", help=f"List the newest version of every {kind}.")
    def listing(limit: Limit = 500, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
        list_definitions(kind, columns, row, limit, as_json, timeout_s)

    @app.command("show", help=f"Show a {kind}: its newest version, one by its number, or the one that was in force at an instant.")
    def show(
        name: DefinitionName,
        version: DefinitionVersion = 0,
        valid_at: InForceAt = None,
        known_at: KnownAt = None,
        document: Document = False,
        as_json: AsJson = False,
        timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
    ) -> None:
        from c360.consent.v1 import registry_pb2

        from services.cli import messages

        request = registry_pb2.GetVersionAtRequest(
            kind=_kind(kind),
            name=name,
            version=version,
            valid_at=messages.timestamp(valid_at),
            known_at=messages.timestamp(known_at),
        )
        show_version(request, document, as_json, timeout_s)

    @app.command("history", help=f"List the versions of a {kind}, newest first: who defined each, why, and what it changed.")
    def history(name: DefinitionName, limit: Limit = 50, as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
        list_versions(kind, name, limit, as_json, timeout_s)

    @app.command(
        "define",
        help=f"""Define a {kind}, or a new version of it.

        Example:
          {group} show {example} --document > {example}.json && {group} define {example} {example}.json --by ops --reason "ticket 12"
        """,
    )
    def define(
        name: DefinitionName,
        file: DocumentFile,
        *,
        by: By,
        reason: Reason,
        in_force_from: InForceFrom = None,
        request_id: RequestId = "",
        as_json: AsJson = False,
        timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
    ) -> None:
        define_version(kind, name, file, by, reason, in_force_from, request_id, as_json, timeout_s)

    return app


purposes: Final = _commands(
    PURPOSE,
    "What data may be used for: what each purpose may see, and on which legal basis.",
    ("legal basis", "decided by", "controller", "may see", "description"),
    lambda one: (one["legal_basis"], one["contact_points"] or one["scope"], one["controller"], one["traits"], one["description"]),
)
controllers: Final = _commands(
    CONTROLLER,
    "Who decides what data is used for, and answers for it.",
    ("legal name", "contact", "jurisdiction"),
    lambda one: (one["legal_name"], one["contact"], one["jurisdiction"]),
)
notices: Final = _commands(
    NOTICE,
    "What people are shown when they are asked, word for word.",
    ("tells of", "controller", "languages"),
    lambda one: (one["purposes"], one["controller"], [text["locale"] for text in one["texts"]]),
)

mappings: Final = _commands(
    MAPPING,
    "Which of our purposes is decided by what browsers, consent platforms and phones say.",
    ("by",),
    lambda one: (sorted(json.loads(one["document"])),),
)
callers: Final = _commands(
    CALLER,
    "Which programs may call, what proves who they are, and what each may do.",
    ("purposes", "may", "calls a second", "description"),
    lambda one: (one["purposes"], one["groups"], one["calls_per_s"] or "", one["description"]),
)


overrides: Final = _commands(
    OVERRIDE,
    "Break-glass: what a caller may do more for some hours; whoever opened it, closed it and reviewed it.",
    ("caller", "purpose", "ticket", "opened by", "approved by", "ends", "closed", "review"),
    lambda one: (
        *(one[field] for field in ("caller", "purpose", "ticket", "opened_by", "approved_by", "end_time", "closed")),
        one["review"] or ("DUE" if waits_for_review(one) else ""),
    ),
)


def waits_for_review(override: dict[str, Any]) -> bool:
    """It is over, and nobody has looked at what was read."""
    return not override["review"] and (override["closed"] or datetime.fromisoformat(override["end_time"]) <= datetime.now(UTC))


def reviews_due(timeout_s: float) -> list[str]:
    """Names of overrides."""
    from c360.consent.v1 import registry_pb2

    with _registry() as stub:
        request = registry_pb2.ListDefinitionsRequest(kind=_kind(OVERRIDE))
        listed = [_plain(one) for one in paging.entries(stub.ListDefinitions, request, "definitions", MOST, timeout_s)]
    return [one["name"] for one in listed if waits_for_review(one)]


def _plain(definition: registry_pb2.Definition) -> dict[str, Any]:
    """With what it says beside who said it and when."""
    from services.cli import messages

    whole: dict[str, Any] = messages.plain(definition)
    contents = [whole.pop(kind) for kind in (PURPOSE, CONTROLLER, NOTICE, MAPPING, CALLER, OVERRIDE)]
    content: dict[str, Any] = next(content for content in contents if content is not None)
    return whole | content


def _versioned(one: dict[str, Any]) -> str:
    return f"{one['name']}@{one['version']}"


def _changes(differences: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{d['field']}: {', '.join([f'-{v}' for v in d['removed']] + [f'+{v}' for v in d['added']])}" for d in differences
    )


def _kind(kind: str) -> registry_pb2.DefinitionKind.ValueType:
    from c360.consent.v1 import registry_pb2

    return registry_pb2.DefinitionKind.Value(f"DEFINITION_KIND_{kind.upper()}")


@contextmanager
def _registry() -> Iterator[registry_pb2_grpc.RegistryServiceStub]:
    from c360.consent.v1 import registry_pb2_grpc

    from services.cli.client import connect

    with connect("consent") as channel:
        yield registry_pb2_grpc.RegistryServiceStub(channel)

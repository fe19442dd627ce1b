"""Where in an event it breaks its plan: what a person needs to mend the plan, or the sender. Too costly for every event that comes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jsonschema_rs
import msgspec

from services.ingest.domain.plan import MAX_FINDINGS, Finding, Judge, Plan, fields_of, place_of
from services.ingest.domain.plan_document import Action
from shared.events.wire import RawEvent

Path = Sequence[str | int]


class Breach(msgspec.Struct, frozen=True):
    """`place` is in the plan. `pointer` (RFC 6901) is in the call: names of fields, never what is in them."""

    rule: str
    action: Action
    place: str = ""
    pointer: str = ""


def breaches_of(plan: Judge | None, event: RawEvent, findings: Iterable[Finding]) -> list[Breach]:
    """`event` is as it came, `findings` are what the plan said of it. At most MAX_FINDINGS."""
    found: dict[Breach, None] = {}
    for finding in findings:
        paths = _paths(plan, event, finding) if isinstance(plan, Plan) else [()]
        for path in paths:
            found[Breach(finding.rule, finding.action, finding.place, _pointer(path))] = None
            if len(found) == MAX_FINDINGS:
                return list(found)
    return list(found)


def _paths(plan: Plan, event: RawEvent, finding: Finding) -> Iterator[Path]:
    section, fields = fields_of(event)
    schema, standardiser = plan.schema_of(event), plan.standardiser_of(event)
    match finding.rule:
        case "UNPLANNED_EVENT":
            yield ("event",)
        case "UNPLANNED_PROPERTY" | "UNPLANNED_TRAIT" if schema is not None:
            unplanned = (name for name in fields if not schema.plans(name) and standardiser.target(name) is None)
            yield from ((section, name) for name in unplanned)
        case "SCHEMA_VIOLATION" if schema is not None:
            subject = event.name if event.kind == "track" else event.kind
            for error in schema.errors(fields):
                if place_of(f"{subject}/{'/'.join(map(str, error.schema_path))}") == finding.place:
                    yield from ((section, *path) for path in _paths_of(error))
        case "COERCION_FAILED":
            canonical = finding.place
            yield section, standardiser.standardise(fields).raw.get(canonical, {}).get("field", canonical)
        case _:
            yield ()


def _paths_of(error: jsonschema_rs.ValidationError) -> Iterator[Path]:
    """What is missing or too much is named; everything else is where it stands."""
    kind: Any = error.kind
    match kind.name:
        case "required":
            yield *error.instance_path, kind.property
        case "additionalProperties" | "unevaluatedProperties":
            yield from ((*error.instance_path, name) for name in kind.unexpected)
        case _:
            yield error.instance_path


def _pointer(path: Path) -> str:
    return place_of("".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path))

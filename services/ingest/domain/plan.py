"""A tracking plan, compiled once per version: judges what a source sends, and standardises it.

JSON Schema is evaluated by jsonschema-rs; patterns run in time linear to the text, references stay inside the plan.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

import jsonschema_rs
import msgspec

from services.ingest.domain import coercions
from services.ingest.domain.codes import folded
from services.ingest.domain.coercions import Coerce
from services.ingest.domain.plan_document import Action, Document, Field, Rules, Standards, invalid, read
from services.ingest.domain.plan_schema import check_schema
from services.ingest.domain.standardise import MEMORISED_NAMES, Standard, Standardiser
from shared.events.wire import RawEvent

SEVERITY: Final[Mapping[Action, int]] = {"allow": 0, "flag": 1, "quarantine": 2, "block": 3}
MAX_FINDINGS: Final = 20  # of an event
MAX_VALUES: Final = 100  # of an event, for which all findings are looked for
MAX_PLACE: Final = 300  # characters
PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=2 * 1024 * 1024)  # bytes of a compiled one; matched in linear time
OF_TRAITS: Final = ("identify", "group")
FLAG_PREFIX: Final = "PLAN_"


class Finding(msgspec.Struct, frozen=True):
    """A rule that an event breaks. `place` is a place in the plan, never in the event: what senders make up stays out of it."""

    rule: str
    action: Action
    place: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a plan says of an event. `event` is standardised, and flagged.

    Of an event that is held `event` is what came, and `standard` what it would be: that may name people by other fields.
    """

    event: RawEvent
    action: Action = "allow"
    findings: tuple[Finding, ...] = ()
    standard: RawEvent | None = None


UNREADABLE: Final = (Finding("UNREADABLE", "quarantine"),)


class Judge(Protocol):
    """A plan, as whoever judges by it knows it."""

    version: int

    def judge(self, event: RawEvent) -> Outcome: ...


class Schema:
    """One JSON Schema, and the names that it plans."""

    def __init__(self, schema: dict[str, Any], path: str) -> None:
        check_schema(schema, path)
        self._validator = _validator(schema, path)
        properties, patterns = schema.get("properties"), schema.get("patternProperties")
        self.names = frozenset(properties) if isinstance(properties, dict) else frozenset()
        self._patterns = [_validator({"pattern": pattern}, path) for pattern in patterns] if isinstance(patterns, dict) else []
        self._memory: dict[str, bool] = {}
        self.is_valid = self._validator.is_valid

    def violations(self, fields: Any) -> Iterator[str]:
        """Where in the schema."""
        for error in self.errors(fields):
            yield "/".join(map(str, error.schema_path))

    def errors(self, fields: Any) -> Iterator[jsonschema_rs.ValidationError]:
        """Of large fields the first only: the validator finds them all before it tells one."""
        return self._validator.iter_errors(fields) if _is_small(fields) else self._first(fields)

    def _first(self, fields: Any) -> Iterator[jsonschema_rs.ValidationError]:
        try:
            self._validator.validate(fields)
        except jsonschema_rs.ValidationError as error:
            yield error

    def plans(self, name: str) -> bool:
        try:
            return self._memory[name]
        except KeyError:
            found = name in self.names or any(pattern.is_valid(name) for pattern in self._patterns)
            if len(self._memory) < MEMORISED_NAMES:
                self._memory[name] = found
            return found


def _is_small(fields: Any) -> bool:
    """Whether it holds few values, those inside of it counted."""
    left, waiting = MAX_VALUES, [fields]
    while waiting:
        found = waiting.pop()
        inside = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        left -= len(inside)
        if left < 0:
            return False
        waiting += inside
    return True


def _validator(schema: dict[str, Any], path: str) -> jsonschema_rs.Draft202012Validator:
    try:
        return jsonschema_rs.Draft202012Validator(schema, validate_formats=True, offline=True, pattern_options=PATTERNS)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        where = "".join(f"[{part!r}]" for part in getattr(error, "instance_path", ()))
        raise invalid(getattr(error, "message", str(error)), path + where) from None


class Plan:
    """`version` is 0 while nobody has published it."""

    def __init__(self, document: Document, version: int, region: str) -> None:
        self.version = version
        self._rules: Rules = document.rules
        self._events = {
            name: None if planned.properties is None else Schema(planned.properties, f"$.events[{name!r}].properties")
            for name, planned in (document.events or {}).items()
        }
        self._knows_events = document.events is not None
        self._traits = {
            kind: Schema(schema, f"$.traits.{kind}") for kind in OF_TRAITS if (schema := getattr(document.traits, kind)) is not None
        }
        self._standard_traits = _standardiser(document.standardisation, document.standardisation.traits, region)
        self._standard_properties = _standardiser(document.standardisation, document.standardisation.properties, region)

    def judge(self, event: RawEvent) -> Outcome:
        """Never raises. The event of an outcome that isn't "allow" or "flag" is the one that came."""
        section, fields = fields_of(event)
        standardiser = self.standardiser_of(event)
        findings = self._findings(event, fields, standardiser)
        standard = standardiser.standardise(fields)
        if not findings and not standard.failed:
            if standard.fields is fields:
                return Outcome(event)
            changes = {section: standard.fields, "raw": standard.raw}
            return Outcome(msgspec.structs.replace(event, **changes))
        findings += [Finding("COERCION_FAILED", self._rules.coercion_failed, place_of(name)) for name in standard.failed]
        return self._outcome(event, [found for found in findings if found.action != "allow"], standard, section)

    def schema_of(self, event: RawEvent) -> Schema | None:
        """None: whatever is in its fields goes."""
        return self._events.get(event.name) if event.kind == "track" else self._traits.get(event.kind)

    def standardiser_of(self, event: RawEvent) -> Standardiser:
        return self._standard_traits if event.kind in OF_TRAITS else self._standard_properties

    def _findings(self, event: RawEvent, fields: Any, standardiser: Standardiser) -> list[Finding]:
        schema: Schema | None
        if event.kind == "track":
            schema = self._events.get(event.name)
            if schema is None:
                unplanned = self._knows_events and event.name not in self._events
                return [Finding("UNPLANNED_EVENT", self._rules.unplanned_event)] if unplanned else []
            return self._check(schema, event.name, fields, standardiser, "UNPLANNED_PROPERTY", self._rules.unplanned_property)
        if (schema := self._traits.get(event.kind)) is None:
            return []
        return self._check(schema, event.kind, fields, standardiser, "UNPLANNED_TRAIT", self._rules.unplanned_trait)

    def _check(
        self, schema: Schema, subject: str, fields: Any, standardiser: Standardiser, rule: str, action: Action
    ) -> list[Finding]:
        found: list[Finding] = []
        if not schema.is_valid(fields):
            violation = self._rules.schema_violation
            found += [Finding("SCHEMA_VIOLATION", violation, place_of(f"{subject}/{path}")) for path in schema.violations(fields)]
            del found[MAX_FINDINGS:]
        planned = schema.names
        for name in fields:
            if name not in planned and not schema.plans(name) and standardiser.target(name) is None:
                found.append(Finding(rule, action, place_of(subject)))
                break
        return found

    def _outcome(self, event: RawEvent, findings: list[Finding], standard: Standard, section: str) -> Outcome:
        action: Action = max((found.action for found in findings), key=SEVERITY.__getitem__, default="allow")
        flags = sorted({*event.flags, *(FLAG_PREFIX + found.rule for found in findings)})
        changes = {section: standard.fields, "raw": standard.raw, "flags": flags}
        standardised = msgspec.structs.replace(event, **changes)
        if action in ("quarantine", "block"):
            return Outcome(event, action, tuple(findings), standardised)
        return Outcome(standardised, action, tuple(findings))


def fields_of(event: RawEvent) -> tuple[str, dict[str, Any]]:
    """What a plan judges of an event, and where in a call it stands."""
    return ("traits", event.traits) if event.kind in OF_TRAITS else ("properties", event.properties)


def place_of(path: str) -> str:
    """Of what a table of text can hold, and short enough to be part of its key."""
    return "".join(char if char.isprintable() else "\ufffd" for char in path[:MAX_PLACE])


class Unreadable:
    """Stands for a plan that no longer compiles: what its source sends waits until another one is published."""

    def __init__(self, version: int) -> None:
        self.version = version

    def judge(self, event: RawEvent) -> Outcome:
        return Outcome(event, "quarantine", UNREADABLE)


def compile_plan(document: str | bytes, version: int, region: str) -> Plan:
    """`region` (ISO 3166) completes phone numbers. Raises InvalidInput (PLAN_INVALID), whose text names the place."""
    return Plan(read(document), version, region)


def _standardiser(standards: Standards, fields: Mapping[str, Field], region: str) -> Standardiser:
    sources = {name: field.names for name, field in fields.items()}
    forms = {name: form for name, field in fields.items() if (form := _coercion(field, standards, region)) is not None}
    return Standardiser(sources, forms, loose=standards.match == "loose")


def _coercion(field: Field, standards: Standards, region: str) -> Coerce | None:
    values = {folded(spelling): value for value, synonyms in field.values.items() for spelling in (value, *synonyms)}
    forms: dict[str, Callable[[], Coerce]] = {
        "text": lambda: coercions.text,
        "lower": lambda: coercions.lower,
        "boolean": lambda: coercions.boolean,
        "email": lambda: coercions.email,
        "number": lambda: partial(coercions.number, decimal=field.decimal),
        "integer": lambda: partial(coercions.integer, decimal=field.decimal),
        "date": lambda: coercions.calendar_date(field.formats),
        "datetime": lambda: coercions.instant(field.formats),
        "phone": lambda: coercions.phone(region),
        "country": lambda: coercions.country(standards.languages),
        "currency": lambda: coercions.currency(standards.languages),
        "enumeration": lambda: coercions.enumeration(values),
    }
    return None if field.form == "any" else forms[field.form]()

"""A tracking plan as people write it: one JSON document, read strictly, every error naming the place."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from services.ingest.domain.codes import folded, is_language
from services.ingest.domain.coercions import is_format
from shared.errors import InvalidInput

MAX_DOCUMENT_BYTES: Final = 256 * 1024  # fits an event of the log, and a message
MAX_NAMES: Final = 5_000  # of events, and of fields that are standardised
MAX_NAME: Final = 300  # characters; a place made of names is the key of a row

Action = Literal["allow", "flag", "quarantine", "block"]
Form = Literal[
    "any",
    "text",
    "lower",
    "number",
    "integer",
    "boolean",
    "date",
    "datetime",
    "email",
    "phone",
    "country",
    "currency",
    "enumeration",
]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Planned(Strict, frozen=True, kw_only=True):
    """A track event by name. `properties` is a JSON Schema (2020-12) of all of them together."""

    properties: dict[str, Any] | None = None  # None: anything goes
    description: str = ""


class Rules(Strict, frozen=True, kw_only=True):
    """What is done with an event that breaks the plan."""

    schema_violation: Action = "flag"
    unplanned_event: Action = "flag"
    unplanned_property: Action = "flag"
    unplanned_trait: Action = "flag"
    coercion_failed: Action = "flag"


class Field(Strict, frozen=True, kw_only=True):
    """One canonical field: what sources call it, and the form of its value."""

    names: list[str] = msgspec.field(default=[], name="from")
    form: Form = msgspec.field(default="any", name="as")
    values: dict[str, list[str]] = {}  # enumeration: each value with its synonyms
    formats: list[str] = []  # date, datetime: further forms, as of strptime
    decimal: Literal[".", ","] = "."  # number, integer: in text


class Standards(Strict, frozen=True, kw_only=True):
    """`traits` are those of identify and group; `properties` are those of track, page and screen."""

    match: Literal["exact", "loose"] = "exact"  # loose: whatever the case, spaces, hyphens and underscores of a name
    languages: tuple[str, ...] = ("en",)  # of the names of countries and currencies
    traits: dict[str, Field] = {}
    properties: dict[str, Field] = {}


class Traits(Strict, frozen=True, kw_only=True):
    """JSON Schemas (2020-12) of all traits together."""

    identify: dict[str, Any] | None = None
    group: dict[str, Any] | None = None


class Document(Strict, frozen=True, kw_only=True):
    description: str = ""
    events: dict[str, Planned] | None = None  # None: any event goes
    traits: Traits = Traits()
    rules: Rules = Rules()
    standardisation: Standards = Standards()


_decode = msgspec.json.Decoder(Document).decode


def read(document: str | bytes) -> Document:
    """Raises InvalidInput (PLAN_INVALID), whose text names the place, as "... - at `$.rules.unplanned_event`"."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise invalid(f"a plan has at most {MAX_DOCUMENT_BYTES // 1024} KiB", "$")
    try:
        found = _decode(document)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), reason="PLAN_INVALID") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the plan is not JSON: {error}", reason="PLAN_INVALID") from None
    _check(found)
    return found


def invalid(message: str, path: str) -> InvalidInput:
    return InvalidInput(f"{message} - at `{path}`", reason="PLAN_INVALID", path=path)


def is_name(name: str) -> bool:
    """Names are shown to people, and kept beside what is counted."""
    return len(name) <= MAX_NAME and name.isprintable()


def _check(document: Document) -> None:
    standards = document.standardisation
    for name in document.events or ():
        if not is_name(name):
            raise invalid(f"a name has at most {MAX_NAME} characters, all printable", "$.events")
    if len(document.events or ()) > MAX_NAMES:
        raise invalid(f"a plan has at most {MAX_NAMES} events", "$.events")
    for number, language in enumerate(standards.languages):
        if not is_language(language):
            raise invalid("not a language that CLDR knows", f"$.standardisation.languages[{number}]")
    for section in ("traits", "properties"):
        fields: Mapping[str, Field] = getattr(standards, section)
        path = f"$.standardisation.{section}"
        _check_names(fields, path, standards.match == "loose")
        for name, field in fields.items():
            _check_field(field, f"{path}[{name!r}]")


def _check_names(fields: Mapping[str, Field], path: str, loose: bool) -> None:
    """A name that meant two things would mean one of them by accident."""
    owners: dict[str, str] = {}
    for canonical, field in fields.items():
        for name in (canonical, *field.names):
            if not is_name(name):
                raise invalid(f"a name has at most {MAX_NAME} characters, all printable", path)
            owner = owners.setdefault(folded(name) if loose else name, canonical)
            if owner != canonical:
                raise invalid(f"{name!r} stands for {owner!r} already", f"{path}[{canonical!r}]")
    if len(owners) > MAX_NAMES:
        raise invalid(f"a plan has at most {MAX_NAMES} names of fields", path)


def _check_field(field: Field, path: str) -> None:
    if (field.form == "enumeration") != bool(field.values):
        raise invalid("an enumeration has values, and nothing else has", f"{path}.values")
    owners: dict[str, str] = {}
    for value, synonyms in field.values.items():
        for spelling in (value, *synonyms):
            owner = owners.setdefault(folded(spelling), value)
            if owner != value:
                raise invalid(f"{spelling!r} stands for {owner!r} already", f"{path}.values[{value!r}]")
    if field.formats and field.form not in ("date", "datetime"):
        raise invalid("only a date or a datetime has formats", f"{path}.formats")
    for number, form in enumerate(field.formats):
        if not is_format(form):
            raise invalid("a format names a whole date, such as %d.%m.%Y", f"{path}.formats[{number}]")

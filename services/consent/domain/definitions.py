"""What may be defined: purposes, controllers, notices, mappings, callers and overrides, in versions. Pure.

Whoever defines something gives the event itself; its version, and the instant where none is given, are ours.
"""

import hashlib
from collections.abc import Iterable
from functools import reduce
from typing import Any, Final, Literal

import msgspec

from services.consent.domain.callers import check_credentials, check_override
from services.consent.domain.form import NAME, check_form
from services.consent.domain.signals.mapping import read_mapping
from shared.errors import InvalidInput
from shared.events.callers import ALL_PURPOSES, CALLER_DEFINED, OVERRIDE_DEFINED, CallerDefined, OverrideDefined
from shared.events.catalogue import EventType
from shared.events.consent import (
    CONTROLLER_DEFINED,
    NOTICE_DEFINED,
    PURPOSE_DEFINED,
    ControllerDefined,
    NoticeDefined,
    NoticeText,
    PurposeDefined,
)
from shared.events.signals import MAPPING_DEFINED, MappingDefined
from shared.instants import SECOND
from shared.request_ids import check_request_id, reused

Kind = Literal["purpose", "controller", "notice", "mapping", "caller", "override"]
Definition = PurposeDefined | ControllerDefined | NoticeDefined | MappingDefined | CallerDefined | OverrideDefined
Named = Literal["purpose", "controller", "notice", "mapping", "caller"]  # what others refer to
Key = tuple[Kind, str]

KINDS: Final[dict[type[Any], Kind]] = {
    PurposeDefined: "purpose",
    ControllerDefined: "controller",
    NoticeDefined: "notice",
    MappingDefined: "mapping",
    CallerDefined: "caller",
    OverrideDefined: "override",
}
EVENT_TYPES: Final[dict[Kind, EventType]] = {
    "purpose": PURPOSE_DEFINED,
    "controller": CONTROLLER_DEFINED,
    "notice": NOTICE_DEFINED,
    "mapping": MAPPING_DEFINED,
    "caller": CALLER_DEFINED,
    "override": OVERRIDE_DEFINED,
}
CLOCK_TOLERANCE: Final = 5 * SECOND  # a caller's clock may run this far ahead of ours
NOT_CONTENT: Final = frozenset({"request_id", "name", "version", "defined_by", "opened_by", "reason", "in_force_at"})


class Define(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, PURPOSE_UNKNOWN, CONTROLLER_UNKNOWN,
    SIGNAL_MAPPING_INVALID), and what check_form does."""

    definition: Definition  # its version and in_force_at count for nothing
    in_force_at: int | None = None  # None: now

    def __post_init__(self) -> None:
        check_request_id(self.definition.request_id)
        check_form(self.definition)
        for kind, name in references(self.definition):
            check_name(kind, name)


class Registry(msgspec.Struct, frozen=True):
    """A fold of the definitions that bear on a command."""

    newest: dict[Key, Definition] = {}
    of_request: dict[str, Definition] = {}


def key_of(definition: Definition) -> Key:
    return KINDS[type(definition)], definition.name


def evolve(registry: Registry, event: Definition) -> Registry:
    key = key_of(event)
    newest = max(registry.newest.get(key, event), event, key=lambda one: one.version)
    return Registry(registry.newest | {key: newest}, registry.of_request | {event.request_id: event})


def fold(events: Iterable[Definition]) -> Registry:
    return reduce(evolve, events, Registry())


def references(definition: Definition) -> list[tuple[Named, str]]:
    """What has to be defined before it. Raises InvalidInput (SIGNAL_MAPPING_INVALID)."""
    found: list[tuple[Named, str]] = []
    if isinstance(definition, PurposeDefined | NoticeDefined) and definition.controller:
        found.append(("controller", definition.controller))
    if isinstance(definition, PurposeDefined) and definition.notice:
        found.append(("notice", definition.notice))
    if isinstance(definition, NoticeDefined):
        found += [("purpose", name) for name in definition.purposes]
    if isinstance(definition, MappingDefined):
        found += [("purpose", name) for name in sorted(set(read_mapping(definition.document).purposes))]
    if isinstance(definition, CallerDefined):
        found += [("purpose", name) for name in definition.purposes if name != ALL_PURPOSES]
    if isinstance(definition, OverrideDefined):
        found += [("caller", definition.caller), ("purpose", definition.purpose)]
    return found


def define(registry: Registry, command: Define, now: int) -> list[Definition]:
    """A repeated command gives no event: its answer already stands in the registry.

    `now` is later than everything recorded before. Raises InvalidInput (PURPOSE_UNKNOWN, CONTROLLER_UNKNOWN, NOTICE_UNKNOWN, INSTANT_IN_FUTURE,
    INSTANT_INVALID, IN_FORCE_TOO_EARLY), Conflict (REQUEST_ID_REUSED), AlreadyExists (CREDENTIAL_TAKEN), WrongState (TOO_MANY_CALLERS,
    OVERRIDE_OVER), InvalidInput (OVERRIDE_INVALID).
    """
    wanted = tidied(command.definition)
    if (earlier := registry.of_request.get(wanted.request_id)) is not None:
        if not _says_the_same(command, earlier):
            raise reused()
        return []
    for reference in references(wanted):
        if reference not in registry.newest:
            raise unknown(reference[0])
    if (
        isinstance(wanted, PurposeDefined)
        and wanted.notice
        and registry.newest["notice", wanted.notice].version < wanted.notice_version
    ):
        raise unknown("notice")
    if isinstance(wanted, CallerDefined):
        check_credentials([one for one in registry.newest.values() if isinstance(one, CallerDefined)], wanted)
    newest = registry.newest.get(key_of(wanted))
    if isinstance(wanted, OverrideDefined):
        wanted = _override(newest if isinstance(newest, OverrideDefined) else None, wanted, now)
    version, not_before = (newest.version + 1, newest.in_force_at) if newest else (1, 0)
    return [msgspec.structs.replace(wanted, version=version, in_force_at=_in_force_at(command.in_force_at, not_before, now))]


def _override(newest: OverrideDefined | None, wanted: OverrideDefined, now: int) -> OverrideDefined:
    """Raises what `check_override` does."""
    check_override(newest, wanted, now)
    return msgspec.structs.replace(wanted, opened_by=newest.opened_by if newest else wanted.defined_by)


def tidied(definition: Definition) -> Definition:
    """What is listed twice is listed once."""
    lists = {field: getattr(definition, field) for field in definition.__struct_fields__}
    return msgspec.structs.replace(
        definition, **{field: tuple(dict.fromkeys(value)) for field, value in lists.items() if isinstance(value, tuple)}
    )


def check_name(kind: Named, name: str) -> None:
    """Raises what `unknown` gives: what can't be a name, nobody has defined."""
    if not NAME.fullmatch(name):
        raise unknown(kind)


def unknown(kind: Named) -> InvalidInput:
    """The name stays out of it: a caller may have put anything there."""
    match kind:
        case "purpose":
            return InvalidInput("no purpose has this name", reason="PURPOSE_UNKNOWN")
        case "controller":
            return InvalidInput("no controller has this name", reason="CONTROLLER_UNKNOWN")
        case "notice":
            return InvalidInput("no notice has this name and version", reason="NOTICE_UNKNOWN")
        case "mapping":
            return InvalidInput("no mapping has this name", reason="SIGNAL_MAPPING_UNKNOWN")
        case "caller":
            return InvalidInput("no caller has this name", reason="CALLER_UNKNOWN")


def instant_given(given: int | None, now: int) -> int:
    """Never later than now, not even by a tolerated clock. Raises InvalidInput (INSTANT_IN_FUTURE, INSTANT_INVALID)."""
    if given is None:
        return now
    if given > now + CLOCK_TOLERANCE:
        raise InvalidInput("this instant is in the future", reason="INSTANT_IN_FUTURE")
    if given < 0:
        raise InvalidInput("this instant is before 1970", reason="INSTANT_INVALID")
    return min(given, now)


def notice_text(locale: str, text: str) -> NoticeText:
    """With its hash. Raises InvalidInput (NOTICE_INVALID): half of a surrogate pair has no UTF-8."""
    try:
        return NoticeText(locale=locale, text=text, sha256=hashlib.sha256(text.encode()).digest())
    except UnicodeEncodeError:
        raise InvalidInput("a notice's text is Unicode", reason="NOTICE_INVALID", field="texts") from None


class Difference(msgspec.Struct, frozen=True):
    field: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


def differences(before: Definition | None, after: Definition) -> list[Difference]:
    """By field, what only one of two versions says; `before` None says nothing."""
    one, other = said(before) if before else {}, said(after)
    found = (
        Difference(field, _without(one.get(field, ()), other.get(field, ())), _without(other.get(field, ()), one.get(field, ())))
        for field in other | one
    )
    return [difference for difference in found if difference.removed or difference.added]


def said(definition: Definition) -> dict[str, tuple[str, ...]]:
    """What a version says, as text: each value of a list and each entry of a map by itself, of a notice's text its hash."""
    if isinstance(definition, MappingDefined):
        return read_mapping(definition.document).said()
    return {field: _values(getattr(definition, field)) for field in definition.__struct_fields__ if field not in NOT_CONTENT}


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):
        return tuple(f"{name}: {value[name]}" for name in sorted(value))
    if isinstance(value, tuple):
        return tuple(f"{one.locale}: {one.sha256.hex()}" if isinstance(one, NoticeText) else str(one) for one in value)
    return (str(value).lower() if isinstance(value, bool) else str(value),) if value else ()


def _without(values: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for value in values if value not in others)


def _says_the_same(command: Define, earlier: Definition) -> bool:
    """Without an instant it was "now" at the first try, and one ahead of our clock was brought back to now."""
    ahead = 0 if command.in_force_at is None else command.in_force_at - earlier.in_force_at
    ours = msgspec.structs.replace(tidied(command.definition), version=earlier.version, in_force_at=earlier.in_force_at)
    if isinstance(ours, OverrideDefined) and isinstance(earlier, OverrideDefined):
        ours = msgspec.structs.replace(ours, opened_by=earlier.opened_by)
    return 0 <= ahead <= CLOCK_TOLERANCE and ours == earlier


def _in_force_at(given: int | None, not_before: int, now: int) -> int:
    """So the newest version is always the one that is in force: later versions are never in force before earlier ones."""
    found = instant_given(given, now)
    if found < not_before:
        raise InvalidInput("the version ahead of it is in force from later on", reason="IN_FORCE_TOO_EARLY")
    return found

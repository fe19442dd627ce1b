"""What a source is allowed, in the form that every request is judged by."""

from typing import Any, Final, get_args

import msgspec
import phonenumbers

from shared.errors import InvalidInput
from shared.events.source import MIDDLE_RANK, SettingsChanged, SourceRegistered
from shared.events.wire import EventKind

# Of what the door takes at all. JSON of 32 KB grows at most 2.25 times as we encode it (an array of one-digit floats); the rest
# is what the batch's shared context adds.
MOST_EVENT_BYTES: Final = 96 * 1024
MOST_BATCH_EVENTS: Final = 2_500  # as in the original
MOST_EVENTS_PER_S: Final = 1_000_000
HIGHEST_RANK: Final = 1_000
DAY_S: Final = 24 * 3600
LONGEST_S: Final = 100 * 365 * DAY_S
TYPES: Final = frozenset(get_args(EventKind))
SHOWN: Final = 100  # characters of what was given


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a source may send, and its trust rank. The defaults are what a new source has."""

    allowed_types: tuple[str, ...] = ()  # none: all
    events_per_s: int = 0  # 0: without limit
    max_event_bytes: int = MOST_EVENT_BYTES
    max_batch_events: int = MOST_BATCH_EVENTS
    region: str = ""  # ISO 3166 alpha-2, of phone numbers without a country code
    trust_rank: int = MIDDLE_RANK  # kept; no profile goes by it yet
    far_past_s: int = 10 * 365 * DAY_S
    far_future_s: int = DAY_S


class KnownSource(msgspec.Struct, frozen=True, kw_only=True):
    """A source as the hot path knows it. `plan` is its compiled tracking plan, None when it has none."""

    name: str
    settings: Settings = Settings()
    plan: Any = None

    def allows(self, kind: str) -> bool:
        return not self.settings.allowed_types or kind in self.settings.allowed_types


def check_batch(events: int) -> None:
    """Before anything is read of them; a source may be allowed fewer. Raises InvalidInput (BATCH_TOO_LONG)."""
    if events > MOST_BATCH_EVENTS:
        raise InvalidInput(f"a request has at most {MOST_BATCH_EVENTS:,} events", reason="BATCH_TOO_LONG", limit=MOST_BATCH_EVENTS)


def of_event(event: SourceRegistered | SettingsChanged) -> Settings:
    return Settings(**{name: getattr(event, name) for name in Settings.__struct_fields__})


def changed(settings: Settings, changes: dict[str, Any]) -> Settings:
    """`changes` holds fields of Settings. Raises InvalidInput (SETTINGS_INVALID), naming the field."""
    found = msgspec.structs.replace(settings, **changes)
    found = msgspec.structs.replace(found, allowed_types=tuple(sorted(set(found.allowed_types))), region=found.region.upper())
    _check(found)
    return found


def _check(settings: Settings) -> None:
    if unknown := set(settings.allowed_types) - TYPES:
        raise _invalid("allowed_types", f"are among {', '.join(sorted(TYPES))}; not {', '.join(sorted(unknown))[:SHOWN]}")
    if settings.region and settings.region not in phonenumbers.SUPPORTED_REGIONS:
        raise _invalid("region", "is a country of ISO 3166 in two letters, such as DE")
    for name, least, most in (
        ("events_per_s", 0, MOST_EVENTS_PER_S),
        ("max_event_bytes", 1, MOST_EVENT_BYTES),
        ("max_batch_events", 1, MOST_BATCH_EVENTS),
        ("trust_rank", 0, HIGHEST_RANK),
        ("far_past_s", 0, LONGEST_S),
        ("far_future_s", 0, LONGEST_S),
    ):
        if not least <= getattr(settings, name) <= most:
            raise _invalid(name, f"is a whole number from {least} to {most}")


def _invalid(field: str, what: str) -> InvalidInput:
    return InvalidInput(f"{field} {what}", reason="SETTINGS_INVALID", field=field)

"""Laws of what a purpose may see of an event: never more than it names, and of what no rule stands for, nothing."""

import importlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.enforcement import EVENTS_FIELD, ReleasedEvent, release_event
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE, EventType, Public
from shared.events.consent import ALL_TRAITS, PurposeDefined
from shared.privacy import REDACTED, Personal

importlib.import_module("shared.events.source")  # other logs' types too: none of them is shown

NAMES = ["email", "plan", "city", EVENTS_FIELD]
# What else a call had at its top: kept, sealed, for nobody yet. What a signal said to the letter is consent's evidence, in no profile.
NEVER_SHOWN = {"extra", "text"}
KINDS = [kind for kind in CATALOGUE.values() if kind.personal is not None]
STRATEGIES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(min_size=1, max_size=4),
    dict[str, Any]: st.dictionaries(st.sampled_from(NAMES), st.integers(), max_size=3),
}
seen = st.frozensets(st.sampled_from(NAMES))


def a_purpose(sees: frozenset[str]) -> PurposeDefined:
    return PurposeDefined(
        request_id="1", name="support", version=1, description="", legal_basis="contract", traits=tuple(sorted(sees))
    )


def a_public(kind: EventType) -> Public:
    if kind.public is events.IdentifierLinked:
        return events.IdentifierLinked(namespace="email", value_hash=b"", cause=b"")
    return events.Activity(source="shop", resolved_by=b"", received_at=0)


@st.composite
def told(draw: st.DrawFn) -> tuple[Public, Personal]:
    """An event of any type that has a personal part, each field of it filled."""
    kind = draw(st.sampled_from(KINDS))
    assert kind.personal is not None
    fields = msgspec.structs.fields(kind.personal)
    return a_public(kind), kind.personal(**{field.name: draw(STRATEGIES[field.type]) for field in fields})


def shown(released: ReleasedEvent) -> set[tuple[str, str, Any]]:
    """(part, name within it, value)."""
    parts = {part: value for part, value in msgspec.structs.asdict(released).items() if value not in (None, False)}
    return {
        (part, name, value)
        for part, content in parts.items()
        for name, value in (content.items() if isinstance(content, dict) else [("", content)])
    }


@given(told(), seen, seen)
def test_who_may_see_more_is_shown_at_least_the_same(
    event: tuple[Public, Personal], fewer: frozenset[str], more: frozenset[str]
) -> None:
    assert shown(release_event(*event, a_purpose(fewer))) <= shown(release_event(*event, a_purpose(fewer | more)))


@given(told(), seen.filter(lambda sees: EVENTS_FIELD not in sees))
def test_who_may_not_see_events_is_shown_only_what_has_a_name_that_it_may_see(
    event: tuple[Public, Personal], sees: frozenset[str]
) -> None:
    assert {name for _, name, _ in shown(release_event(*event, a_purpose(sees)))} <= sees


@given(told(), seen)
def test_traits_and_identifiers_are_shown_by_their_name_whoever_may_see_events(
    event: tuple[Public, Personal], sees: frozenset[str]
) -> None:
    released = release_event(*event, a_purpose(sees))
    assert {*(released.traits or {}), *(released.identifier or {})} <= sees


@given(told())
def test_who_may_see_all_is_shown_every_field_of_every_type(event: tuple[Public, Personal]) -> None:
    """A new type, or a new field of one, that no rule was written for fails here; without a rule it isn't shown."""
    public, personal = event
    released = release_event(public, personal, a_purpose(frozenset({ALL_TRAITS, EVENTS_FIELD})))
    values = [value for _, _, value in shown(released)]
    for name, value in msgspec.structs.asdict(personal).items():
        for one in value.values() if isinstance(value, dict) else [value]:
            assert name in NEVER_SHOWN or one in values, f"{type(personal).__name__}.{name} is for nobody to see"


def canary() -> dict[str, Any]:
    return {"email": "canary"}


class Overheard(Personal, frozen=True, kw_only=True):
    """A type that no rule stands for, with every field that others have."""

    name: str = "canary"
    value: str = "canary"
    group_id: str = "canary"
    traits: dict[str, Any] = msgspec.field(default_factory=canary)
    properties: dict[str, Any] = msgspec.field(default_factory=canary)
    context: dict[str, Any] = msgspec.field(default_factory=canary)
    raw: dict[str, Any] = msgspec.field(default_factory=canary)


@pytest.mark.parametrize("personal", [Overheard(), REDACTED, None], ids=["of no known type", "redacted", "absent"])
def test_nothing_is_shown_of_what_is_gone_or_of_a_type_that_no_rule_stands_for(personal: Any) -> None:
    public = events.Activity(source="shop", resolved_by=b"", received_at=0)
    assert release_event(public, personal, a_purpose(frozenset({ALL_TRAITS}))) == ReleasedEvent()


def test_a_merge_is_shown_to_every_purpose() -> None:
    """Who the profile is of is part of the profile."""
    public = events.CustomersMerged(merge_id=b"m", other=b"o", other_founding_number=2, cause=b"")
    assert release_event(public, None, a_purpose(frozenset())) == ReleasedEvent(names_customers=True)

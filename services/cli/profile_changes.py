"""What is told of one change of a profile: what it is of, before and after, and what made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.cli import render

ERASED = "somebody who was erased"
WITHHELD = "withheld: redacted"
SHORT_ID = 8  # characters from the end of an id: enough to tell two apart


def _named(identifier: dict[str, Any]) -> str:
    return f"{identifier['namespace']}:{identifier['value']}"


def _there(what: str, name: str, is_there: bool) -> tuple[str, str, str]:
    return (what, "-", name) if is_there else (what, name, "-")


def _as_far_as_told(one: dict[str, Any], told: tuple[str, str, str]) -> tuple[str, str, str]:
    """At one of the points it can't be told: that it isn't there says nothing."""
    what, before, after = told
    return (what, WITHHELD if before == "-" else before, WITHHELD if after == "-" else after) if one["redacted"] else told


# What of a change is told: what it is of, before, after.
TOLD: dict[str, Callable[[dict[str, Any]], tuple[str, str, str]]] = {
    "trait": lambda one: _as_far_as_told(
        one, (one["name"], _value(one["old"]), _value(one["new"]) + (" (said again)" if one["said_again"] else ""))
    ),
    "identifier": lambda one: _there("identifier", _named(one["identifier"]), one["linked"]),
    "member": lambda one: _there("customer", one["customer_id"] or ERASED, one["joined"]),
    "segment": lambda one: _as_far_as_told(one, _there("segment", one["name"], one["entered"])),
    "decided": lambda one: (f"consent to {one['purpose']}", one["old_outcome"] or "-", one["new_outcome"] or "-"),
}


def coming(told: tuple[str, str, str], came: str, went: str) -> tuple[str, str]:
    _, before, after = told
    if WITHHELD in (before, after):
        return WITHHELD, after if before == WITHHELD else before
    return (came, after) if before == "-" else (went, before)


def _value(trait: dict[str, Any] | None) -> str:
    return "-" if trait is None else render.as_text(trait["value"]) + (" (verified)" if trait["verified"] else "")


def cause_of(change: dict[str, Any]) -> tuple[str, ...]:
    """Why, the source, when it happened, when it was known, and the event."""
    cause = change["cause"]
    if cause is None:
        return "a limit", "-", "-", "-", "-"
    kind = f"rules v{cause['rules_version']}" if cause["kind"] == "rules" else cause["kind"]
    if (others := len(change.get("counted_event_ids", ())) - 1) > 0:
        kind += f" and {others} more"
    event = f"…{cause['event_id'][-SHORT_ID:]}" if cause["event_id"] else "-"
    kind += " (undone)" if cause["undone"] else ""
    return kind, cause["source"] or "-", cause["occur_time"] or "-", cause["record_time"] or "-", event

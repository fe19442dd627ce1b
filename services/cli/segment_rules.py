"""Identity resolution settings of Segment as a document of our rules. What can't be said in ours is an error that says so.

The file is what the settings page shows, as JSON: a list of identifiers, or an object that has it under `identifiers`.
Each has `type` (or `name`, `id`), `limit`, `frequency` (or `window`: Ever, Annually, Monthly, Weekly, Daily), `priority` (1 is
the strongest; without it, the order of the file) and `blocked_values`. `*` is all that aren't listed.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from services.cli.errors import Misused

WINDOW_DAYS: Final = {"ever": None, "annually": 365, "yearly": 365, "monthly": 30, "weekly": 7, "daily": 1}
NAMES: Final = ("type", "name", "id")
KNOWN: Final = frozenset({*NAMES, "limit", "frequency", "window", "priority", "blocked_values", "blockedValues"})
OTHERS_LIMIT: Final = 5  # Segment's default of identifiers that aren't listed
RENAMED: Final = {"userid": "user_id", "anonymousid": "anonymous_id"}
DEVICES: Final = re.compile(r"anonymous_id|(ios|android)\.(id|idfa|push_token)")
# "Zeroes and dashes", in its spellings: such values are no identifiers here, under any rules.
ZEROES: Final = frozenset({r"^[0\-]*$", r"^[0-]*$", r"^[-0]*$", r"^0*$", "zeroes and dashes", "zeros and dashes"})
PATTERN: Final = re.compile(r"[\^$*?|\[\]{}\\]")


def to_document(text: str) -> dict[str, Any]:
    """Raises Misused (SETTINGS_INVALID, NOT_EXPRESSIBLE)."""
    try:
        settings = json.loads(text)
    except ValueError:
        raise Misused("SETTINGS_INVALID", "not JSON") from None
    whole: dict[str, Any] = settings if isinstance(settings, dict) else {"identifiers": settings}
    if further := sorted(whole.keys() - {"identifiers"}):
        raise Misused(
            "NOT_EXPRESSIBLE", f"beside identifiers, {', '.join(further)} has no counterpart: values are blocked at each of them"
        )
    identifiers = whole.get("identifiers")
    if not isinstance(identifiers, list) or not identifiers or not all(isinstance(one, dict) for one in identifiers):
        raise Misused("SETTINGS_INVALID", "expected a list of identifiers")
    placed = [(_number(one, "priority", place), _rule(one)) for place, one in enumerate(identifiers, 1)]
    namespaces = [rule for _, rule in sorted(placed, key=lambda item: item[0])]
    if all(rule["name"] != "*" for rule in namespaces):
        namespaces.append({"name": "*", "limit": OTHERS_LIMIT})
    return {"namespaces": namespaces}


def _rule(one: dict[str, Any]) -> dict[str, Any]:
    name = next((one[key] for key in NAMES if isinstance(one.get(key), str)), "")
    name = RENAMED.get(name.lower().replace("_", ""), name)
    if not name:
        raise Misused("SETTINGS_INVALID", "an identifier without a type")
    if further := sorted(one.keys() - KNOWN):
        raise Misused("NOT_EXPRESSIBLE", f"{name}: {', '.join(further)} has no counterpart in our rules")
    rule: dict[str, Any] = {"name": name, "limit": _number(one, "limit", 1)}
    if (days := _window_days(one, name)) is not None:
        rule["window_days"] = days
    if DEVICES.fullmatch(name):
        rule["device"] = True
    if blocked := _blocked(one, name):
        rule["blocked"] = blocked
    return rule


def _number(one: dict[str, Any], key: str, default: int) -> int:
    value = one.get(key, default)
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Misused("SETTINGS_INVALID", f"{key} is a number from 1 on")
    return value


def _window_days(one: dict[str, Any], name: str) -> int | None:
    window = str(one.get("frequency", one.get("window", "ever"))).strip().lower()
    if window not in WINDOW_DAYS:
        raise Misused("NOT_EXPRESSIBLE", f"{name}: a window is one of {', '.join(WINDOW_DAYS)}")
    return WINDOW_DAYS[window]


def _blocked(one: dict[str, Any], name: str) -> list[str]:
    values = one.get("blocked_values", one.get("blockedValues", []))
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Misused("SETTINGS_INVALID", f"{name}: blocked values are a list of texts")
    exact = [value for value in values if value.strip().lower() not in ZEROES]
    for place, value in enumerate(exact, 1):
        if PATTERN.search(value):
            # A keyed hash can't be compared with a pattern, and is all that is kept of a value.
            raise Misused("NOT_EXPRESSIBLE", f"{name}: blocked value {place} is a pattern; only exact values can be blocked")
    return exact

"""Identity resolution settings of Segment as a document of our rules. What can't be said in ours is an error that says so.

The file is what the settings page shows, as JSON: a list of identifiers, or an object that has it under `identifiers`.
Each has `type` (or `name`, `id`; of several, the same), `limit` (without it, Segment's own: 1 user id, 5 of all else), `frequency` (or `window`: Ever,
Annually, Monthly, Weekly, Daily), `priority` (1 is the strongest; without it, the order of the file) and `blocked_values`. `*` is
all that aren't listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from services.cli.errors import Misused
from shared.errors import InvalidInput
from shared.identifiers import NAMESPACE, PLACEHOLDERS, ZEROS, Identifier, normalise

WINDOW_DAYS: Final = {"ever": None, "annually": 365, "yearly": 365, "monthly": 30, "weekly": 7, "daily": 1}
NAMES: Final = ("type", "name", "id")
WINDOWS: Final = ("frequency", "window")
BLOCKED: Final = ("blocked_values", "blockedValues")
KNOWN: Final = frozenset({*NAMES, *WINDOWS, *BLOCKED, "limit", "priority"})
OTHERS: Final = "*"
LIMITS: Final = {"user_id": 1}  # Segment's defaults
OTHERS_LIMIT: Final = 5
MAX_NUMBER: Final = 1_000_000
OF_MANY: Final = {"group_id": "a group is many people, so it links nobody here"}
RENAMED: Final = {"userid": "user_id", "anonymousid": "anonymous_id"}
DEVICES: Final = re.compile(r"anonymous_id|(ios|android)\.(id|idfa|push_token)")
# "Zeroes and dashes", in its spellings: such values are no identifiers here, under any rules.
ZEROES: Final = frozenset({r"^[0\-]*$", r"^[0-]*$", r"^[-0]*$", r"^0*$", "zeroes and dashes", "zeros and dashes"})
PATTERN: Final = re.compile(r"[\^$*?|\[\]{}\\]|\.\+")


# What `rules check` would refuse otherwise, in the same words.
MAX_DOCUMENT_BYTES: Final = 1_000_000
MAX_NAMESPACES: Final = 100
MAX_BLOCKED: Final = 10_000


class Imported(NamedTuple):
    """`left_out`: what the document needn't say, since it holds here under any rules."""

    document: dict[str, Any]
    left_out: list[str]


def to_document(text: str) -> Imported:
    """What can be activated. Raises Misused (SETTINGS_INVALID, NOT_EXPRESSIBLE)."""
    try:
        settings = json.loads(text, object_pairs_hook=_once, parse_int=_whole)
    except (ValueError, RecursionError):
        raise Misused("SETTINGS_INVALID", "not JSON, or not settings of identifiers") from None
    whole: dict[str, Any] = settings if isinstance(settings, dict) else {"identifiers": settings}
    if further := sorted(whole.keys() - {"identifiers"}):
        raise Misused(
            "NOT_EXPRESSIBLE", f"beside identifiers, {', '.join(further)} has no counterpart: values are blocked at each of them"
        )
    identifiers = whole.get("identifiers")
    if not isinstance(identifiers, list) or not identifiers or not all(isinstance(one, dict) for one in identifiers):
        raise Misused("SETTINGS_INVALID", "expected a list of identifiers")
    return _document([(_number(one, "priority", place), _name(one), one) for place, one in enumerate(identifiers, 1)])


def _document(placed: list[tuple[int, str, dict[str, Any]]]) -> Imported:
    names = [name for _, name, _ in placed]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Misused("SETTINGS_INVALID", f"{', '.join(sorted(twice))} stands there twice")
    left_out = [f"{name}: {why}" for name, why in OF_MANY.items() if name in names]
    ranked = sorted(placed, key=lambda item: item[0])
    namespaces = [_rule(one, name, left_out) for _, name, one in ranked if name not in OF_MANY]
    if OTHERS not in names:
        namespaces.append({"name": OTHERS, "limit": OTHERS_LIMIT})
    _require_accepted({"namespaces": namespaces})
    return Imported({"namespaces": namespaces}, left_out)


def printed(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)


def _require_accepted(document: dict[str, Any]) -> None:
    """What would be refused when it is checked is refused here, where somebody still looks at the settings that it comes from."""
    rules = document["namespaces"]
    if len(printed(document).encode()) > MAX_DOCUMENT_BYTES:
        raise _refused(f"a document of rules is at most {MAX_DOCUMENT_BYTES} bytes")
    blocked = {rule["name"]: _distinct(rule["name"], rule.get("blocked", ())) for rule in rules}
    if len(rules) > MAX_NAMESPACES:
        raise _refused(f"list each namespace once, and {MAX_NAMESPACES} at most")
    if sum(map(len, blocked.values())) > MAX_BLOCKED:
        raise _refused(f"at most {MAX_BLOCKED} values can be blocked")
    if blocked.get(OTHERS):
        raise _refused('values are blocked in a namespace of their own, not in "*"')


def _distinct(name: str, blocked: Iterable[str]) -> set[Identifier]:
    found = set()
    for place, value in enumerate(blocked, 1):
        if value.strip().lower() in PLACEHOLDERS or ZEROS.match(value.strip()):
            continue
        try:
            found.add(normalise(name, value))
        except InvalidInput:
            raise _refused(
                f"blocked value {place} of {name} is no usable value: write it as it is sent, a phone number with its country code"
            ) from None
    return found


def _refused(message: str) -> Misused:
    return Misused("NOT_EXPRESSIBLE", message)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Misused("SETTINGS_INVALID", "a name stands twice in one object: only one of them would count")
    return found


def _whole(digits: str) -> int:
    """None needs more digits, and Python refuses to read some thousands of them."""
    return int(digits[:20])


def _name(one: dict[str, Any]) -> str:
    given = [key for key in NAMES if key in one]
    names = {_our_name(one[key]) for key in given}
    if len(names) > 1:
        raise Misused("SETTINGS_INVALID", f"{' and '.join(given)} name different identifiers: only one of them would count")
    return names.pop() if names else _our_name("")


def _our_name(name: object) -> str:
    if not isinstance(name, str) or (name != OTHERS and not NAMESPACE.fullmatch(name)):
        raise Misused("SETTINGS_INVALID", "an identifier has a type of 1 to 64 letters, digits, '_', '.', '-'")
    return RENAMED.get(name.lower().replace("_", ""), name)


def _either(one: dict[str, Any], spellings: tuple[str, ...], default: Any) -> Any:
    given = [key for key in spellings if key in one]
    if len(given) > 1:
        raise Misused("SETTINGS_INVALID", f"{' and '.join(given)} say the same: only one of them would count")
    return one[given[0]] if given else default


def _rule(one: dict[str, Any], name: str, left_out: list[str]) -> dict[str, Any]:
    if further := sorted(one.keys() - KNOWN):
        raise Misused("NOT_EXPRESSIBLE", f"{name}: {', '.join(further)} has no counterpart in our rules")
    rule: dict[str, Any] = {"name": name, "limit": _number(one, "limit", LIMITS.get(name, OTHERS_LIMIT))}
    if (days := _window_days(one, name)) is not None:
        rule["window_days"] = days
    if DEVICES.fullmatch(name):
        rule["device"] = True
    if blocked := _blocked(one, name, left_out):
        rule["blocked"] = blocked
    return rule


def _number(one: dict[str, Any], key: str, default: int) -> int:
    value = one.get(key, default)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = _whole(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_NUMBER:
        raise Misused("SETTINGS_INVALID", f"{key} is a number from 1 to {MAX_NUMBER}")
    return value


def _window_days(one: dict[str, Any], name: str) -> int | None:
    window = str(_either(one, WINDOWS, "ever")).strip().lower()
    if window not in WINDOW_DAYS:
        raise Misused("NOT_EXPRESSIBLE", f"{name}: a window is one of {', '.join(WINDOW_DAYS)}")
    return WINDOW_DAYS[window]


def _blocked(one: dict[str, Any], name: str, left_out: list[str]) -> list[str]:
    values = _either(one, BLOCKED, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Misused("SETTINGS_INVALID", f"{name}: blocked values are a list of texts")
    exact = [value for value in values if value.strip().lower() not in ZEROES]
    for place, value in enumerate(exact, 1):
        if PATTERN.search(value):
            # A keyed hash can't be compared with a pattern, and is all that is kept of a value.
            raise Misused("NOT_EXPRESSIBLE", f"{name}: blocked value {place} is a pattern; only exact values can be blocked")
    return [value for place, value in enumerate(exact, 1) if name != "email" or _is_address(value, place, left_out)]


def _is_address(value: str, place: int, left_out: list[str]) -> bool:
    try:
        normalise("email", value)
    except InvalidInput:
        left_out.append(f"email: blocked value {place} is no address, so it names nobody here")
        return False
    return True

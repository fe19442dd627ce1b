"""How a condition depends on the passing of time: at which instants it may become another with everything else as it is.

A clock is a variable that moves with time: `now`, or how long ago something was. A condition is followed where it compares a sum or
a difference with a clock in it: that is linear in time, so it changes where the difference of its sides passes zero, and nowhere else.
"""

from collections.abc import Iterator, Set
from datetime import timedelta
from typing import NamedTuple

from services.profile.domain.expressions.instants import COMPARISONS
from services.profile.domain.expressions.language import Expression, Language, Values, invalid
from services.profile.domain.expressions.possible import CONNECTIVES
from services.profile.domain.expressions.tree import Node, call

_MICROSECOND = timedelta(microseconds=1)


class Crossing(NamedTuple):
    """A comparison in a condition: the difference of its sides, which grows by `slope` microseconds in each that passes."""

    slope: int
    difference: Expression


def crossings(language: Language, condition: Expression, clocks: frozenset[str], where: str) -> list[Crossing]:
    """All that time can change in a condition. Raises InvalidInput (RULES_INVALID) when it uses a clock in another way."""
    found, moving = [], set[int]()
    _add_moving(condition.tree.root, clocks, moving)
    for place, (slope, comparison) in enumerate(_moving(condition.tree.root, moving, where)):
        left, right = comparison.children
        difference = call("_-_", (left, right), comparison.id + place)
        found.append(Crossing(slope, language.derived(condition, difference)))
    return found


def next_crossing(found: list[Crossing], values: Values, now: int) -> int | None:
    """The first instant after `now`, to the microsecond, at which one of these comparisons may come out differently."""
    instants = (instant for crossing in found for instant in _instants(crossing, values, now))
    return min((instant for instant in instants if instant > now), default=None)


def _instants(crossing: Crossing, values: Values, now: int) -> tuple[int, ...]:
    difference = crossing.difference.evaluate(values)
    if not isinstance(difference, timedelta):
        return ()  # one side has no value, and gets none by waiting
    at = now + (-(difference // _MICROSECOND)) // crossing.slope
    return at, at + 1  # at zero itself `<` and `<=` differ


def _moving(node: Node, moving: Set[int], where: str) -> Iterator[tuple[int, Node]]:
    if node.id not in moving:
        return
    if node.kind == "call" and node.name in CONNECTIVES:
        for child in node.children:
            yield from _moving(child, moving, where)
    elif node.kind == "call" and node.name in COMPARISONS:
        left, right = (_slope(child, moving, where) for child in node.children)
        if left != right:
            yield left - right, node
    else:
        raise _not_followed(where)


def _slope(node: Node, moving: Set[int], where: str) -> int:
    if node.id not in moving:
        return 0
    if node.kind == "identifier":
        return 1
    if node.kind == "call" and node.name in ("_+_", "_-_") and len(node.children) == 2:
        left, right = (_slope(child, moving, where) for child in node.children)
        return left + right if node.name == "_+_" else left - right
    raise _not_followed(where)


def _add_moving(node: Node, clocks: frozenset[str], moving: set[int]) -> bool:
    """Adds the ids of all nodes with a clock in them, each looked at once."""
    below = [_add_moving(child, clocks, moving) for child in node.children]
    has_clock = any(below) or (node.kind == "identifier" and node.name in clocks)
    if has_clock:
        moving.add(node.id)
    return has_clock


def _not_followed(where: str) -> Exception:
    return invalid(
        where,
        "now, and how long ago something was, are compared by <, <=, > or >= with an instant or a duration, outside of macros,"
        " such as traits.signed_up_at > now - duration('720h'): so it is known when the answer changes",
    )

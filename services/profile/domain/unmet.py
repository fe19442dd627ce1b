"""What rules that are tried ask for and nobody has: a value that is misspelt, a trait that no source sends, a definition that no event
counts for. It may come yet, so nothing is refused for it. Pure.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from services.profile.domain.computed.definitions import text_of
from services.profile.domain.expressions.contradictions import comparison, outside_macros, sides
from services.profile.domain.expressions.language import instant_of
from services.profile.domain.expressions.possible import is_constant
from services.profile.domain.expressions.tree import EVERY_FIELD, Node, literal, path_of
from services.profile.domain.golden import NO_EVENT, GoldenRecord
from services.profile.domain.rules import Rules
from services.profile.domain.segments import Condition
from services.profile.domain.values import same

MAX_HINTS: Final = 100  # of a report

Why = Literal["TRAIT_OF_NOBODY", "VALUE_OF_NOBODY", "NO_EVENT_COUNTS", "INSTANT_PASSED"]


class Hint(msgspec.Struct, frozen=True):
    """Of a definition, such as `segments.de`: what it asks for, as the condition has it, and the value where it is about one."""

    definition: str
    why: Why
    path: str = ""
    value: Any = None


class Unmet:
    """Of the segments that are named, and the computed traits that are seen. What somebody has is struck out by `look`."""

    def __init__(self, rules: Rules, segments: Collection[str], sees: Callable[[str], bool]) -> None:
        self._segments = rules.segments
        self._counted = {name for name in (rules.computed.all if rules.computed is not None else ()) if sees(name)}
        conditions = rules.segments.conditions if rules.segments is not None else {}
        self._conditions = {name: one for name, one in conditions.items() if name in segments}
        self._paths = {path for one in self._conditions.values() for path in _paths(one)}
        self._values: dict[str, dict[bytes, Any]] = {}
        for one in self._conditions.values():
            for path, value in _values(one.when.tree.root):
                self._values.setdefault(path, {})[same(value)] = value

    def look(self, record: GoldenRecord) -> None:
        """At one more customer, as these rules have it."""
        self._counted -= {name for name in self._counted if name in record.traits and record.traits[name].event_id != NO_EVENT}
        self._paths -= {path for path in self._paths if _at(record, path) is not None}
        for path, wanted in list(self._values.items()):
            found = _at(record, path)
            for value in found if isinstance(found, list) else [found]:
                wanted.pop(same(value), None)
            if not wanted:
                del self._values[path]

    def hints(self, at: int) -> list[Hint]:
        found = [Hint(f"computed.{name}", "NO_EVENT_COUNTS") for name in sorted(self._counted)]
        for name, condition in sorted(self._conditions.items()):
            found += self._of(f"segments.{name}", condition, at)
        return found[:MAX_HINTS]

    def _of(self, definition: str, condition: Condition, at: int) -> Iterator[Hint]:
        missing = sorted(_paths(condition) & self._paths)
        yield from (Hint(definition, "TRAIT_OF_NOBODY", path) for path in missing)
        asked = {(path, same(value)): value for path, value in _values(condition.when.tree.root)}
        for (path, key), value in asked.items():
            if key in self._values.get(path, {}) and not self._has_nothing(path):
                yield Hint(definition, "VALUE_OF_NOBODY", path, value)
        for passed in self._passed(condition, at):
            yield Hint(definition, "INSTANT_PASSED", "now", passed)

    def _has_nothing(self, path: str) -> bool:
        """Which is told by itself."""
        variable, name, *_ = path.split(".")
        return f"{variable}.{name}" in self._paths or (variable == "computed" and name in self._counted)

    def _passed(self, condition: Condition, at: int) -> Iterator[str]:
        """Instants before which it asks to be."""
        assert self._segments is not None, "it is one of them"
        for node in outside_macros(condition.when.tree.root):
            for one, relation, other in sides(node):
                if path_of(one) == "now" and relation in ("_<_", "_<=_") and is_constant(other):
                    until = self._segments.language.constant(condition.when, other)
                    if isinstance(until, datetime) and until < instant_of(at):
                        yield text_of(until)


def _paths(condition: Condition) -> frozenset[str]:
    """Of the traits that it looks at."""
    return frozenset(f"traits.{name}" for name in condition.sent - {EVERY_FIELD})


def _values(root: Node) -> Iterator[tuple[str, Any]]:
    """What is compared for being the same, or asked for in a list, and where it is looked for."""
    for node in outside_macros(root):
        found = comparison(node)
        if found is not None and found.relation in ("_==_", "_!=_", "@in"):
            yield from ((found.path, value) for value in found.values)
        elif node.kind == "call" and node.name == "@in" and (value := literal(node.children[0])) is not None:
            path = path_of(node.children[1])
            if path:
                yield path, value


def _at(record: GoldenRecord, path: str) -> Any:
    _, *names = path.split(".")
    trait = record.traits.get(names[0]) if names else None
    value = None if trait is None else trait.value
    for name in names[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value

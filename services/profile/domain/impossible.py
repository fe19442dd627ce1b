"""What is written right in rules and can't come to anything: a condition that holds for nobody, a value that no event has.

It would be taken, and nobody be told why nothing comes of it. Asked when rules are taken, and not when the log is read. Pure.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from services.profile.domain.computed.aggregates import FIELDS
from services.profile.domain.computed.definitions import MAX_LISTED, MAX_VALUE_CHARACTERS, Definition, Definitions
from services.profile.domain.computed.document import OF_NUMBERS
from services.profile.domain.computed.kinds import counted_types, told_of, unknown_types, valued_types
from services.profile.domain.expressions.contradictions import comparison, conjuncts, outside_macros, sides
from services.profile.domain.expressions.language import Expression, Kind, invalid
from services.profile.domain.expressions.possible import is_constant, never_reached
from services.profile.domain.expressions.sizes import of_no_such_size
from services.profile.domain.expressions.tree import EVERY_FIELD, Node, path_of, taken_of
from services.profile.domain.fold import MAX_TRAIT_BYTES
from services.profile.domain.rules import TraitRule
from services.profile.domain.segments import Segments
from services.profile.domain.survivorship import MAX_UNION_ITEMS

Objections = Iterator[tuple[Node, str]]
NUMBERS: Final = (Kind.INT, Kind.UINT, Kind.DOUBLE, Kind.DYN)
SINGLE: Final = (*NUMBERS, Kind.BOOL, Kind.STRING, Kind.TIMESTAMP)
_COUNTS: Final = ("count", "unique_count")
_SAID: Final = {
    "text": "text",
    "instant": "text",
    "number": "number",
    "boolean": "boolean",
}  # as what a value of the type is written


def check_computed(definitions: Definitions) -> None:
    """Raises InvalidInput (RULES_INVALID)."""
    for name, one in definitions.all.items():
        where = f"computed.{name}"
        if list(one.recency_us) != sorted(set(one.recency_us)):
            raise invalid(f"{where}.scores.recency", "the bounds of scores rise")
        definitions.language.check(one.of, f"{where}.of", is_condition=True, objections=_of_no_event)
        if one.value is not None:
            kinds = NUMBERS if one.aggregate in OF_NUMBERS else SINGLE
            definitions.language.check(one.value, f"{where}.value", is_condition=False, kinds=kinds, objections=_without_value(one))


def check_segments(segments: Segments, rule_of: Callable[[str], TraitRule]) -> None:
    """`rule_of` a trait. Raises InvalidInput (RULES_INVALID)."""
    computed = {f"computed.{name}": one for name, one in segments.definitions.all.items()}
    most = {name: limit for name, one in computed.items() if (limit := one.counts_at_most) is not None}
    since = {name for name, one in computed.items() if one.aggregate == "time_since"}

    for name, condition in segments.conditions.items():

        def objections(root: Node, when: Expression = condition.when) -> Objections:
            yield from never_reached(root, most)
            yield from _negative(root, computed)
            yield from of_no_such_size(root, lambda path: _longest(path, computed, rule_of))
            yield from _before_it_was(root, since, lambda part: segments.language.constant(when, part))
            yield from _without_field(root, computed)
            yield from _of_another_type(root, rule_of)

        segments.language.check(condition.when, f"segments.{name}.when", is_condition=True, objections=objections)


def _of_no_event(root: Node) -> Objections:
    yield from unknown_types(root)
    if not counted_types(root):
        yield root, f"no event has all that this asks for: {told_of(root)}"
    yield from of_no_such_size(root, lambda path: None)


def _without_value(definition: Definition) -> Callable[[Node], Objections]:
    def objections(root: Node) -> Objections:
        if not counted_types(definition.of.tree.root) & valued_types(root):
            yield root, f"no event that counts has it: {told_of(root)}"

    return objections


def _negative(root: Node, computed: Mapping[str, Definition]) -> Objections:
    for node in outside_macros(root):
        found = comparison(node)
        if found is None or found.path not in computed or computed[found.path].aggregate not in _COUNTS:
            continue
        if found.relation in ("_<_", "_<=_", "_==_", "@in") and not any(found.holds(0) or value > 0 for value in found.values):  # type: ignore[operator]
            yield node, f"{found.path} is a number of events or values, and never below 0"


def _before_it_was(root: Node, since: Collection[str], constant: Callable[[Node], Any]) -> Objections:
    """Of how long ago something was, a comparison with less than no time."""
    for node in outside_macros(root):
        for one, relation, other in sides(node):
            if path_of(one) not in since or relation not in ("_<_", "_<=_") or not is_constant(other):
                continue
            ago = constant(other)
            if isinstance(ago, timedelta) and (ago < timedelta() or (ago == timedelta() and relation == "_<_")):
                yield node, f"{path_of(one)} is how long ago something was, and never below 0"


def _longest(path: str, computed: Mapping[str, Definition], rule_of: Callable[[str], TraitRule]) -> int | None:
    """How much the value there has at most, in characters or items; None: that isn't known."""
    if (definition := computed.get(path)) is not None:
        return {"unique_list": MAX_LISTED, "rfm": None, "lifetime_value": None}.get(definition.aggregate, MAX_VALUE_CHARACTERS)
    variable, _, name = path.partition(".")
    if variable != "traits" or not name:
        return None
    rule = rule_of(name.partition(".")[0])
    if rule.by_field:  # each of its fields is another value
        return None
    return MAX_UNION_ITEMS if rule.rule == "union" and "." not in name else MAX_TRAIT_BYTES


def _without_field(root: Node, computed: Mapping[str, Definition]) -> Objections:
    for name, one in computed.items():
        if (fields := FIELDS.get(one.aggregate)) and (unknown := taken_of(root, name) - fields - {EVERY_FIELD}):
            yield root, f"{name} has no {min(unknown)}; it has {', '.join(sorted(fields))}"


def _of_another_type(root: Node, rule_of: Callable[[str], TraitRule]) -> Objections:
    for node in outside_macros(root):
        found = comparison(node)
        if found is None or found.relation == "_!=_" or not found.path.startswith("traits."):
            continue
        _, name, *deeper = found.path.split(".")
        kind = None if deeper else _type_of(rule_of(name))
        if kind is not None and _SAID.get(kind) not in found.kinds:
            yield node, f"by its rule {found.path} is of type {kind}, and never this"

    for node in conjuncts(root):
        path = path_of(node)
        if path.startswith("traits.") and path.count(".") == 1:
            kind = _type_of(rule_of(path.removeprefix("traits.")))
            if kind not in (None, "boolean"):
                yield node, f"by its rule {path} is of type {kind}, and so neither true nor false"


def _type_of(rule: TraitRule) -> str | None:
    return "list" if rule.rule == "union" else "object" if rule.by_field else rule.type

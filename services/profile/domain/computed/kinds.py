"""Of which types an event can be that counts: each has fields of its own, and of an event of another type there is nothing to take."""

from collections.abc import Iterator
from typing import Final

from services.profile.domain.expressions.contradictions import comparison, outside_macros
from services.profile.domain.expressions.possible import CONNECTIVES
from services.profile.domain.expressions.tree import Node, is_presence_test
from shared.events import customer as events

_TYPE: Final = "event.type"
TYPES: Final = frozenset(events.ACTIVITIES)
HAVING: Final = {
    f"event.{field}": frozenset(
        call for call, kind in events.ACTIVITIES.items() if kind.personal and field in kind.personal.__struct_fields__
    )
    for field in ("name", "category", "properties", "traits")
}


def unknown_types(root: Node) -> Iterator[tuple[Node, str]]:
    for node in outside_macros(root):
        found = comparison(node)
        if found is not None and found.path == _TYPE and not TYPES.issuperset(found.values):
            yield node, f"the type of an event is {_listed(TYPES)}"


def counted_types(of: Node) -> frozenset[str]:
    """For events of no other type the condition holds."""
    if of.kind == "call" and of.name in ("_&&_", "_||_"):
        one, other = map(counted_types, of.children)
        return one & other if of.name == "_&&_" else one | other
    found = valued_types(of)
    if of.kind == "select" and is_presence_test(of):
        found &= HAVING.get(of.children[0].name.lstrip("."), TYPES)
    asked = comparison(of)
    if asked is not None and asked.relation in ("_==_", "@in"):
        if asked.path == _TYPE:
            found &= frozenset(asked.values)
        elif all(asked.values):  # a name that isn't there is empty
            found &= HAVING.get(asked.path, TYPES)
    return found


def valued_types(value: Node) -> frozenset[str]:
    """Events of no other type have such a value: one without the field has none."""
    found = TYPES
    for variable in _needed(value):
        found &= HAVING.get(variable, TYPES)
    return found


def told_of(root: Node) -> str:
    """Which types have what is looked at."""
    names = {name for node in root.walk() if node.kind == "identifier" and (name := node.name.lstrip(".")) in HAVING}
    return "; ".join(f"{name} is of {_listed(HAVING[name])}" for name in sorted(names))


def _needed(node: Node) -> Iterator[str]:
    """Variables of which a field has to be there for it to have a value."""
    if node.kind == "select" or (node.kind == "call" and node.name == "_[_]"):
        container = node.children[0]
        if container.kind == "identifier" and not (node.kind == "select" and is_presence_test(node)):
            yield container.name.lstrip(".")
    if node.kind == "macro":
        yield from _needed(node.children[0])  # what it goes through
    elif node.kind != "struct" and not (node.kind == "call" and node.name in CONNECTIVES):
        for child in node.children:
            yield from _needed(child)


def _listed(types: frozenset[str]) -> str:
    return ", ".join(sorted(types))

"""Comparisons that can't hold together, such as of one trait with two texts: a condition that needs both holds for nobody.

Only what is certain whatever the data are is found: of a variable, or a field of one, that is compared with what is written out.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from services.profile.domain.expressions.tree import Literal, Node, literal, path_of

_TURNED: Final = {"_<_": "_>_", "_<=_": "_>=_", "_>_": "_<_", "_>=_": "_<=_", "_==_": "_==_", "_!=_": "_!=_"}
_HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
    "_==_": operator.eq,
    "@in": operator.eq,
}


class Comparison(NamedTuple):
    """Of what is at the path with each of the values: `@in` with any of them, else there is one."""

    path: str
    relation: str
    values: tuple[Literal, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """Of the values for which it can hold; nothing but these is equal to them, or ordered with them."""
        return frozenset(map(kind_of, self.values))

    def holds(self, value: Literal) -> bool:
        if self.relation == "_!=_":
            return kind_of(value) not in self.kinds or value != self.values[0]
        return any(kind_of(one) == kind_of(value) and _HOLDS[self.relation](value, one) for one in self.values)


def kind_of(value: Literal) -> str:
    return "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"


def comparison(node: Node) -> Comparison | None:
    if node.kind != "call" or len(node.children) != 2:
        return None
    left, right = node.children
    if node.name == "@in" and right.kind == "list" and (path := path_of(left)):
        values = [value for child in right.children if (value := literal(child)) is not None]
        return Comparison(path, "@in", tuple(values)) if len(values) == len(right.children) else None
    for one, other, relation in ((left, right, node.name), (right, left, _TURNED.get(node.name, ""))):
        if relation in _TURNED and (path := path_of(one)) and (found := literal(other)) is not None:
            return Comparison(path, relation, (found,))
    return None


def conjuncts(root: Node) -> Iterator[Node]:
    """What has to hold for it to hold."""
    if root.kind == "call" and root.name == "_&&_":
        for child in root.children:
            yield from conjuncts(child)
    else:
        yield root


def contradictions(root: Node) -> Iterator[Node]:
    """Of what has to hold, what can't, together with what stands before it."""
    asked: dict[str, list[Comparison]] = {}
    for node in conjuncts(root):
        if literal(node) is False:
            yield node
        if (found := comparison(node)) is not None:
            asked.setdefault(found.path, []).append(found)
            if _leave_nothing(asked[found.path]):
                yield node


def outside_macros(node: Node) -> Iterator[Node]:
    """A macro has variables of its own, under whatever names."""
    yield node
    if node.kind != "macro":
        for child in node.children:
            yield from outside_macros(child)


def _leave_nothing(asked: Sequence[Comparison]) -> bool:
    named = [one for one in asked if one.relation in ("_==_", "@in")]
    if named:
        return not any(all(one.holds(value) for one in asked) for value in named[0].values)
    bounds = [one for one in asked if one.relation != "_!=_"]
    if not bounds:
        return False
    if not frozenset.intersection(*(one.kinds for one in bounds)):
        return True
    low = [(one.values[0], one.relation == "_>_") for one in bounds if one.relation in ("_>_", "_>=_")]
    high = [(one.values[0], one.relation == "_<_") for one in bounds if one.relation in ("_<_", "_<=_")]
    return any(least > most or (least == most and (over or under)) for least, over in low for most, under in high)  # type: ignore[operator]

"""Comparisons that can't hold together, such as of one trait with two texts: a condition that needs both holds for nobody.

Only what is certain whatever the data are is found: of a variable, or a field of one, that is compared with what is written out.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from services.profile.domain.expressions.tree import Literal, Node, is_presence_test, literal, path_of

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
    for one, relation, other in sides(node):
        if (path := path_of(one)) and (found := literal(other)) is not None:
            return Comparison(path, relation, (found,))
    return None


def sides(node: Node) -> Iterator[tuple[Node, str, Node]]:
    """A comparison of two, as it is written and turned round."""
    if node.kind == "call" and node.name in _TURNED and len(node.children) == 2:
        left, right = node.children
        yield left, node.name, right
        yield right, _TURNED[node.name], left


def conjuncts(root: Node) -> Iterator[Node]:
    """What has to hold for it to hold."""
    if root.kind == "call" and root.name == "_&&_":
        for child in root.children:
            yield from conjuncts(child)
    else:
        yield root


def contradictions(root: Node, given: Sequence[Comparison] = ()) -> Iterator[Node]:
    """Of what has to hold, what can't, together with what stands before it, `given` too; and of two of which one has to, likewise."""
    asked: dict[str, list[Comparison]] = {}
    for one in given:
        asked.setdefault(one.path, []).append(one)
    for node in conjuncts(root):
        if literal(node) is False or _with_itself(node):
            yield node
        if node.kind == "call" and node.name == "_||_":
            before = [one for several in asked.values() for one in several]
            for either in node.children:
                if literal(either) is None:  # else it was left there to say so
                    yield from contradictions(either, before)
        if (found := comparison(node)) is not None:
            asked.setdefault(found.path, []).append(found)
            if _leave_nothing(asked[found.path]):
                yield node


def _with_itself(node: Node) -> bool:
    """Whether something is compared with itself that is never more or less than it is; nor, where it is what was sent, another."""
    if node.kind != "call" or node.name not in ("_<_", "_>_", "_!=_") or not _is_same(*node.children):
        return False
    return node.name != "_!=_" or path_of(node.children[0]) != ""


def _is_same(one: Node, other: Node) -> bool:
    """Whether the two are written alike. A struct isn't looked into."""
    said = [(node.kind, node.name, node.text, literal(node), is_presence_test(node)) for node in (one, other)]
    if one.kind == "struct" or said[0] != said[1] or type(said[0][3]) is not type(said[1][3]):
        return False
    if one.kind == "constant" and literal(one) is None:  # null, bytes and the like
        return False
    return len(one.children) == len(other.children) and all(map(_is_same, one.children, other.children))


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

"""Comparisons of how long a text is, or how many a list has, with what nothing has."""

from collections.abc import Callable, Iterator

from services.profile.domain.expressions.contradictions import outside_macros, sides
from services.profile.domain.expressions.tree import Node, literal, path_of


def of_no_such_size(root: Node, longest: Callable[[str], int | None]) -> Iterator[tuple[Node, str]]:
    """`longest` is how much what stands at a path has at most, None where that isn't known."""
    for node in outside_macros(root):
        for one, relation, other in sides(node):
            number = literal(other)
            if not _is_size(one) or not isinstance(number, int):
                continue
            path = path_of(one.children[0])
            most = longest(path) if path else None
            if not _may_hold(relation, number, most):
                yield node, f"the size of {path or 'anything'} is 0 or more" + ("" if most is None else f", and {most} at most")


def _is_size(node: Node) -> bool:
    return node.kind == "call" and node.name == "size" and len(node.children) == 1


def _may_hold(relation: str, number: int, most: int | None) -> bool:
    """Of a whole number from 0 to `most`."""
    if relation == "_==_":
        return number >= 0 and (most is None or number <= most)
    if relation in ("_<_", "_<=_"):
        return number > 0 or (number == 0 and relation == "_<=_")
    if relation in ("_>_", "_>=_"):
        return most is None or number < most or (number == most and relation == "_>=_")
    return True

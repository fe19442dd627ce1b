"""What is read as an instant: traits that are dates are kept as texts."""

from collections.abc import Iterator
from typing import Final

from services.profile.domain.expressions.tree import Node, Tree, call, constant, with_children

INSTANT: Final = "instant"
COMPARISONS: Final = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
_WITH_OFFSET: Final = r"([zZ]|[+-]\d{2}:\d{2})$"


def read_in(tree: Tree, node: Node) -> Iterator[Node]:
    """Of the children those that are read as instants: what instant(...) is given, and what is compared with one."""
    if node.kind == "call" and node.name == INSTANT:
        yield node.children[0]
    elif node.kind == "call" and node.name in COMPARISONS:
        kinds = [tree.type_of(child) for child in node.children]
        if set(kinds) == {"dyn", "timestamp"}:
            yield node.children[kinds.index("dyn")]


def reading_instants(tree: Tree, node: Node) -> Node:
    """With what reads them written out in CEL. Each stands there three times, so that none may hold another (`bounds`)."""
    read = {child.id for child in read_in(tree, node)}
    below = tuple(reading_instants(tree, child) for child in node.children)
    if read:
        below = tuple(_as_instant(part) if child.id in read else part for child, part in zip(node.children, below, strict=True))
    return below[0] if node.kind == "call" and node.name == INSTANT else with_children(node, below)


def _as_instant(node: Node) -> Node:
    """`timestamp(node + (a date ? 'T00:00:00Z' : with an offset ? '' : 'Z'))`: of texts alone, since nothing else is added to one."""
    own = node.id * 16
    is_date = call("matches", (node, constant(_DATE, own + 1)), own + 2)
    has_offset = call("matches", (node, constant(_WITH_OFFSET, own + 3)), own + 4)
    rest = call("_?_:_", (has_offset, constant("", own + 5), constant("Z", own + 6)), own + 7)
    suffix = call("_?_:_", (is_date, constant("T00:00:00Z", own + 8), rest), own + 9)
    return call("timestamp", (call("_+_", (node, suffix), own + 10),), own + 11)

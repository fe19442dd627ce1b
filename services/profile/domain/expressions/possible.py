"""What an expression can never come to, whatever it is given: a constant that says nothing, or a text where true or false is due.

Evaluated, both are only without a value, so that a condition would never hold and nobody be told. The parts that have to have a
value are found here, each with what to evaluate for it.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from services.profile.domain.expressions.tree import Node, Tree, call, constant, whole_number, with_children

CONNECTIVES: Final = frozenset({"_&&_", "_||_", "!_", "_?_:_"})
_COMPARISONS: Final = frozenset({"_>_", "_>=_", "_<_", "_<=_", "_==_", "_!=_"})
_ANY_INSTANT: Final = "1970-01-01T00:00:00Z"
_HINTS: Final = {
    "duration": "a duration is written in hours, minutes and seconds, such as duration('720h') for 30 days",
    "timestamp": "an instant is written with its time and offset, such as timestamp('2026-01-31T00:00:00Z'); of a date, instant('2026-01-31')",
    "instant": "an instant is written such as instant('2026-01-31') or instant('2026-01-31T09:30:00Z')",
    "matches": "a pattern is a regular expression of RE2, such as '^a+$'",
    "get": "a time zone is named such as 'Europe/Berlin', or is an offset such as '+02:00'",
}


class Constant(NamedTuple):
    """A part of an expression. `stands_for` is it without data; where that has no value, it can't have one: `hint`."""

    part: Node
    stands_for: Node
    hint: str


def constants(root: Node) -> Iterator[Constant]:
    """None in another: what holds them has no value either, but for what isn't looked at by && and the like, which are taken apart."""
    if root.kind == "call" and root.name not in CONNECTIVES and is_constant(root):
        yield Constant(root, root, _HINTS.get(root.name, "this has no value"))
        return
    if root.kind == "call" and len(root.children) == 2 and root.children[1].text is not None:  # a target, and what is asked of it
        argument = root.children[1]
        if root.name == "matches":
            yield Constant(argument, call("matches", (constant("", 1), argument), 2), _HINTS["matches"])
        elif root.name.startswith("get"):
            instant = call("timestamp", (constant(_ANY_INSTANT, 1),), 2)
            yield Constant(argument, with_children(root, (instant, argument)), _HINTS["get"])
    yield from constants_below(root)


def constants_below(node: Node) -> Iterator[Constant]:
    for child in node.children:
        yield from constants(child)


def never_boolean(tree: Tree, is_condition: bool) -> Iterator[Node]:
    """Parts of which true or false is due and can't come. A field alone may be either: what it holds isn't known."""
    if is_condition and not _can_be_boolean(tree, tree.root):
        yield tree.root
    for node in tree.root.walk():
        if node.kind == "call" and node.name in CONNECTIVES:
            due = node.children[:1] if node.name == "_?_:_" else node.children
            yield from (part for part in due if not _can_be_boolean(tree, part))


def _can_be_boolean(tree: Tree, node: Node) -> bool:
    if node.kind == "call" and node.name == "_?_:_":
        return any(_can_be_boolean(tree, branch) for branch in node.children[1:])
    if node.kind == "call" and node.name == "dyn":
        return _can_be_boolean(tree, node.children[0])
    if tree.type_of(node) == "dyn":  # a sum, say, is of numbers, texts or lists
        return node.kind in ("identifier", "select") or node.name == "_[_]"
    return tree.type_of(node) == "bool"


def is_constant(node: Node) -> bool:
    return all(part.kind not in ("identifier", "macro") for part in node.walk())


def never_reached(root: Node, most: Mapping[str, int]) -> Iterator[tuple[Node, str]]:
    """Comparisons of variables that come to so much at `most` with a number that is more: whatever happens, the answer is the same."""
    for node in root.walk():
        if node.kind != "call" or node.name not in _COMPARISONS or len(node.children) != 2:
            continue
        for (one, other), more in (node.children, "_>_"), (node.children[::-1], "_<_"):
            limit, number = most.get(one.name.lstrip(".")), whole_number(other)
            if limit is not None and number is not None and number + (node.name == more) > limit:
                yield (
                    node,
                    f"{one.name} comes to {limit} at most: no more events are kept for it; without a window a count has no such bound",
                )

"""What an expression may cost: at most its number of nodes times the size of what it is given, whoever wrote it.

CEL always ends, but nested macros and texts that grow from macro to macro end late: one of 60 characters took a minute and 14 GB
of an event that fits in 64 KiB. So a macro holds no other, looks in its body at its own variable, at plain values and constants
only, and adds there only numbers. Nor does what is read as an instant hold another: each is written out three times. Besides, the runtime stops a macro after 10,000 rounds, and searches texts in linear time (RE2).
"""

from collections.abc import Iterator

from services.profile.domain.expressions.instants import read_in
from services.profile.domain.expressions.tree import Node, Tree

MAX_CHARACTERS = 2_000
MAX_NODES = 500
_RESULT = "@result"  # what a macro gathers


def objections(tree: Tree, plain: frozenset[str]) -> Iterator[str]:
    """Why the expression isn't taken, in words. `plain` are the variables whose values are of a fixed size."""
    if sum(1 for _ in tree.root.walk()) > MAX_NODES:
        yield f"an expression has at most {MAX_NODES} parts"
    for node in tree.root.walk():
        if node.kind == "macro":
            yield from _of_macro(tree, node, plain)
        if any(_reads_instants(tree, part) for child in read_in(tree, node) for part in child.walk()):
            yield "what is read as an instant, by instant(...) or as it is compared with one, holds no other that is"
        if node.kind == "call" and node.name == "matches" and node.children[1].text is None:
            yield "the pattern of matches is written in the expression, not taken from data"


def _reads_instants(tree: Tree, node: Node) -> bool:
    return any(True for _ in read_in(tree, node))


def _of_macro(tree: Tree, macro: Node, plain: frozenset[str]) -> Iterator[str]:
    seen = {macro.name, _RESULT, *plain}
    for node in (part for child in macro.children for part in child.walk()):
        if node.kind == "macro":
            yield "a macro (exists, all, map, filter ...) holds no other macro; filter and map at once: list.map(x, condition, value)"
    for node in (part for child in macro.children[1:] for part in child.walk()):
        if node.kind == "identifier" and node.name not in seen:
            yield f"inside a macro only its own variable is looked at, not {node.name}"
        if node.kind == "call" and node.name == "_+_" and not _adds_numbers(tree, node):
            yield "inside a macro only numbers are added; say which: double(x.price) + 1.0"


def _adds_numbers(tree: Tree, addition: Node) -> bool:
    return addition.children[0].name == _RESULT or tree.type_of(addition) in ("number", "timestamp")

"""A compiled expression as a tree, read from the compiler's own: for bounds on its cost, and for when it may change by itself."""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from services.profile.domain.expressions.wire import counted, fields, framed, message, messages, number_in

# cel.expr.Expr and what it holds: numbers of fields.
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_CONST_BOOL, _CONST_INT, _CONST_DOUBLE, _CONST_STRING = 2, 3, 5, 6
_SELECT_TEST_ONLY = 3
_ANY_VALUE = 2  # of google.protobuf.Any, in which the compiler hands the tree over
_CHECKED_TYPES, _CHECKED_EXPR, _CHECKED_SOURCE = 3, 4, 5
_POSITIONS = 4  # of SourceInfo
_DYN, _PRIMITIVE, _WELL_KNOWN = 1, 3, 5
_TIMESTAMP, _BOOL, _NUMERIC = 2, 1, (2, 3, 4)  # of WellKnownType; of PrimitiveType: bool; int64, uint64, double
_NEW_IDS = 1_000_000  # of nodes that are written here: no expression has as many

EVERY_FIELD: Final = "*"

_CHILDREN = {_SELECT: (1,), _CALL: (1, 3), _LIST: (1,), _COMPREHENSION: (2, 4, 5, 6, 7)}  # fields that hold nodes

KINDS = {
    _CONST: "constant",
    _IDENT: "identifier",
    _SELECT: "select",
    _CALL: "call",
    _LIST: "list",
    _STRUCT: "struct",
    _COMPREHENSION: "macro",
}


Literal = bool | int | float | str


class Node(NamedTuple):
    """`name` is an identifier, a function, a field or a macro's variable; `text` a constant string, else None; `data` the node's wire form."""

    id: int
    kind: str
    name: str
    text: str | None
    children: tuple["Node", ...]
    data: bytes

    def walk(self) -> Iterator["Node"]:
        """Itself, then what is below from left to right; not by recursion, which would cost each node its depth."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))


class Tree(NamedTuple):
    """`types` are of nodes, by id, as far as the compiler knows them: "timestamp", "number", "bool", "dyn" or another."""

    root: Node
    types: dict[int, str]
    data: bytes  # cel.expr.CheckedExpr

    def type_of(self, node: Node) -> str:
        return self.types.get(node.id, "other")

    def position_of(self, node: Node) -> int:
        """Where it stands in the text, in characters from 0 on."""
        positions = messages(message(self.data, _CHECKED_SOURCE), _POSITIONS)
        return next((number_in(pair, 2) for pair in positions if number_in(pair, 1) == node.id), 0)


def read(serialized: bytes) -> Tree:
    """Of what `Expression.serialize` gives."""
    checked = message(serialized, _ANY_VALUE)
    types = {number_in(pair, 1): _type(message(pair, 2)) for pair in messages(checked, _CHECKED_TYPES)}
    return Tree(_node(message(checked, _CHECKED_EXPR)), types, checked)


def write(tree: Tree, root: Node) -> bytes:
    """What the runtime takes for an expression whose root is another node, made of nodes of the tree."""
    rest = b"".join(
        framed(number, content) if isinstance(content, bytes) else counted(number, content)
        for number, content in fields(tree.data)
        if number != _CHECKED_EXPR
    )
    checked = rest + framed(_CHECKED_EXPR, root.data)
    return framed(1, b"type.googleapis.com/cel.expr.CheckedExpr") + framed(_ANY_VALUE, checked)


def call(function: str, arguments: tuple[Node, ...], number: int) -> Node:
    """A new node; its id is as new as its number."""
    content = framed(2, function.encode()) + b"".join(framed(3, argument.data) for argument in arguments)
    node_id = _NEW_IDS + number
    return Node(node_id, "call", function, None, arguments, counted(_ID, node_id) + framed(_CALL, content))


def is_presence_test(node: Node) -> bool:
    """Whether a select asks if there is such a field: has(x.y)."""
    return number_in(message(node.data, _SELECT), _SELECT_TEST_ONLY) != 0


def listed(items: tuple[Node, ...], number: int) -> Node:
    content = b"".join(framed(1, item.data) for item in items)
    node_id = _NEW_IDS + number
    return Node(node_id, "list", "", None, items, counted(_ID, node_id) + framed(_LIST, content))


def constant(text: str, number: int) -> Node:
    node_id = _NEW_IDS + number
    data = counted(_ID, node_id) + framed(_CONST, framed(_CONST_STRING, text.encode()))
    return Node(node_id, "constant", "", text, (), data)


def whole_number(node: Node) -> int | None:
    """Of a constant that is one, and not negative."""
    if node.kind != "constant":
        return None
    content = message(node.data, _CONST)
    found = next((value for number, value in fields(content) if number == _CONST_INT and isinstance(value, int)), None)
    return found if found is not None and found < 2**63 else None


def literal(node: Node) -> Literal | None:
    """What a constant is; None of any other node, and of one that is no text, number or truth value."""
    if node.kind != "constant" or node.text is not None:
        return node.text
    for number, value in fields(message(node.data, _CONST)):
        if number == _CONST_BOOL:
            return bool(value)
        if number == _CONST_INT and isinstance(value, int):
            return value - 2**64 if value >= 2**63 else value
        if number == _CONST_DOUBLE and isinstance(value, bytes):
            return float(struct.unpack("<d", value)[0])
    return None


def path_of(node: Node) -> str:
    """Of a variable, or of a field in one, however deep, as it is written with dots; empty of anything else."""
    if node.kind == "identifier":
        return node.name.lstrip(".")
    if node.kind == "select" and not is_presence_test(node) and (container := path_of(node.children[0])):
        return f"{container}.{node.name}"
    return ""


def with_children(node: Node, children: tuple[Node, ...]) -> Node:
    """The same node over others. A struct stays as it is."""
    if children == node.children or node.kind == "struct":
        return node
    number = next(n for n, kind in KINDS.items() if kind == node.kind)
    left = {child: [] for child in _CHILDREN[number]}  # type: dict[int, list[bytes]]
    for child, (field, _) in zip(children, _placed(number, message(node.data, number)), strict=True):
        left[field].append(child.data)
    content = b"".join(
        counted(field, part) if isinstance(part, int) else framed(field, left[field].pop(0) if field in left else part)
        for field, part in fields(message(node.data, number))
    )
    return node._replace(children=children, data=counted(_ID, node.id) + framed(number, content))


def _node(data: bytes) -> Node:
    number, content = next(((n, c) for n, c in fields(data) if n in KINDS and isinstance(c, bytes)), (_CONST, b""))
    name, text = "", None  # type: str, str | None
    below = tuple(part for _, part in _placed(number, content))
    if number == _CONST:
        text = next((c.decode() for n, c in fields(content) if n == _CONST_STRING and isinstance(c, bytes)), None)
    elif number == _IDENT:
        name = message(content, 1).decode()
    elif number in (_SELECT, _CALL):
        name = message(content, 2).decode()
    elif number == _COMPREHENSION:
        name = message(content, 1).decode()
    return Node(number_in(data, _ID), KINDS[number], name, text, tuple(_node(part) for part in below), data)


def _placed(number: int, content: bytes) -> list[tuple[int, bytes]]:
    """The nodes below one of this kind, each with its field: of a call its target first, of a macro its range first."""
    if number == _STRUCT:
        return [(field, part) for entry in messages(content, 2) for field in (3, 4) for part in messages(entry, field)]
    return [(field, part) for field in _CHILDREN.get(number, ()) for part in messages(content, field)]


def _type(data: bytes) -> str:
    for number, content in fields(data):
        if number == _DYN:
            return "dyn"
        if number == _WELL_KNOWN and content == _TIMESTAMP:
            return "timestamp"
        if number == _PRIMITIVE and content == _BOOL:
            return "bool"
        if number == _PRIMITIVE and content in _NUMERIC:
            return "number"
    return "other"


def taken_of(root: Node, variable: str) -> frozenset[str]:
    """Names of the fields that are looked at of a variable that is a map; EVERY_FIELD where that can't be read."""
    found: set[str] = set()
    for node in root.walk():
        if node.kind == "struct":  # what is inside isn't read
            found.add(EVERY_FIELD)
        for child in node.children:
            if child.kind == "identifier" and child.name.lstrip(".") == variable:
                named = [other.text for other in node.children if other is not child and other.text is not None]
                if node.kind == "select":
                    found.add(node.name)
                else:
                    found.add(named[0] if named and node.kind == "call" and node.name in ("_[_]", "@in") else EVERY_FIELD)
    return frozenset(found)

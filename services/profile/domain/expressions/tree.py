"""A compiled expression as a tree, read from the compiler's own: for bounds on its cost, and for when it may change by itself."""

from collections.abc import Iterator
from typing import NamedTuple

from services.profile.domain.expressions.wire import counted, fields, framed, message, messages, number_in

# cel.expr.Expr and what it holds: numbers of fields.
_ID, _CONST, _IDENT, _SELECT, _CALL, _LIST, _STRUCT, _COMPREHENSION = 2, 3, 4, 5, 6, 7, 8, 9
_CONST_STRING = 6
_ANY_VALUE = 2  # of google.protobuf.Any, in which the compiler hands the tree over
_CHECKED_TYPES, _CHECKED_EXPR = 3, 4
_DYN, _PRIMITIVE, _WELL_KNOWN = 1, 3, 5
_TIMESTAMP, _NUMERIC = 2, (2, 3, 4)  # of WellKnownType; of PrimitiveType: int64, uint64, double
_NEW_IDS = 1_000_000  # of nodes that are written here: no expression has as many

KINDS = {
    _CONST: "constant",
    _IDENT: "identifier",
    _SELECT: "select",
    _CALL: "call",
    _LIST: "list",
    _STRUCT: "struct",
    _COMPREHENSION: "macro",
}


class Node(NamedTuple):
    """`name` is an identifier, a function, a field or a macro's variable; `text` a constant string, else None; `data` the node's wire form."""

    id: int
    kind: str
    name: str
    text: str | None
    children: tuple["Node", ...]
    data: bytes

    def walk(self) -> Iterator["Node"]:
        yield self
        for child in self.children:
            yield from child.walk()


class Tree(NamedTuple):
    """`types` are of nodes, by id, as far as the compiler knows them: "timestamp", "number", "dyn" or another."""

    root: Node
    types: dict[int, str]
    data: bytes  # cel.expr.CheckedExpr

    def type_of(self, node: Node) -> str:
        return self.types.get(node.id, "other")


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


def with_arguments(node: Node, arguments: tuple[Node, ...]) -> Node:
    """The same call of other arguments; of a call that has no target."""
    content = framed(2, node.name.encode()) + b"".join(framed(3, argument.data) for argument in arguments)
    return node._replace(children=arguments, data=counted(_ID, node.id) + framed(_CALL, content))


def has_target(node: Node) -> bool:
    return node.kind == "call" and bool(messages(message(node.data, _CALL), 1))


def _node(data: bytes) -> Node:
    number, content = next(((n, c) for n, c in fields(data) if n in KINDS and isinstance(c, bytes)), (_CONST, b""))
    name, text, below = "", None, ()  # type: str, str | None, tuple[bytes, ...]
    if number == _CONST:
        text = next((c.decode() for n, c in fields(content) if n == _CONST_STRING and isinstance(c, bytes)), None)
    elif number == _IDENT:
        name = message(content, 1).decode()
    elif number == _SELECT:
        name, below = message(content, 2).decode(), (message(content, 1),)
    elif number == _CALL:
        name, below = message(content, 2).decode(), (*messages(content, 1), *messages(content, 3))
    elif number == _LIST:
        below = tuple(messages(content, 1))
    elif number == _STRUCT:
        below = tuple(part for entry in messages(content, 2) for field in (3, 4) for part in messages(entry, field))
    else:
        name = message(content, 1).decode()
        below = tuple(message(content, field) for field in (2, 4, 5, 6, 7))
    return Node(number_in(data, _ID), KINDS[number], name, text, tuple(_node(part) for part in below), data)


def _type(data: bytes) -> str:
    for number, content in fields(data):
        if number == _DYN:
            return "dyn"
        if number == _WELL_KNOWN and content == _TIMESTAMP:
            return "timestamp"
        if number == _PRIMITIVE and content in _NUMERIC:
            return "number"
    return "other"

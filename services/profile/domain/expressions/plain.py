"""Expressions so plain that Python reads them as they are: a name that is compared with texts, a field of the event, a number of it.

Most that are asked of each event are. What isn't plain, and whatever a plain one meets that it isn't certain of, is left to the runtime,
so that there is one answer (decision 43).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.profile.domain.expressions.tree import Node, is_presence_test

INT_END: Final = 2**63


class _Ask:
    """In place of a value: the runtime knows."""


ASK: Final = _Ask()
Plain = Callable[[Mapping[str, Any]], Any]  # of what the variables are: a scalar, None where there is no value, or ASK


def plain_of(root: Node) -> Plain | None:
    """None: it isn't."""
    return _condition_of(root) or _double_of(root) or _field_of(root)


def _condition_of(node: Node) -> Plain | None:
    if node.kind != "call" or len(node.children) != 2:
        return None
    if node.name in ("_&&_", "_||_"):
        one, other = map(_condition_of, node.children)
        return _both(one, other, node.name == "_||_") if one is not None and other is not None else None
    left, right = node.children
    if node.name == "@in" and left.kind == "identifier" and right.kind == "list":
        texts = frozenset(child.text for child in right.children if child.text is not None)
        return _is_among(left.name, texts) if all(child.text is not None for child in right.children) else None
    if node.name == "_==_":
        for variable, text in ((left, right.text), (right, left.text)):
            if variable.kind == "identifier" and text is not None:
                return _is_among(variable.name, frozenset({text}))
    return None


def _is_among(name: str, texts: frozenset[str]) -> Plain:
    def evaluate(content: Mapping[str, Any]) -> Any:
        value = content.get(name)
        return value in texts if type(value) is str else ASK

    return evaluate


def _both(one: Plain, other: Plain, if_either: bool) -> Plain:
    def evaluate(content: Mapping[str, Any]) -> Any:
        found, also = one(content), other(content)
        if found is ASK or also is ASK:
            return ASK
        return (found or also) if if_either else (found and also)

    return evaluate


def _double_of(node: Node) -> Plain | None:
    """Of a number; a text is the runtime's to read."""
    if node.kind != "call" or node.name != "double" or len(node.children) != 1 or (field := _field_of(node.children[0])) is None:
        return None

    def evaluate(content: Mapping[str, Any]) -> Any:
        value = field(content)
        kind = type(value)
        return float(value) if kind is float or kind is int else None if value is None else ASK

    return evaluate


def _field_of(node: Node) -> Plain | None:
    """What is selected of a variable that is a map, however deep."""
    path = list[str]()
    while node.kind == "select" and not is_presence_test(node):
        path.append(node.name)
        node = node.children[0]
    if not path or node.kind != "identifier":
        return None
    variable, names = node.name, path[::-1]

    def evaluate(content: Mapping[str, Any]) -> Any:
        value = content.get(variable, ASK)
        for name in names:
            if type(value) is not dict:
                return ASK if value is ASK else None
            if name not in value:
                return None
            value = value[name]
        return _scalar(value)

    return evaluate


def _scalar(value: Any) -> Any:
    """As `Expression.evaluate` gives it."""
    kind = type(value)
    if kind is str or kind is bool or kind is float:
        return value
    if kind is int:
        return value if -INT_END <= value < INT_END else float(value)
    return None if value is None or kind is dict or kind is list else ASK

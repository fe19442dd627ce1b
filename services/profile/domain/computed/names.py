"""Which names an event must have for a condition to hold, read from the condition: so that others are never evaluated."""

from services.profile.domain.expressions.tree import Node

_NAME = "event.name"


def event_names(node: Node) -> frozenset[str] | None:
    """None when the condition may hold for any name."""
    if node.kind != "call" or len(node.children) != 2:
        return None
    left, right = node.children
    if node.name == "_&&_":
        one, other = event_names(left), event_names(right)
        return one & other if one is not None and other is not None else one if one is not None else other
    if node.name == "_||_":
        one, other = event_names(left), event_names(right)
        return one | other if one is not None and other is not None else None
    if node.name == "_==_":
        return _compared(left, right) or _compared(right, left)
    if node.name == "@in" and left.name == _NAME and right.kind == "list":
        texts = [child.text for child in right.children if child.text is not None]
        return frozenset(texts) if len(texts) == len(right.children) else None
    return None


def _compared(one: Node, other: Node) -> frozenset[str] | None:
    return frozenset({other.text}) if one.kind == "identifier" and one.name == _NAME and other.text is not None else None

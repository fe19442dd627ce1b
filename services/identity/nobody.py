"""Why an identifier names no customer. Of the value that was asked for it is told, and of nobody who used it."""

from typing import Any

from services.identity.graph.facts import Node
from services.identity.graph.rules import Rules
from services.identity.recall import NOW, Instants, owners, recall
from shared.errors import NotFound


async def nobody(connection: Any, node: Node, rules: Rules, instants: Instants = NOW, former: bool = False) -> NotFound:
    """What to raise for an identifier that names nobody at that instant. `node` may lack its namespace, and `former` is as of `recall`.

    IDENTIFIER_BLOCKED, IDENTIFIER_SHARED (`owners` and `limit`, from how many on), IDENTIFIER_CONTESTED; IDENTIFIER_UNKNOWN: it
    is nobody's, or whoever had it was erased.
    """
    if node.value_hash in rules.blocked:
        return _refusal("BLOCKED", "the rules say that this identifier names nobody", node)
    if instants != NOW:
        recalled = await recall(connection, [node.value_hash], rules, instants, former)
        standing = recalled.standing(rules)
        shared, contested = node in recalled.shared, node in standing.contested
    elif row := await connection.fetchrow(
        "SELECT namespace, shared, contested FROM identifiers WHERE value_hash = $1", node.value_hash
    ):
        node, shared, contested = Node(row["namespace"], node.value_hash), row["shared"], row["contested"]
    else:
        shared = contested = False
    if shared:
        counted = (await owners(connection, [node.value_hash], rules, {node.value_hash: node}, instants))[node.value_hash]
        told = ", ".join(f"{count} of {name}" for name, count in sorted(counted.items()))
        limit = rules.of(node.namespace).shared_after or 0
        return _refusal("SHARED", "too many use this identifier: it says of nobody who they are", node, owners=told, limit=limit)
    if contested:
        return _refusal("CONTESTED", "two people use this identifier whom nothing else joins: it is neither's", node)
    return _refusal("UNKNOWN", "no customer has this identifier", node)


def _refusal(why: str, text: str, node: Node, **facts: str | int) -> NotFound:
    """The namespace is told where it is known."""
    named = {"namespace": node.namespace} if node.namespace else {}
    return NotFound(text, reason=f"IDENTIFIER_{why}", **named, **facts)

"""Customers for what events resolve by, while it isn't settled yet who else they are. Pure.

An event stands with the customer of its strongest identifier for ever, so that one is founded at once. It stays with whom it named so
far, by a merge; the facts say later whether it is theirs.
"""

from collections.abc import Iterable, Iterator, Mapping

from services.identity.graph.conclude import Concluded, Conclusion, Founded, Linked, Merged, Unlinked, evolve
from services.identity.graph.facts import Evidence, Node
from services.identity.graph.resolve import Link
from shared.ids import NewId


def found(known: Concluded, nodes: Iterable[Node], new_id: NewId) -> list[Conclusion]:
    """Evolves `known`; each of `nodes` is linked to its own customer afterwards."""
    concluded: list[Conclusion] = []
    for node in nodes:
        for conclusion in _founding(known, node, new_id):
            evolve(known, conclusion)
            concluded.append(conclusion)
    return concluded


def _founding(known: Concluded, node: Node, new_id: NewId) -> Iterator[Conclusion]:
    own, named = known.own.get(node), known.links.get(node)
    if own is not None and named is None:
        yield Linked(own, node)
    if own is not None:
        return
    if named is not None:
        yield Unlinked(named, node)
    customer = new_id()
    yield Founded(customer, known.next_founding_number, node)
    yield Linked(customer, node)
    if named is not None:
        yield Merged(new_id(), named, customer)


def joined_by(concluded: Iterable[Conclusion], known: Concluded, resolved: Mapping[Node, Evidence]) -> list[Link]:
    """What the merges rest on, as far as it is told here: the event for which a customer was founded."""
    founder = {customer: node for node, customer in known.own.items()}
    merged = [one for one in concluded if isinstance(one, Merged)]
    return [Link(founder[one.customer], founder[one.other], resolved[founder[one.other]]) for one in merged]

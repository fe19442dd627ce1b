"""A model of what an erasure does to the graph: the service does it to its tables (`services/identity/erasures.py`).

`tests/live/test_erased_graph.py` holds the two together.
"""

from services.identity.domain import Graph, Suppression


def erase(graph: Graph, customers: frozenset[bytes], suppression: Suppression) -> None:
    """A whole cluster is no more: its identifiers lead nowhere and are suppressed, nothing is proposed about it."""
    gone = [value_hash for value_hash, customer in graph.links.items() if customer in customers]
    for value_hash in gone:
        del graph.links[value_hash]
        graph.suppressions[value_hash] = suppression
    graph.proposals = {pair for pair in graph.proposals if customers.isdisjoint(pair)}

"""Why: the chain of evidence between two identifiers, and the fact that changed what was concluded. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property

from services.identity.graph.facts import Evidence, Node, Pair, pair
from services.identity.graph.region import Region, Settled
from services.identity.graph.resolve import Link
from services.identity.graph.rules import Rules

NOBODY = Evidence(0, b"")  # what it rested on was taken back


def by_node(links: Iterable[Link]) -> dict[Node, list[Link]]:
    found: dict[Node, list[Link]] = {}
    for link in links:
        found.setdefault(link.strong, []).append(link)
        found.setdefault(link.weak, []).append(link)
    return found


class Chains:
    """The shortest chains of links from one identifier to others; `links` are `by_node`.

    It searches as far as it was asked for, and goes on there: a customer of ten thousand identifiers has as many chains from one.
    """

    def __init__(self, links: Mapping[Node, list[Link]], one: Node) -> None:
        self._links = links
        self._came_by: dict[Node, Link | None] = {one: None}
        self._waiting = deque([one])

    def to(self, other: Node) -> list[Link]:
        """Empty when there is none."""
        self._search(other)
        found: list[Link] = []
        node, came = other, self._came_by.get(other)
        while came is not None:
            found.append(came)
            node = came.weak if came.strong == node else came.strong
            came = self._came_by[node]
        return found[::-1]

    def _search(self, other: Node) -> None:
        while self._waiting and other not in self._came_by:
            node = self._waiting.popleft()
            for link in self._links.get(node, ()):
                neighbour = link.weak if link.strong == node else link.strong
                if neighbour not in self._came_by:
                    self._came_by[neighbour] = link
                    self._waiting.append(neighbour)


def by_earliest(link: Link, together: Iterable[tuple[frozenset[Node], Evidence]]) -> Link:
    """With the earliest event that saw its ends, also one whose strongest identifier was another: what two are one by is of who resolves.

    What founded a customer while it waits to be settled is linked by an event that is no fact yet.
    """
    if link.evidence is None or link.weight is not None:
        return link
    both = {link.strong, link.weak}
    return link._replace(evidence=min((evidence for seen, evidence in together if both <= seen), default=link.evidence))


def along(links: Iterable[Link], start: Node) -> list[Node]:
    """The identifiers of a chain, from one of its ends on; that end alone when it has no links."""
    found = [start]
    links = list(links)
    if links and start not in links[0][:2]:
        links.reverse()
    for link in links:
        found.append(link.weak if link.strong == found[-1] else link.strong)
    return found


class Causes:
    """`decided` is when and by what pairs were forced, and `said_anew` by what identifiers match otherwise now; `otherwise` is the
    cause of what no evidence explains.
    """

    def __init__(
        self,
        region: Region,
        settled: Settled,
        rules: Rules,
        decided: Mapping[Pair, Evidence],
        said_anew: Mapping[Node, Evidence],
        otherwise: Evidence = NOBODY,
    ) -> None:
        self.rules = rules
        self._decided = decided
        self._said_anew = said_anew
        self._otherwise = otherwise
        self._region = region
        self._news = settled.news
        self._links = by_node(settled.partition.links)
        self._last: tuple[Node, bool, Chains] | None = None  # where the next chain mostly begins too
        self._earliest: dict[Link, Evidence | None] = {}
        self._seen_with: dict[Node, list[frozenset[Node]]] = {}
        for together in region.facts.together:
            for node in together:
                self._seen_with.setdefault(node, []).append(together)

    def chain(self, one: Node, other: Node, likely: bool = False) -> list[Link]:
        """As `Chains`; by a match only between those that are no more than likely one."""
        if self._last is None or self._last[:2] != (one, likely):
            self._last = (one, likely, Chains(self._links if likely else self._certain, one))
        return self._last[2].to(other)

    @cached_property
    def _certain(self) -> dict[Node, list[Link]]:
        return {node: [link for link in links if link.weight is None] for node, links in self._links.items()}

    def path(self, one: Node, other: Node, likely: bool = False) -> Evidence:
        """The event or decision that completed the chain: the latest of its evidence, of what was seen as `why` tells it."""
        found = [self._evidence(link) for link in self.chain(one, other, likely)]
        return max((evidence for evidence in found if evidence is not None), default=self._otherwise)

    def _evidence(self, link: Link) -> Evidence | None:
        if link.evidence is None:
            return self._decided.get(pair(link.strong, link.weak))
        if link not in self._earliest:
            near = min((self._seen_with.get(end, []) for end in link[:2]), key=len)
            self._earliest[link] = by_earliest(link, ((seen, self._region.facts.together[seen]) for seen in near)).evidence
        return self._earliest[link]

    def change_near(self, *nodes: Node) -> Evidence:
        """The event of the nearest fact that is new, or by which the nearest record says something else."""
        reached, waiting = set(nodes), deque(nodes)
        while waiting:
            if waiting[0] in self._said_anew:
                return self._said_anew[waiting[0]]
            for together in sorted(self._seen_with.get(waiting.popleft(), ()), key=sorted):
                if together in self._news:
                    return self._region.facts.together[together]
                for neighbour in together - reached:
                    reached.add(neighbour)
                    waiting.append(neighbour)
        return self._otherwise

    def closing(self, ends: Collection[Node]) -> Evidence:
        """What ended a question about these: what changed nearest to them, or the latest that is new at all."""
        near = self.change_near(*ends)
        news = [self._region.facts.together[together] for together in self._news] if near == NOBODY else []
        return max(news, default=near)

"""The graph as its tables keep it, in memory: only what some facts touch is loaded and saved."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from services.identity.domain.decision import Act, are_one, forbidding, moved, stand_for, to_merge
from services.identity.graph.borders import met
from services.identity.graph.causes import NOBODY, Causes
from services.identity.graph.conclude import Concluded, Conclusion
from services.identity.graph.crowding import told_by
from services.identity.graph.facts import Evidence, Facts, Match, Node, Pair, pair
from services.identity.graph.questions import Question
from services.identity.graph.region import Region, Seen, Settled, settle
from services.identity.graph.resting import review, stirred
from services.identity.graph.rules import Rules

Value = TypeVar("Value")
Decided = tuple[str, Pair]


@dataclass
class Store:
    """As the tables are: rows of identifiers and of sightings, each with its component."""

    rules: Rules
    whole: Region = field(default_factory=Region)
    unsettled: set[Node] = field(default_factory=set)
    ids: "count[int]" = field(default_factory=lambda: count(1))
    loaded: set[Node] = field(default_factory=set)
    largest: int = 0
    queue: dict[bytes, Question] = field(default_factory=dict)  # the open questions
    resting: dict[bytes, Question] = field(default_factory=dict)  # those that expired
    ended: dict[bytes, Evidence] = field(default_factory=dict)  # questions that were withdrawn, by what
    moved: set[Node] = field(default_factory=set)  # by what was decided last, besides the two
    reviewed: set[bytes] = field(default_factory=set)  # of these, those that were at hand last

    def new_id(self) -> bytes:
        return next(self.ids).to_bytes(16)

    def take(self, seen: list[Seen]) -> list[Conclusion]:
        met = {one: self._stirred(one.resolving) for one in seen}
        news = [one for one in seen if met[one] or not self._known(one)]
        settled = self._settle(self.load({node for one in news for node in one.nodes}, news), news, [one.resolving for one in seen])
        if left := self.resting.keys() & {found for ids in met.values() for found in ids} - self.reviewed:
            linked = {node.value_hash: node for node in self.whole.known.links}
            self.unsettled |= {linked[end] for found in left for end in self.resting.pop(found).ends if end in linked}
            self._settle(self.load(set()), [])
        return settled

    def _stirred(self, resolving: Node) -> list[bytes]:
        """As `tables.resting`."""
        known = self.whole.known
        customer = known.links.get(resolving) or known.own.get(resolving)
        return stirred(self.resting, known, [customer]) if customer else []

    def expire(self, ids: Collection[bytes]) -> None:
        """As `reviewing.Expiry`, with what is settled behind it."""
        for found in ids:
            self.resting[found] = self.queue.pop(found)
        linked = {node.value_hash: node for node in self.whole.known.links}
        self.unsettled |= {linked[end] for found in ids for end in self.resting[found].ends if end in linked}
        self._settle(self.load(set()), [])

    def _known(self, seen: Seen) -> bool:
        """As `regions.known`."""
        evidence = self.whole.facts.together.get(frozenset(seen.nodes))
        return seen.resolving in self.whole.resolving and evidence is not None and evidence <= seen.evidence

    def decide(self, act: Act, one: Node, other: Node, *, move_others: bool = True) -> Decided | None:
        """As `deciding`, of two that are linked to customers; None when it is refused."""
        region = self.load({one, other})
        if one not in region.known.links or other not in region.known.links:
            return None
        together = are_one(region, one, other)
        if together is not (act == "split"):
            return None
        cut = (to_merge if act == "merge" else stand_for)(region, self.rules, one, other)
        kind, decided = ("forced" if act == "merge" else "forbidden"), pair(*cut)
        if decided in getattr(region.facts, kind):
            return None
        getattr(region.facts, kind).add(decided)
        if act == "merge" and forbidding(region, self.rules, cut):
            return None
        self.moved = moved(region, self.rules, cut) if act == "merge" else set()
        if self.moved and not move_others:
            return None
        getattr(self.whole.facts, kind).add(decided)
        self._settle(region, [])
        return kind, decided

    def withdraw(self, kind: str, decided: Pair) -> None:
        getattr(self.whole.facts, kind).discard(decided)
        self._settle(self.load(set(decided)), [], otherwise=evidence_of(decided))

    def take_decision(self, kind: str, decided: Pair) -> None:
        """It stands whatever was seen by then."""
        getattr(self.whole.facts, kind).add(decided)
        self._settle(self.load(set(decided)), [], otherwise=evidence_of(decided))

    def _settle(
        self, region: Region, seen: list[Seen], here: Collection[Node] = (), otherwise: Evidence = NOBODY
    ) -> list[Conclusion]:
        settled = settle(region, seen, self.rules, self.new_id)
        self.largest = max(self.largest, len(region.facts.together))
        self._review(region, settled, [region.known.own[node] for node in here if node in region.known.own], otherwise)
        self.save(region)
        return settled.conclusions

    def _review(self, region: Region, settled: Settled, seen: Collection[bytes], otherwise: Evidence) -> None:
        """As `drafting`, of those questions of which both customers are at hand; `seen` are customers."""
        here = region.known.founding_numbers.keys()
        mine = {found: one for found, one in self.queue.items() if {one.one, one.other} <= here}
        linked = {node.value_hash for node in region.known.links}
        resting = {found: one for found, one in self.resting.items() if linked >= {*one.ends}}
        self.reviewed = set(resting)
        for found in stirred(resting, region.known, seen):
            del resting[found], self.resting[found]
        revision = review(mine, resting, region.known, settled.partition, self.rules)
        self.queue |= revision.amended | {self.new_id(): question for question in revision.new}
        why = Causes(region, settled, self.rules, {}, {}, otherwise)
        here_by_hash = {node.value_hash: node for node in region.known.links}
        for found in revision.withdrawn:
            gone = self.queue.pop(found)
            self.ended[found] = why.closing([here_by_hash[end] for end in gone.ends if end in here_by_hash])

    def match(self, changed: Mapping[Pair, Match | None], recorded_by: Mapping[Node, frozenset[str]]) -> list[Conclusion]:
        """As the follower of records: pairs that match now, or do so no longer, are settled without any event."""
        region = self.load({node for found in changed for node in found} | recorded_by.keys())
        for found, match in changed.items():
            self.whole.facts.matched.pop(found, None)
            region.facts.matched.pop(found, None)
            if match is not None:
                self.whole.facts.matched[found] = region.facts.matched[found] = match
        self.whole.facts.recorded_by |= recorded_by
        region.facts.recorded_by |= recorded_by
        return self._settle(region, [])

    def load(
        self, touched: set[Node], news: Sequence[Seen] = (), rules: Rules | None = None, drawn: frozenset[Node] = frozenset()
    ) -> Region:
        """Of `news`, what was seen too often before isn't touched, and what is shared by later ones only is looked at again."""
        whole, region, again = self.whole, Region(), Facts()
        borders = whole.contested - whole.component_of.keys()
        for one in news:
            again.see(one.nodes, one.evidence)
        first = {node: min(at for nodes, at in again.together.items() if node in nodes) for node in again.nodes()}
        told = {node: at < first[node] for node, at in whole.told_by.items() if node in first}
        late = {node for node in whole.shared if told.get(node) is False}
        founding = {one.resolving for one in news} - whole.resolving
        touched = touched - {node for node in told.keys() - whole.shared - founding if told[node]} | self.unsettled | drawn
        around = set()
        for node in self.unsettled | late | (borders & touched):
            mine = self._first(node, rules or self.rules)
            for nodes, at in again.together.items():
                mine.see(nodes, at)
            shared, region.recounted[node] = told_by(node, mine, rules or self.rules)
            if node in whole.shared and not shared:
                region.reconsidered.add(node)
            if not shared or node not in whole.shared:
                around |= mine.together.keys() & whole.facts.together.keys()
        near = {node for together in around for node in together}
        near |= {node for found in whole.facts.matched if not found.isdisjoint(region.reconsidered) for node in found}
        touched |= near - borders
        components = {whole.component_of[node] for node in touched if node in whole.component_of}
        inside = {node for node, found in whole.component_of.items() if found in components} | touched
        self.loaded = inside
        for together, evidence in whole.facts.together.items():
            if whole.component_of_sighting.get(together) in components or together in around or together in again.together:
                region.facts.together[together] = evidence
        region.facts.beyond = {node for together in region.facts.together.keys() | again.together.keys() for node in together}
        region.facts.beyond -= inside | whole.shared
        region.borders = borders & region.facts.beyond
        if more := met(region.facts, region.borders, rules or self.rules, len(news), not drawn):
            return self.load(touched, news, rules, drawn | more)
        region.told_by = {node: at for node, at in whole.told_by.items() if node in inside}
        region.facts.forced = {decided for decided in whole.facts.forced if decided <= inside}
        region.facts.forbidden = {decided for decided in whole.facts.forbidden if decided <= inside}
        region.facts.matched = {found: match for found, match in whole.facts.matched.items() if found <= inside}
        region.facts.recorded_by = {node: found for node, found in whole.facts.recorded_by.items() if node in inside}
        region.shared = {node for node in inside | region.facts.nodes() if node in whole.shared}
        region.contested = whole.contested & inside
        region.resolving = whole.resolving & inside
        region.component_of = {node: whole.component_of[node] for node in inside if node in whole.component_of}
        known = whole.known
        region.known = Concluded(
            {node: known.links[node] for node in inside if node in known.links},
            {node: known.own[node] for node in inside if node in known.own},
            {},
            {},
            known.next_founding_number,
        )
        founded = {*region.known.own.values(), *region.known.links.values()}
        region.known.founding_numbers = {customer: known.founding_numbers[customer] for customer in founded}
        region.known.edges = {merge_id: ends for merge_id, ends in known.edges.items() if ends[0] in founded}
        region.known.likely = known.likely & region.known.edges.keys()
        return region

    def save(self, region: Region) -> None:
        whole, known = self.whole, self.whole.known
        inside = self.loaded | region.known.links.keys() | region.component_of.keys()
        _replace(known.links, region.known.links, inside)
        own = {node: region.known.links.get(node, customer) for node, customer in region.known.own.items()}  # in one column
        _replace(known.own, own, inside)
        _replace(whole.component_of, region.component_of, inside)
        _replace(whole.told_by, region.told_by, inside)
        known.founding_numbers |= region.known.founding_numbers
        known.next_founding_number = region.known.next_founding_number
        mine_customers = set(region.known.own.values())
        known.edges = {m: e for m, e in known.edges.items() if mine_customers.isdisjoint(e)} | region.known.edges
        known.likely = (known.likely & known.edges.keys()) - region.known.edges.keys() | region.known.likely
        whole.shared = (whole.shared - inside) | (region.shared & (inside | region.facts.nodes()))
        whole.contested = (whole.contested - inside) | region.contested
        whole.resolving |= region.resolving
        whole.facts.together |= region.facts.together
        for together in region.facts.together:
            whole.component_of_sighting.pop(together, None)
        whole.component_of_sighting |= region.component_of_sighting
        self.unsettled.clear()

    def _first(self, node: Node, rules: Rules) -> Facts:
        """The earliest sightings of it."""
        mine = sorted((at, sorted(nodes)) for nodes, at in self.whole.facts.together.items() if node in nodes)
        return Facts({frozenset(nodes): at for at, nodes in mine[: rules.max_sightings]})

    def forget(self, customers: set[bytes]) -> set[Node]:
        """As an erasure: the identifiers of these are in no fact any more. Returns them."""
        whole = self.whole
        gone = {node for node, customer in (*whole.known.links.items(), *whole.known.own.items()) if customer in customers}
        removed = {together for together in whole.facts.together if not together.isdisjoint(gone)}
        for together in removed:
            evidence, label = whole.facts.together.pop(together), whole.component_of_sighting.pop(together, None)
            if len(left := together - gone) > 1:
                whole.facts.see(left, evidence)
                if label is not None:
                    whole.component_of_sighting.setdefault(left, label)
        for node in gone:
            whole.known.own.pop(node, None)
            whole.known.links.pop(node, None)
            whole.component_of.pop(node, None)
            whole.told_by.pop(node, None)
            whole.shared.discard(node)
            whole.resolving.discard(node)
        whole.known.edges = {m: e for m, e in whole.known.edges.items() if customers.isdisjoint(e)}
        self.queue = {found: one for found, one in self.queue.items() if customers.isdisjoint((one.one, one.other))}
        self.resting = {
            found: one
            for found, one in self.resting.items()
            if customers.isdisjoint((one.one, one.other)) and {node.value_hash for node in gone}.isdisjoint(one.ends)
        }
        undecided = {decided for decided in whole.facts.forced | whole.facts.forbidden if not decided.isdisjoint(gone)}
        whole.facts.forced -= undecided
        whole.facts.forbidden -= undecided
        unmatched = {found for found in whole.facts.matched if not found.isdisjoint(gone)}
        for found in unmatched:
            del whole.facts.matched[found]
        for node in gone:
            whole.facts.recorded_by.pop(node, None)
        self.unsettled |= {node for found in (*removed, *undecided, *unmatched) for node in found} - gone
        return gone

    def leftovers(self, erased: Collection[bytes], told: Collection[bytes]) -> set[bytes]:
        """As `tables.leftovers`; `told` are the customers that a decision is about."""
        canonical, clusters = self.whole.known.canonical(), dict[bytes, set[Node]]()
        for node, customer in self.whole.known.links.items():
            clusters.setdefault(canonical[customer], set()).add(node)
        hers = {node for node, customer in self.whole.known.links.items() if customer in erased}
        theirs = {canonical[customer] for customer in (*erased, *told)}
        theirs |= {root for root, nodes in clusters.items() if any(self._is_somebodys(node, hers) for node in nodes)}
        return {customer for customer, root in canonical.items() if root in clusters.keys() - theirs}

    def _is_somebodys(self, node: Node, hers: set[Node]) -> bool:
        seen = [together for together in self.whole.facts.together if node in together and len(together) > 1]
        return node in self.whole.resolving or not seen or any(hers.isdisjoint(together) for together in seen)

    def members(self, node: Node) -> set[bytes]:
        """The customers that merges join to the one that an identifier is linked to."""
        canonical = self.whole.known.canonical()
        customer = self.whole.known.links.get(node)
        return {other for other, found in canonical.items() if customer is not None and found == canonical[customer]}


def evidence_of(decided: Pair) -> Evidence:
    """Of a decision."""
    return Evidence(0, repr(sorted(decided)).encode())


def _replace(table: dict[Node, Value], mine: Mapping[Node, Value], inside: Collection[Node]) -> None:
    for node in table.keys() & inside - mine.keys():
        del table[node]
    table.update(mine)

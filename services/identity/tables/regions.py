"""Tables of the graph: `identifiers`, `sightings` (what was seen together), `merges`; loaded by region (`region_saving` writes them)."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.identity.domain.decision import Kind
from services.identity.graph.borders import met
from services.identity.graph.facts import Evidence, Node, Pair, pair
from services.identity.graph.questions import Question
from services.identity.graph.region import Region, Seen
from services.identity.graph.rules import Rules
from services.identity.records.likeness import Likeness, RecordPair, best
from services.identity.tables import bounds
from services.identity.tables.asked import asked_of
from services.identity.tables.bounds import Bound, RegionTooLarge
from services.identity.tables.founderless import founderless
from services.identity.tables.record_tables import likenesses_among, matched_with
from services.identity.tables.recounting import Recounted, earliest, first_sightings, recount, told_of

SIGHTING_ID_BYTES = 16


@dataclass(slots=True)
class Loaded:
    """A region, and of what is in it the rows that aren't facts or conclusions."""

    region: Region = field(default_factory=Region)
    versions: dict[bytes, int] = field(default_factory=dict)  # of customers' streams
    stored: dict[bytes, int] = field(default_factory=dict)  # those that are in the table
    canonical_of: dict[bytes, bytes] = field(default_factory=dict)
    link_ids: dict[Node, bytes] = field(default_factory=dict)
    said_in: dict[Node, bytes] = field(default_factory=dict)
    elsewhere: dict[Node, bytes] = field(default_factory=dict)  # customers founded by what isn't in the region
    unsettled: list[bytes] = field(default_factory=list)  # what erasures left
    sources: dict[bytes, str] = field(default_factory=dict)  # of the events at hand, by id
    alone: dict[bytes, int] = field(
        default_factory=dict
    )  # of events at hand that are in no sighting, when what they resolve by was seen
    proposals: dict[bytes, Question] = field(default_factory=dict)  # the open ones, by id
    resting: dict[bytes, Question] = field(default_factory=dict)  # those that expired, by id
    here: set[bytes] = field(default_factory=set)  # with whom the events at hand stand
    forced: dict[Pair, Evidence] = field(default_factory=dict)  # when and by which decision
    forbidden: dict[Pair, Evidence] = field(default_factory=dict)
    likenesses: dict[RecordPair, Likeness] = field(default_factory=dict)  # of which both ends are in the region
    said_anew: dict[Node, Evidence] = field(default_factory=dict)  # whose records say something else, and by which event

    def decide(self, kind: Kind, decided: Pair, evidence: Evidence) -> None:
        facts = self.region.facts
        if kind == "merge":
            facts.forced.add(decided)
            self.forced[decided] = evidence
        else:
            facts.forbidden.add(decided)
            self.forbidden[decided] = evidence

    def undecide(self, kind: Kind, decided: Pair) -> None:
        facts = self.region.facts
        (facts.forced if kind == "merge" else facts.forbidden).discard(decided)
        (self.forced if kind == "merge" else self.forbidden).pop(decided, None)

    def match(self) -> None:
        """The likenesses are facts, by pair of identifiers."""
        self.region.facts.matched = best(self.likenesses.values(), self.nodes())

    def nodes(self) -> dict[bytes, Node]:
        """The identifiers that are linked, by hash."""
        return {node.value_hash: node for node in self.region.known.links}


def sighting_id(hashes: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(sorted(hashes))).digest()[:SIGHTING_ID_BYTES]


async def load(
    pool: Any,
    touched: Collection[bytes],
    next_founding_number: int,
    rules: Rules,
    reconsidered: Collection[bytes] = (),
    again: Sequence[Seen] = (),
    drawn: Collection[bytes] = (),
    bound: Bound | None = None,
) -> Loaded:
    """All that facts about these identifiers, and a page of what erasures left unsettled, can change; all are value hashes.

    What is reconsidered, and what is unsettled, is recounted, as is a shared value of which an earlier sighting comes than those
    that told so. With what is reconsidered goes all that is crowded around it, since rules may have changed. What is seen `again` too late to take part in it stays outside. It may be a fact of shared identifiers alone,
    which is in no component: then it is loaded for its evidence, which may be the earlier. A border is loaded with all around it when it
    is touched, or `drawn` in by what is: so who may be one with whom is touched is there too, and what is asked of them.

    Raises RegionTooLarge when that is more than the bound; of what is unsettled it takes no more than fits.
    """
    loaded = Loaded()
    unsettled = await bounds.unsettled(pool, touched, bound)
    loaded.unsettled = sorted(unsettled)
    asked = unsettled.union(reconsidered, drawn)
    rows, late, elsewhere = _sort_out(await identifiers_of(pool, asked.union(touched)), again, asked)
    counted = unsettled | late | {row["value_hash"] for row in rows if row["value_hash"] in reconsidered and _may_have_more(row)}
    counted |= {row["value_hash"] for row in rows if _is_border(row)}
    recounted = await _look_again(pool, counted, rows, again, rules)
    around = [row for one in recounted.values() for row in one.rows]
    near = {h for row in around for h in row["nodes"]}
    near |= await matched_with(pool, [row["value_hash"] for row in rows if row["recorded_by"] and _links(row, recounted)])
    rows += [row for row in await identifiers_of(pool, near - {row["value_hash"] for row in rows}) if not _is_border(row)]
    components = list({row["component"] for row in rows if row["component"]})
    if bound is not None:
        await bounds.check(pool, components, bound)
    rows += await pool.fetch("SELECT * FROM identifiers WHERE component = ANY($1::bytea[])", components) if components else []
    seen = list(around)
    if ids := {sighting_id(node.value_hash for node in one.nodes) for one in again if len(one.nodes) > 1}:
        seen += await pool.fetch("SELECT * FROM sightings WHERE sighting_id = ANY($1::bytea[])", list(ids))
    seen += await pool.fetch("SELECT * FROM sightings WHERE component = ANY($1::bytea[])", components) if components else []
    inside = {row["value_hash"] for row in rows}
    if bound is not None and not inside.isdisjoint(bound.busy):
        raise RegionTooLarge
    periphery = await identifiers_of(pool, {h for row in seen for h in row["nodes"]} - inside)
    periphery += [row for row in elsewhere if row["value_hash"] not in inside]
    nodes = {row["value_hash"]: _node(row) for row in (*rows, *periphery)}
    take_identifiers(loaded, rows, nodes)
    _take_periphery(loaded, periphery, nodes)
    loaded.region.recounted = {nodes[value_hash]: one.told_by for value_hash, one in recounted.items()}
    back = {nodes[value_hash] for value_hash, one in recounted.items() if not one.shared}
    loaded.region.reconsidered = loaded.region.shared & back
    _take_sightings(loaded, seen, nodes)
    loaded.region.known.next_founding_number = next_founding_number
    if reconsidered and (more := differing(loaded.region) - set(reconsidered)):
        return await load(pool, touched, next_founding_number, rules, more | set(reconsidered), again, drawn, bound)
    if more := {node.value_hash for node in met(loaded.region.facts, loaded.region.borders, rules, len(again), not drawn)}:
        return await load(pool, touched, next_founding_number, rules, reconsidered, again, more.union(drawn), bound)
    left = {row["component"] for row in rows if row["value_hash"] in unsettled} - {None}
    hers = {row["customer"] for row in rows if row["value_hash"] in unsettled or row["component"] in left}
    if unsettled and (more := await asked_of(pool, hers - {None}) - inside):
        return await load(pool, touched, next_founding_number, rules, reconsidered, again, more.union(drawn), bound)
    await _load_decisions(pool, loaded, {row["value_hash"]: nodes[row["value_hash"]] for row in rows})
    await load_customers(pool, loaded)
    if recorded := [row["value_hash"] for row in rows if row["recorded_by"]]:
        loaded.likenesses = await likenesses_among(pool, recorded)
        loaded.match()
    return loaded


async def _look_again(
    pool: Any, counted: Collection[bytes], rows: Sequence[Any], again: Sequence[Seen], rules: Rules
) -> dict[bytes, Recounted]:
    first = await first_sightings(pool, counted, rules)
    wanted = {row["value_hash"]: bool(row["shared"]) for row in rows if row["value_hash"] in counted}
    nodes = {row["value_hash"]: _node(row) for row in rows}
    met = await identifiers_of(pool, {h for row in first for h in row["nodes"]} - nodes.keys())
    return recount(wanted, first, nodes | {row["value_hash"]: _node(row) for row in met}, again, rules)


def differing(region: Region) -> set[bytes]:
    """What may take part in more sightings, or in others, or link again, under other rules."""
    return {node.value_hash for node in region.facts.beyond | (region.told_by.keys() - region.shared)}


def _node(row: Any) -> Node:
    return Node(row["namespace"], row["value_hash"])


def _may_have_more(row: Any) -> bool:
    """More sightings than are in its component."""
    return bool(row["shared"]) or told_of(row) is not None


def _is_border(row: Any) -> bool:
    return row["contested"] and row["component"] is None


def _links(row: Any, recounted: Mapping[bytes, Recounted]) -> bool:
    return row["value_hash"] in recounted and not recounted[row["value_hash"]].shared


def _sort_out(rows: Iterable[Any], again: Sequence[Seen], asked: Collection[bytes]) -> tuple[list[Any], set[bytes], list[Any]]:
    """What these events may change; which of it is shared and has to be looked at again; and what they can't change."""
    first, inside, late, elsewhere = earliest(again), [], set(), []
    founding = {one.resolving.value_hash for one in again if not one.placed}
    for row in rows:
        value_hash, told = row["value_hash"], told_of(row)
        came = first.get(value_hash)
        if told is None or came is None or value_hash in asked:
            inside.append(row)
        elif row["shared"] or came < told or (value_hash in founding and not row["resolving"]):
            inside.append(row)
            late |= {value_hash} if row["shared"] and came < told else set()
        else:
            elsewhere.append(row)
    return inside, late, elsewhere


def outside(rows: Sequence[Any], again: Sequence[Seen]) -> list[Any]:
    """Of rows, those that no component has, or whose component these events say nothing of."""
    inside, _, elsewhere = _sort_out(rows, again, ())
    return [*elsewhere, *(row for row in inside if row["shared"] or _is_border(row))]


def _take_periphery(loaded: Loaded, rows: Iterable[Any], nodes: Mapping[bytes, Node]) -> None:
    for row in rows:
        node = nodes[row["value_hash"]]
        (loaded.region.shared if row["shared"] else loaded.region.facts.beyond).add(node)
        if _is_border(row):
            loaded.region.borders.add(node)
        if row["own"]:
            loaded.elsewhere[node] = row["customer"]


def _take_sightings(loaded: Loaded, rows: Iterable[Any], nodes: Mapping[bytes, Node]) -> None:
    for row in rows:
        together = frozenset(nodes[value_hash] for value_hash in row["nodes"])
        loaded.region.facts.together[together] = Evidence(row["occurred_at"], row["event_id"])
        if row["component"]:
            loaded.region.component_of_sighting[together] = row["component"]


def take_identifiers(loaded: Loaded, rows: Collection[Any], nodes: Mapping[bytes, Node]) -> None:
    take_links(loaded, rows, nodes)
    region = loaded.region
    for row in rows:
        node = nodes[row["value_hash"]]
        if row["shared"]:
            region.shared.add(node)
        if row["contested"]:
            region.contested.add(node)
        if row["component"]:
            region.component_of[node] = row["component"]
        if (told := told_of(row)) is not None:
            region.told_by[node] = told
        if row["recorded_by"]:
            region.facts.recorded_by[node] = frozenset(row["recorded_by"])


def take_links(loaded: Loaded, rows: Iterable[Any], nodes: Mapping[bytes, Node]) -> None:
    """What is concluded of them."""
    region = loaded.region
    for row in rows:
        node = nodes[row["value_hash"]]
        if row["link_id"]:
            region.known.links[node] = row["customer"]
            loaded.link_ids[node] = row["link_id"]
        if row["own"]:
            region.known.own[node] = row["customer"]
        if row["resolving"]:
            region.resolving.add(node)
        if row["said_in"]:
            loaded.said_in[node] = row["said_in"]


async def _load_decisions(pool: Any, loaded: Loaded, inside: Mapping[bytes, Node]) -> None:
    """Those with both ends inside: a forbidden pair says nothing about one of them alone, and a forced one is one component."""
    rows = await pool.fetch(
        """SELECT kind, one, other, decided_at, decision_id FROM decisions
           WHERE withdrawn_at IS NULL AND one = ANY($1::bytea[]) AND other = ANY($1::bytea[])""",
        list(inside),
    )
    for row in rows:
        decided = pair(inside[row["one"]], inside[row["other"]])
        loaded.decide(row["kind"], decided, Evidence(row["decided_at"], row["decision_id"]))


async def load_customers(pool: Any, loaded: Loaded) -> None:
    """As they are now, whatever is there of them from before."""
    known = loaded.region.known
    known.edges, known.likely, loaded.proposals, loaded.resting = {}, set(), {}, {}
    customers = new = {*known.links.values(), *known.own.values()}
    if not customers:
        return
    while new:
        query = "SELECT customer, founding_number, canonical, version FROM customers WHERE customer = ANY($1::bytea[])"
        for row in await pool.fetch(query, list(new)):
            known.founding_numbers[row["customer"]] = row["founding_number"]
            loaded.versions[row["customer"]] = loaded.stored[row["customer"]] = row["version"]
            loaded.canonical_of[row["customer"]] = row["canonical"]
        for row in await pool.fetch("SELECT * FROM merges WHERE customer = ANY($1::bytea[])", list(new)):
            known.edges[row["merge_id"]] = row["customer"], row["other"]
            known.likely |= {row["merge_id"]} if row["likely"] else set()
        named = {*loaded.canonical_of.values(), *(end for ends in known.edges.values() for end in ends)} - customers
        new = await founderless(pool, named) if named else set()
        customers = customers | new
    for row in await pool.fetch(
        """SELECT proposal_id, customer, other, reason, cause, weight, doubts, end_hash, other_end_hash, rests FROM proposals
           WHERE customer = ANY($1::bytea[]) AND other = ANY($1::bytea[]) AND state = 'open'
           UNION ALL SELECT proposal_id, customer, other, reason, cause, weight, doubts, end_hash, other_end_hash, rests FROM proposals
           WHERE end_hash = ANY($2::bytea[]) AND other_end_hash = ANY($2::bytea[]) AND rests""",
        list(customers),
        list(loaded.nodes()),
    ):
        asked_for = Evidence(0, row["cause"]), row["weight"], tuple(row["doubts"]), (row["end_hash"], row["other_end_hash"])
        questions = loaded.resting if row["rests"] else loaded.proposals
        questions[row["proposal_id"]] = Question(row["customer"], row["other"], row["reason"], *asked_for)


async def identifiers_of(pool: Any, hashes: Collection[bytes]) -> list[Any]:
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch(
        "SELECT * FROM unnest($1::bytea[]) AS wanted (value_hash) JOIN identifiers USING (value_hash)", list(hashes)
    )
    return rows

"""The facts around some identifiers, as of one instant and as known at another. Reads only.

Loads outwards from the identifiers and stops at shared values: their owners are counted and not loaded.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple

from services.identity.domain.decision import Kind
from services.identity.graph.facts import Evidence, Facts, Node, Pair, pair
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Rules
from services.identity.graph.standing import Standing, standing_on
from services.identity.records.likeness import RecordPair, best
from services.identity.tables import former_matches, record_rows
from services.identity.tables.former_matches import Matched
from shared.errors import TooLarge
from shared.instants import END_OF_TIME

MOST_PAIRS = 1_000  # of crowded or of shared values: more of those around two are no ordinary traffic
MOST_SIGHTINGS = 10_000  # that a request loads: a person has some hundreds, and what has more is worked on in the database

# What a sighting was known by: $2 known at, $3 as of. Its evidence now is the earliest: what is later than $3 now, always was.
_EVIDENCE = """
    sightings CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT sightings.occurred_at, sightings.event_id, sightings.source, sightings.recorded_at
            UNION ALL
            SELECT former.occurred_at, former.event_id, former.source, former.recorded_at
            FROM superseded_evidence AS former WHERE former.sighting_id = sightings.sighting_id
        ) AS evidence WHERE recorded_at <= $2 ORDER BY occurred_at, event_id LIMIT 1
    ) AS known
"""

# What values ($1) were seen with, in the earliest $4 sightings of each; $5 are blocked.
_BESIDE = f"""
    SELECT wanted.wanted, beside.value_hash, beside.namespace, seen.occurred_at, seen.event_id, seen.source, seen.recorded_at
    FROM unnest($1::bytea[]) AS wanted CROSS JOIN LATERAL (
        SELECT nodes, known.* FROM {_EVIDENCE}
        WHERE nodes @> ARRAY[wanted.wanted] AND sightings.occurred_at <= $3 AND known.occurred_at <= $3
        ORDER BY known.occurred_at, known.event_id LIMIT $4
    ) AS seen CROSS JOIN unnest(seen.nodes) AS other JOIN identifiers AS beside ON beside.value_hash = other
    WHERE beside.value_hash <> wanted.wanted AND beside.value_hash <> ALL ($5::bytea[])
"""  # noqa: S608


class Instants(NamedTuple):
    """as_of: only what had happened by then. known_at: only what our log knew by then. Either alone, or both."""

    as_of: int = END_OF_TIME
    known_at: int = END_OF_TIME


NOW = Instants()


class Told(NamedTuple):
    """Of an event that is evidence: who sent it, and when we knew."""

    source: str
    recorded_at: int


@dataclass(slots=True)
class Recalled:
    """Whole components, and the shared values around them. `told` is by event id; `crowded` are hashes (`graph/crowding`)."""

    facts: Facts = field(default_factory=Facts)
    shared: set[Node] = field(default_factory=set)
    crowded: set[bytes] = field(default_factory=set)
    nodes: dict[bytes, Node] = field(default_factory=dict)
    told: dict[bytes, Told] = field(default_factory=dict)
    decisions: dict[tuple[Kind, Pair], bytes] = field(default_factory=dict)  # ids, by what they force or forbid
    matches: dict[RecordPair, Matched] = field(default_factory=dict)

    def shared_hashes(self) -> set[bytes]:
        return {node.value_hash for node in self.shared}

    def standing(self, rules: Rules) -> Standing:
        return standing_on(self.facts, rules, self.shared)

    def vetoes(self, partition: Partition, one: Node, other: Node) -> list[str]:
        """What their records differ in that no weight overrules, of two groups whose records are alike."""
        ours, theirs = ({node.value_hash for node in partition.group_of[end].nodes} for end in (one, other))
        across = [
            m.like for m in self.matches.values() if {m.like.one, m.like.other} & ours and {m.like.one, m.like.other} & theirs
        ]
        return sorted({like.veto for like in across if like.veto is not None})


async def recall(
    pool: Any, hashes: Collection[bytes], rules: Rules, instants: Instants = NOW, former: bool = False, between: bool = True
) -> Recalled:
    """`former`: these aren't the rules in force. `between`: also what shared and crowded values were seen in that joins nobody.

    Raises TooLarge (TOO_MANY_SIGHTINGS).
    """
    recalled, inside, entering = Recalled(), set[bytes](), set(hashes)
    matches: dict[RecordPair, Matched] = {}
    await _meet(pool, recalled, entering, rules, instants, former)
    while entering:
        inside |= entering
        rows = await _sightings_of(pool, entering - recalled.shared_hashes() - recalled.crowded, instants)
        rows += await _first_of(pool, (entering & recalled.crowded) - recalled.shared_hashes(), rules, instants)
        forced = await _decisions(pool, "(one = ANY($1) OR other = ANY($1)) AND kind = 'merge'", entering, instants)
        ends = {end for row in forced for end in row["ends"]}
        matches |= await _matches_near(pool, entering - recalled.shared_hashes(), instants)
        matched = {end for one in matches.values() for end in (one.like.one, one.like.other)}
        met = ({value_hash for row in rows for value_hash in row["nodes"]} | ends | matched) - recalled.nodes.keys()
        await _meet(pool, recalled, met, rules, instants, former)
        _take(recalled, rows)
        entering = ((met - recalled.shared_hashes()) | ends) - inside
    if between:
        beyond, outside = (inside & recalled.crowded) - recalled.shared_hashes(), inside & recalled.shared_hashes()
        asked = [tuple(hashes)] if len(hashes) == 2 and not (beyond | outside).isdisjoint(hashes) else []
        await _take_pairs(pool, recalled, [*asked, *combinations(sorted(outside), 2)], "ASC", rules, instants, former)
        await _take_pairs(pool, recalled, list(combinations(sorted(beyond), 2)), "DESC", rules, instants, former)
        between_shared = await _matches_near(pool, outside, instants) if len(outside) > 1 else {}
        matches |= {ids: one for ids, one in between_shared.items() if inside >= {one.like.one, one.like.other}}
    recalled.matches = {ids: one for ids, one in matches.items() if recalled.nodes.keys() >= {one.like.one, one.like.other}}
    recalled.facts.matched = best((one.like for one in recalled.matches.values()), recalled.nodes)
    if recalled.matches:
        recorded_by = await record_rows.recorded_by(pool, inside, instants.known_at)
        recalled.facts.recorded_by |= {recalled.nodes[value_hash]: sources for value_hash, sources in recorded_by.items()}
    for row in await _decisions(pool, "one = ANY($1) AND other = ANY($1)", inside, instants):
        _take_decision(recalled, row)
    return recalled


async def _sightings_of(pool: Any, hashes: Collection[bytes], instants: Instants) -> list[Any]:
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch(
        f"""SELECT nodes, known.* FROM {_EVIDENCE}
            WHERE nodes && $1::bytea[] AND sightings.occurred_at <= $3 AND known.occurred_at <= $3 LIMIT $4""",  # noqa: S608
        list(hashes),
        instants.known_at,
        instants.as_of,
        MOST_SIGHTINGS + 1,
    )
    return rows


async def _first_of(pool: Any, hashes: Collection[bytes], rules: Rules, instants: Instants) -> list[Any]:
    """The earliest sightings of each, in which they take part."""
    if not hashes:
        return []
    rows: list[Any] = await pool.fetch(
        f"""SELECT seen.* FROM unnest($1::bytea[]) AS wanted (value_hash) CROSS JOIN LATERAL (
                SELECT nodes, known.* FROM {_EVIDENCE}
                WHERE nodes @> ARRAY[wanted.value_hash] AND sightings.occurred_at <= $3 AND known.occurred_at <= $3
                ORDER BY known.occurred_at, known.event_id LIMIT $4
            ) AS seen""",  # noqa: S608
        list(hashes),
        instants.known_at,
        instants.as_of,
        rules.max_sightings,
    )
    return rows


async def _matches_near(pool: Any, hashes: Collection[bytes], instants: Instants) -> dict[RecordPair, Matched]:
    return await former_matches.near(pool, hashes, instants.known_at, instants.as_of) if hashes else {}


async def _decisions(pool: Any, which: str, hashes: Collection[bytes], instants: Instants) -> list[Any]:
    """Those in force as it was known. That two are one or two was always so, whenever it was decided."""
    query = f"""SELECT decision_id, kind, ARRAY[one, other] AS ends FROM decisions
                WHERE {which} AND decided_at <= $2 AND (withdrawn_at IS NULL OR withdrawn_at > $2)"""  # noqa: S608
    return list(await pool.fetch(query, list(hashes), instants.known_at))


def _take_decision(recalled: Recalled, row: Any) -> None:
    if not recalled.nodes.keys() >= set(row["ends"]):
        return
    decided = pair(*(recalled.nodes[end] for end in row["ends"]))
    (recalled.facts.forced if row["kind"] == "merge" else recalled.facts.forbidden).add(decided)
    recalled.decisions[row["kind"], decided] = row["decision_id"]


async def _take_pairs(
    pool: Any,
    recalled: Recalled,
    pairs: Sequence[tuple[bytes, ...]],
    order: Literal["ASC", "DESC"],
    rules: Rules,
    instants: Instants,
    former: bool,
) -> None:
    """The earliest or the latest sighting of two values that says what keeps them apart, and that no component has: of shared ones, and
    of crowded ones, of which neither takes part in the latest if there is any such.
    """
    pairs = pairs[:MOST_PAIRS]
    if not pairs:
        return
    rows = await pool.fetch(
        f"""SELECT seen.* FROM unnest($1::bytea[], $4::bytea[]) AS pair (one, other) CROSS JOIN LATERAL (
                SELECT nodes, known.* FROM {_EVIDENCE}
                WHERE nodes @> ARRAY[pair.one, pair.other] AND sightings.occurred_at <= $3 AND known.occurred_at <= $3
                ORDER BY known.occurred_at {order}, known.event_id {order} LIMIT 1
            ) AS seen""",  # noqa: S608
        [one for one, _ in pairs],
        instants.known_at,
        instants.as_of,
        [other for _, other in pairs],
    )
    await _meet(pool, recalled, {h for row in rows for h in row["nodes"]} - recalled.nodes.keys(), rules, instants, former)
    _take(recalled, rows)


async def _meet(pool: Any, recalled: Recalled, hashes: Collection[bytes], rules: Rules, instants: Instants, former: bool) -> None:
    """Learns what these are, and which of them were shared.

    By the rules in force, what is neither shared nor crowded now never was: the facts of a past instant are some of today's.
    """
    if not hashes:
        return
    rows = await pool.fetch(
        "SELECT value_hash, namespace, shared, told_at FROM identifiers WHERE value_hash = ANY($1::bytea[])", list(hashes)
    )
    told = {row["value_hash"] for row in rows if row["told_at"] is not None}
    recalled.nodes |= {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows}
    past = former or instants != NOW
    shared = {recalled.nodes[row["value_hash"]] for row in rows if row["shared"] or former or (past and row["value_hash"] in told)}
    if shared and past:
        counted = await owners(pool, {node.value_hash for node in shared}, rules, recalled.nodes, instants)
        shared = {
            node
            for node in shared
            if node.value_hash in rules.blocked or rules.is_shared(node.namespace, list(counted[node.value_hash].items()))
        }
    recalled.shared |= shared
    recalled.crowded |= told


def _take(recalled: Recalled, rows: Collection[Any]) -> None:
    for row in rows:
        together = frozenset(recalled.nodes[value_hash] for value_hash in row["nodes"] if value_hash in recalled.nodes)
        recalled.facts.together[together] = Evidence(row["occurred_at"], row["event_id"])
        recalled.told[row["event_id"]] = Told(row["source"], row["recorded_at"])
    if len(recalled.facts.together) > MOST_SIGHTINGS:
        raise TooLarge(
            f"more than {MOST_SIGHTINGS} sightings hang together here: too many to explain",
            reason="TOO_MANY_SIGHTINGS",
            limit=MOST_SIGHTINGS,
        )


async def owners(
    pool: Any, hashes: Collection[bytes], rules: Rules, nodes: dict[bytes, Node], instants: Instants = NOW
) -> dict[bytes, dict[str, int]]:
    """{value hash: {stronger namespace: how many of its values it was seen with}}, in the sightings that it takes part in."""
    counted: dict[bytes, dict[str, int]] = {value_hash: {} for value_hash in hashes}
    query = f"SELECT wanted, namespace, count(DISTINCT value_hash) AS owners FROM ({_BESIDE}) AS beside GROUP BY 1, 2"  # noqa: S608
    for row in await pool.fetch(query, *_beside(hashes, rules, instants)):
        if rules.rank(row["namespace"]) < rules.rank(nodes[row["wanted"]].namespace):
            counted[row["wanted"]][row["namespace"]] = row["owners"]
    return counted


async def seen_with(pool: Any, hashes: Collection[bytes], rules: Rules, instants: Instants = NOW) -> list[Any]:
    """What these were seen with in the sightings that they take part in, each by its earliest event; nothing that is blocked."""
    query = (
        f"SELECT DISTINCT ON (wanted, value_hash) * FROM ({_BESIDE}) AS beside ORDER BY wanted, value_hash, occurred_at, event_id"  # noqa: S608
    )
    return list(await pool.fetch(query, *_beside(hashes, rules, instants)))


def _beside(hashes: Collection[bytes], rules: Rules, instants: Instants) -> tuple[Any, ...]:
    return list(hashes), instants.known_at, instants.as_of, rules.max_sightings, list(rules.blocked)


async def resolved_by(pool: Any, node: Node, rules: Rules, instants: Instants = NOW) -> bool:
    """Whether this was the strongest identifier of an event that saw others too. Of two of one namespace either counts."""
    place, listed = rules.rank(node.namespace)
    found = await pool.fetchval(
        f"""SELECT EXISTS (
                SELECT FROM {_EVIDENCE}
                WHERE nodes @> ARRAY[$1::bytea] AND sightings.occurred_at <= $3 AND known.occurred_at <= $3 AND NOT EXISTS (
                    SELECT FROM identifiers AS other
                    WHERE other.value_hash = ANY(nodes) AND other.value_hash <> ALL($4::bytea[])
                      AND coalesce(2 * array_position($5::text[], other.namespace) - 1, 2 * $6::int4) < $7::int4
                )
            )""",  # noqa: S608
        node.value_hash,
        instants.known_at,
        instants.as_of,
        list(rules.blocked),
        [namespace.name for namespace in rules.namespaces],
        rules.others_rank,
        2 * place + listed,  # as `Rules.rank`, in one number
    )
    return bool(found)

"""What an explanation rests on: who owns a value that links nobody and by which events, since when the rules block it, and
who decided what was decided by hand. All as of the instants that are asked, each loaded in one batch. Reads only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.identity import recall
from services.identity.domain.decision import Decision, Kind
from services.identity.graph.explain import Explained
from services.identity.graph.facts import Evidence, Node, Pair, pair
from services.identity.graph.resolve import Link
from services.identity.graph.rules import Rules
from services.identity.graph.standing import Obstacle
from services.identity.recall import Instants, Recalled, Told
from services.identity.tables import decisions, rulebook
from services.identity.tables.rulebook import Activation
from shared.log import LogReader

MOST_OWNERS = 20  # of a value that are told one by one; all of them are counted


class Owner(NamedTuple):
    """Who owns a value, and the earliest event that saw the two together."""

    node: Node
    evidence: Evidence
    told: Told


class Owned(NamedTuple):
    """`counts`, by namespace, are of all owners; `earliest` are those of the strongest namespaces, at most MOST_OWNERS."""

    counts: dict[str, int]
    earliest: list[Owner]


@dataclass(slots=True)
class Grounded:
    """`owned` and `blocked_since` are by value hash; `decided` by what it forces or forbids."""

    owned: dict[bytes, Owned] = field(default_factory=dict)
    blocked_since: dict[bytes, Activation] = field(default_factory=dict)
    decided: dict[tuple[Kind, Pair], Decision] = field(default_factory=dict)


async def ground(connection: Any, explained: Explained, recalled: Recalled, rules: Rules, instants: Instants) -> Grounded:
    found = Grounded(decided=await _decided(connection, explained, recalled))
    values = {kind: _values(explained.obstacles, kind) for kind in ("SHARED", "CONTESTED", "BLOCKED")}
    if values["SHARED"] or values["CONTESTED"]:
        found.owned = await _owned(connection, values["SHARED"], values["CONTESTED"], recalled, rules, instants)
    if values["BLOCKED"]:
        versions = await rulebook.history(LogReader(connection), instants.known_at)
        since = {value_hash: rulebook.blocked_since(versions, value_hash, rules.version) for value_hash in values["BLOCKED"]}
        found.blocked_since = {value_hash: version for value_hash, version in since.items() if version is not None}
    return found


def by_hand(link: Link) -> bool:
    return link.evidence is None and link.weight is None


async def _decided(connection: Any, explained: Explained, recalled: Recalled) -> dict[tuple[Kind, Pair], Decision]:
    links = [*explained.links, *(one.link for one in explained.obstacles if one.link is not None)]
    asked: set[tuple[Kind, Pair]] = {("merge", pair(link.strong, link.weak)) for link in links if by_hand(link)}
    asked |= {("forbid", pair(*one.nodes)) for one in explained.obstacles if one.kind == "FORBIDDEN"}
    if not asked:
        return {}
    found = await decisions.of_ids(connection, [recalled.decisions[one] for one in asked])
    return {one: found[recalled.decisions[one]] for one in asked}


def _values(obstacles: Iterable[Obstacle], kind: str) -> dict[bytes, Node]:
    return {node.value_hash: node for one in obstacles if one.kind == kind for node in one.nodes}


async def _owned(
    connection: Any,
    shared: Mapping[bytes, Node],
    contested: Mapping[bytes, Node],
    recalled: Recalled,
    rules: Rules,
    instants: Instants,
) -> dict[bytes, Owned]:
    """Owners of a shared value are of a stronger namespace. Whose a contested one is tell those that its rule names, and the devices
    that an address was seen with: they may lead to a person.
    """
    values = {**shared, **contested}
    beside = await recall.seen_with(connection, values, rules, instants)
    owners: dict[bytes, list[Owner]] = {value_hash: [] for value_hash in values}
    for row in beside:
        value, node = values[row["wanted"]], Node(row["namespace"], row["value_hash"])
        if _owns(node, value, rules) if row["wanted"] in shared else node not in recalled.shared and _tells(node, value, rules):
            told = Told(row["source"], row["recorded_at"])
            owners[row["wanted"]].append(Owner(node, Evidence(row["occurred_at"], row["event_id"]), told))
    for found in owners.values():
        found.sort(key=lambda owner: (rules.rank(owner.node.namespace), owner.evidence, owner.node))
    return {
        value_hash: Owned(dict(Counter(owner.node.namespace for owner in found)), found[:MOST_OWNERS])
        for value_hash, found in owners.items()
    }


def _owns(node: Node, value: Node, rules: Rules) -> bool:
    return rules.rank(node.namespace) < rules.rank(value.namespace)


def _tells(node: Node, value: Node, rules: Rules) -> bool:
    rule = rules.of(value.namespace)
    return node.namespace in rule.owned_by or (rules.of(node.namespace).device and not rule.device)

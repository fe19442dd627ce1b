"""What people decide by hand: that two customers are one, or never are. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Literal, NamedTuple

import msgspec

from services.identity.domain.erasure import MAX_NAME, check_request
from services.identity.graph.facts import Facts, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.region import Region
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Rules
from shared.errors import InvalidInput
from shared.events.catalogue import encode
from shared.ids import derived_id

Kind = Literal["merge", "forbid"]
Act = Literal["merge", "split", "forbid"]


class Party(msgspec.Struct, frozen=True):
    """A customer by any of its ids, or by an identifier's hash."""

    customer: bytes = b""
    value_hash: bytes = b""


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """Raises InvalidInput (REQUEST_ID_MISSING, REQUEST_ID_INVALID, REASON_INVALID, NAME_INVALID)."""

    request_id: str
    act: Act
    one: Party
    other: Party
    decided_by: str
    reason: str
    proposal_id: bytes | None = None
    move_others: bool = False  # also if others than the two change for it

    def __post_init__(self) -> None:
        check_who_and_why(self.request_id, self.reason, self.decided_by)

    @property
    def kind(self) -> Kind:
        return kind_of(self.act)

    def digest(self) -> bytes:
        """By which the same request is known again."""
        return derived_id(b"decide", encode(self))


def kind_of(act: Act) -> Kind:
    return "merge" if act == "merge" else "forbid"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """`one` and `other` are hashes of the identifiers that are one or two; the customers are those whose streams tell of it."""

    decision_id: bytes
    request_id: str
    asked: bytes
    kind: Kind
    one: bytes
    other: bytes
    customer: bytes
    other_customer: bytes
    decided_by: str
    reason: str
    decided_at: int
    proposal_id: bytes | None = None
    withdraw_request_id: str | None = None
    withdrawn_by: str | None = None
    withdrawn_reason: str | None = None
    withdrawn_at: int | None = None

    @property
    def ends(self) -> tuple[bytes, bytes]:
        return self.one, self.other

    def told_to(self) -> list[tuple[bytes, bytes]]:
        """(stream, the other customer); one when both identifiers were the same customer's."""
        both = [(self.customer, self.other_customer), (self.other_customer, self.customer)]
        return both[:1] if self.customer == self.other_customer else both


# Canonical ids: of a customer before, of those that have now what was moved from it; by what others than the two are told of.
Moved = dict[bytes, list[bytes]]


class Made(NamedTuple):
    decision: Decision
    unit: int  # that hands over what follows
    moved: Moved  # by the call that made it, not by one that repeats it


MOST_CUTS = 20  # that are tried before a merge is made by the usual one: each of them resolves the region anew


class Cut(NamedTuple):
    """The identifiers that a decision is about."""

    one: Node
    other: Node


def check_who_and_why(request_id: str, reason: str, name: str) -> None:
    check_request(request_id, reason, name)
    if not name:
        raise InvalidInput(f"say who decides, in 1 to {MAX_NAME} printable characters", reason="NAME_INVALID")


def stand_for(region: Region, rules: Rules, one: Node, other: Node) -> Cut:
    """For a customer stands the strongest identifier of what evidence joins, so that all of it goes along.

    Where evidence joins the two, the decision is about those that were named.
    """
    return _strongest(divide(region.facts, rules, region.shared), rules, one, other)


def to_merge(region: Region, rules: Rules, one: Node, other: Node) -> Cut:
    """As `stand_for`, if by that the two are one with all that either has, and nobody else changes.

    Where people joined somebody known to another identifier of what evidence joins, or where a limit weighs what was seen within a while, a merge by
    the strongest one would tear that apart: then it is about the first of these that changes nobody else, or by which at least nobody falls out.
    """
    before = divide(region.facts, rules, region.shared)
    usual = _strongest(before, rules, one, other)
    both, whole = _group(before, one) | _group(before, other), None
    for cut in islice(_cuts(before, region.facts, rules, usual, Cut(one, other)), MOST_CUTS):
        after = divide(replace(region.facts, forced=region.facts.forced | {pair(*cut)}), rules, region.shared)
        if not _moved(before, after, cut):
            return cut
        if whole is None and both <= _group(after, cut.one):
            whole = cut
    return whole or usual


def moved(region: Region, rules: Rules, cut: Cut) -> set[Node]:
    """Whom a merge moves besides making one of the two: identifiers of others that it joins or parts, and what falls out of the two.

    Of values that were contested and nobody's, those are left out that come to the two: that they are one settles whose they are.
    """
    facts = region.facts
    before = divide(replace(facts, forced=facts.forced - {pair(*cut)}), rules, region.shared)
    after = divide(replace(facts, forced=facts.forced | {pair(*cut)}), rules, region.shared)
    return _moved(before, after, cut)


def _moved(before: Partition, after: Partition, cut: Cut) -> set[Node]:
    others, both = before.groups(), _group(before, cut.one) | _group(before, cut.other)
    settled = {node for node in before.contested - after.contested if _group(before, node) == {node}}
    found = set[Node]()
    for group in after.groups():
        if both <= group:
            found |= group - both - settled
        elif group not in others or not group.isdisjoint(both):
            found |= group
    return found


def _group(partition: Partition, node: Node) -> set[Node]:
    return partition.group_of[node].nodes if node in partition.group_of else {node}


def _strongest(partition: Partition, rules: Rules, one: Node, other: Node) -> Cut:
    part_of = partition.part_of
    strongest = [by_strength(part_of[node].nodes, rules)[0] if node in part_of else node for node in (one, other)]
    return Cut(one, other) if strongest[0] == strongest[1] else Cut(*strongest)


def by_strength(nodes: Iterable[Node], rules: Rules) -> list[Node]:
    return sorted(nodes, key=lambda node: (rules.rank(node.namespace), node))


def _cuts(partition: Partition, facts: Facts, rules: Rules, usual: Cut, named: Cut) -> Iterator[Cut]:
    """Either by its strongest, by those of it that people decided about, as it was named, or by the strongest of all that is one with it."""
    decided, sides = set[Node]().union(*facts.forced), []
    for strongest, node in zip(usual, named, strict=True):
        sides.append([strongest])
        if node in partition.part_of:
            by_hand = by_strength(decided & partition.part_of[node].nodes, rules)
            known = by_strength(partition.group_of[node].nodes, rules)[0]
            sides[-1] = list(dict.fromkeys((strongest, *by_hand, node, known)))
    return (Cut(one, other) for one, other in product(*sides) if one != other)


def are_one(region: Region, one: Node, other: Node) -> bool:
    canonical = region.known.canonical()
    return canonical[region.known.links[one]] == canonical[region.known.links[other]]


def forbidding(region: Region, rules: Rules, cut: Cut) -> Sequence[frozenset[Node]]:
    """The pairs that keep apart what the facts of a region, with a new decision, say is one; none when it is one.

    First those between the two as they are without it: else it might be, and throw somebody else out of one of them.
    """
    before = replace(region.facts, forced=region.facts.forced - {pair(*cut)})
    if across := _across(before, region, rules, cut):
        return across
    found = divide(region.facts, rules, region.shared).group_of
    if found[cut.one] is found[cut.other]:
        return ()
    return _across(region.facts, region, rules, cut) or [pair(*cut)]


def _across(facts: Facts, region: Region, rules: Rules, cut: Cut) -> list[frozenset[Node]]:
    found = divide(facts, rules, region.shared).group_of
    one, other = (found[node].nodes if node in found else {node} for node in cut)
    return sorted((kept for kept in facts.forbidden if not kept.isdisjoint(one) and not kept.isdisjoint(other)), key=sorted)

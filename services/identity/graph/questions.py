"""What people are asked: are these two one person? A function of facts and of who is who, in whatever order they came. Pure.

Two customers are asked about once, with the strongest of all that speaks for them. What is asked of two can only change with who they are, or
with a value that they were seen with; so whoever loads them and such values (`borders.met`) can tell every question about them.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from services.identity.graph.conclude import Concluded
from services.identity.graph.crowding import taking_part
from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.resolve import Group, Link, Partition, Rejected, kept_apart
from services.identity.graph.rules import Rules, breaks_limit

REASONS = (
    "TWO_KNOWN_PEOPLE",
    "LIMIT_REACHED",
    "CLUSTER_TOO_LARGE",
    "LOW_CERTAINTY",
)  # strongest first: what was seen, then what is alike


Parts = frozenset[int]  # ids of two parts of a partition, each of what evidence joins


class Question(NamedTuple):
    """`one` and `other` are customers; `weight` is of a match, in bits, and `doubts` are why that isn't certain.

    `ends` are value hashes of which of their identifiers the evidence speaks, in that order: with them evidence joins more or less, as it is known by then.
    """

    one: bytes
    other: bytes
    reason: str
    evidence: Evidence
    weight: float | None = None
    doubts: tuple[str, ...] = ()
    ends: tuple[bytes, bytes] = (b"", b"")

    def says(self) -> tuple[object, ...]:
        """What it is asked for."""
        return self.reason, self.evidence.event_id, self.weight, self.doubts, frozenset(self.ends)


class Revision(NamedTuple):
    """What becomes of the questions that are open, by id; `amended` ones are asked for something else now."""

    withdrawn: list[bytes]
    amended: dict[bytes, Question]
    new: list[Question]


def questions(
    known: Concluded, partition: Partition, rules: Rules, quiet: Collection[Parts] = ()
) -> dict[frozenset[bytes], Question]:
    """By the two customers that answer for them; none while one of the two is nobody's, nor of what is `quiet`."""
    canonical, found = known.canonical(), dict[frozenset[bytes], Question]()
    asked = [one for one in partition.rejected if is_question(one, partition, rules)]
    for rejected in sorted(asked, key=lambda one: _strength(one, rules)):
        link = rejected.link
        parts = frozenset(id(partition.part_of[end]) for end in (link.strong, link.weak)) if quiet else frozenset()
        if link.strong in known.links and link.weak in known.links and link.evidence is not None and parts not in quiet:
            (one, mine), (other, its) = sorted((known.links[end], end.value_hash) for end in (link.strong, link.weak))
            if canonical[one] != canonical[other]:
                why = _reason(rejected, rules), link.evidence, link.weight, rejected.doubts
                question = Question(one, other, *why, (mine, its))
                found.setdefault(frozenset((canonical[one], canonical[other])), question)
    return found


def revise(
    open_now: Mapping[bytes, Question],
    asked: Mapping[frozenset[bytes], Question],
    known: Concluded,
    partition: Partition,
    spoken_for: Collection[frozenset[bytes]] = (),
) -> Revision:
    """Of two customers the oldest question stays open; what nothing speaks for any more is withdrawn.

    Of those that are `spoken_for` and of whom nobody is asked anew what is open stays as it is.

    Withdrawn is also one about others of what people joined than the strongest speaks for: who accepted it would join those two, whom nobody showed to them.
    """
    canonical, answered, revision = known.canonical(), set[frozenset[bytes]](), Revision([], {}, [])
    part_of = {node.value_hash: id(part) for node, part in partition.part_of.items()} if open_now else {}
    for question_id, question in sorted(open_now.items()):
        two = frozenset((canonical[question.one], canonical[question.other]))
        if two in spoken_for and two not in asked and two not in answered:
            answered.add(two)
            continue
        parts, now = [[part_of.get(end) for end in one.ends] for one in (question, asked.get(two, question))]
        if two not in asked or two in answered or set(parts) != set(now):
            revision.withdrawn.append(question_id)
            continue
        if question.says() != asked[two].says():
            ends = asked[two].ends if parts == now else asked[two].ends[::-1]
            revision.amended[question_id] = asked[two]._replace(one=question.one, other=question.other, ends=ends)
        answered.add(two)
    revision.new.extend(question for two, question in asked.items() if two not in answered)
    return revision


def is_question(rejected: Rejected, partition: Partition, rules: Rules) -> bool:
    """Whether people are asked if the two are one: not what was answered, by them or by a source that keeps each person once.

    A device that known people share says nothing about them. Of what its own limit or a bound keeps out people are asked.
    """
    link = rejected.link
    if rejected.reason in ("FORBIDDEN", "ONE_PER_SOURCE"):
        return False
    one, other = partition.group_of[link.strong], partition.group_of[link.weak]
    if link.weight is not None or not rules.of(link.weak.namespace).device:
        return True
    both = [name for name in one.values.keys() & other.values.keys() if not rules.of(name).device]
    return not any(breaks_limit(rules.of(name), one.values[name], other.values[name]) for name in both)


def of_contested(facts: Facts, rules: Rules, partition: Partition) -> Iterator[Rejected]:
    """Those whom a contested value was seen with, and whom rules keep apart: told between the people themselves."""
    facts, seen = taking_part(facts, rules), dict[Node, dict[Node, Evidence]]()
    asked = {node for node in partition.contested if not rules.of(node.namespace).device}
    for together, evidence in facts.together.items() if asked else ():
        for node in together & asked:
            mine = seen.setdefault(node, {})
            for owner in together - partition.shared:
                mine[owner] = min(evidence, mine.get(owner, evidence))
    for node, owners in sorted(seen.items()):
        yield from _between(_telling(node, owners, rules, partition), facts, rules, partition)


def unique_owners(name: str, rules: Rules) -> set[str]:
    """The kinds of which everybody has one, at any time, and which are never shared: what two of them own is of two known people."""
    owned_by = (rules.of(owner) for owner in rules.of(name).owned_by if owner != name)
    return {kind.name for kind in owned_by if kind.is_of_one}


def _telling(node: Node, owners: Mapping[Node, Evidence], rules: Rules, partition: Partition) -> list[tuple[Node, Evidence]]:
    """Strongest first, then by when they were seen with it. Of a value of two known people nobody else is asked."""
    unique = unique_owners(node.namespace, rules)
    known = {id(partition.group_of[owner]) for owner in owners if owner.namespace in unique}
    kinds: Collection[str] = unique if len(known) > 1 else set(rules.of(node.namespace).owned_by) - {node.namespace}
    telling = [(owner, evidence) for owner, evidence in owners.items() if owner.namespace in kinds]
    return sorted(telling, key=lambda one: (rules.rank(one[0].namespace), one[1], one[0]))


def _between(owners: list[tuple[Node, Evidence]], facts: Facts, rules: Rules, partition: Partition) -> Iterator[Rejected]:
    """Each two customers who can't be one by the rules, whatever is decided or asked of others: each owner of one, and the first of the other."""
    first: dict[int, Node] = {}
    for owner, evidence in owners:
        group = partition.group_of[owner]
        for node in first.values():
            if (other := partition.group_of[node]) is group:
                continue
            strong, weak = sorted((owner, node), key=lambda one: (rules.rank(one.namespace), one))
            link = Link(strong, weak, evidence)
            if kept_apart(facts, group, other):
                yield Rejected(link, "FORBIDDEN")
            elif (name := _limit(group, other, rules)) is not None:
                yield Rejected(link, "LIMIT", name)
        first.setdefault(id(group), owner)


def _limit(one: Group, other: Group, rules: Rules) -> str | None:
    """The first namespace of which the two together would have too many."""
    both = sorted(one.values.keys() & other.values.keys(), key=lambda name: (rules.rank(name), name))
    return next((name for name in both if breaks_limit(rules.of(name), one.values[name], other.values[name])), None)


def _reason(rejected: Rejected, rules: Rules) -> str:
    if rejected.reason == "LIMIT":
        return "TWO_KNOWN_PEOPLE" if rules.of(rejected.namespace).limit == 1 else "LIMIT_REACHED"
    return rejected.reason


def _strength(rejected: Rejected, rules: Rules) -> tuple[object, ...]:
    """Of matches that weigh the same not the evidence decides: what comes late and says the same changes it."""
    link, why = rejected.link, REASONS.index(_reason(rejected, rules))
    if link.weight is None:
        return why, False, link.evidence, link.strong, link.weak
    return why, True, -link.weight, link.strong, link.weak

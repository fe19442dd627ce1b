"""Questions that nobody answered in time rest until one of the two is seen again, whatever else is settled meanwhile. Pure.

Each rests for the two identifiers that it was asked of, with whatever evidence makes one with them, and wherever decisions put them.
"""

from collections.abc import Collection, Mapping

from services.identity.graph.conclude import Concluded
from services.identity.graph.questions import Parts, Question, Revision, questions, revise
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Rules


def stirred(resting: Mapping[bytes, Question], known: Concluded, seen: Collection[bytes]) -> list[bytes]:
    """Of resting questions, by id, those of whom one is at hand: an event stands with it, or with who is one with it."""
    if not resting:
        return []
    canonical = known.canonical()
    here = {canonical[customer] for customer in seen if customer in canonical}
    theirs = {node.value_hash: canonical[customer] for node, customer in known.links.items()}
    return [found for found, one in sorted(resting.items()) if any(theirs.get(end) in here for end in one.ends)]


def review(
    open_now: Mapping[bytes, Question], resting: Mapping[bytes, Question], known: Concluded, partition: Partition, rules: Rules
) -> Revision:
    """What rests isn't asked anew, by whatever speaks for it; what is open stays open while anything does."""
    asked = questions(known, partition, rules, _quiet(resting, known, partition))
    spoken_for = questions(known, partition, rules) if resting else asked
    return revise(open_now, asked, known, partition, spoken_for.keys())


def _quiet(resting: Mapping[bytes, Question], known: Concluded, partition: Partition) -> set[Parts]:
    """Whom not to ask of: what is nobody's now is asked of nobody."""
    part_of = {node.value_hash: id(partition.part_of[node]) for node in known.links if node in partition.part_of} if resting else {}
    return {frozenset(part_of[end] for end in one.ends) for one in resting.values() if part_of.keys() >= {*one.ends}}

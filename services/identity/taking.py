"""Whether a decision by hand may be taken, by what is loaded of those it is about. Who asks what it would change hears the same."""

from collections.abc import Collection
from typing import Final, NamedTuple

from services.identity.domain.decision import Act, Cut, are_one, forbidding, kind_of, moved, stand_for, to_merge
from services.identity.graph.facts import Evidence, Node, pair
from services.identity.graph.region import Region
from services.identity.graph.rules import Rules
from services.identity.tables.regions import Loaded
from shared.errors import WrongState
from shared.ids import to_text

MOST_NAMED: Final = 20  # customers, in a refusal: an error has to stay small


class Taken(NamedTuple):
    cut: Cut
    moved: set[Node]  # besides the two


def take(act: Act, loaded: Loaded, rules: Rules, one: Node, other: Node, evidence: Evidence, *, move_others: bool = False) -> Taken:
    """Adds a decision to the facts, if what is there allows it; who asks what would happen hears the same refusals.

    A merge that stands without effect is forbidden rather than decided already: what stands against it is named.
    Raises WrongState (NOT_TOGETHER, ALREADY_TOGETHER, ALREADY_DECIDED, FORBIDDEN, WOULD_MOVE_OTHERS), after which `loaded` is of no more use.
    """
    require_state(act, are_one(loaded.region, one, other))
    cut = (to_merge if act == "merge" else stand_for)(loaded.region, rules, one, other)
    decided, known = pair(*cut), loaded.forced if act == "merge" else loaded.forbidden
    earlier = known.get(decided)
    loaded.decide(kind_of(act), decided, evidence)
    for forbidden in forbidding(loaded.region, rules, cut) if act == "merge" else ():
        raise WrongState(
            "a decision keeps these two apart: withdraw it first",
            reason="FORBIDDEN",
            decision_id=to_text(loaded.forbidden[forbidden].event_id),
        )
    if earlier is not None:
        raise WrongState("this was decided before", reason="ALREADY_DECIDED", decision_id=to_text(earlier.event_id))
    others = moved(loaded.region, rules, cut) if act == "merge" else set()
    if others and not move_others:
        raise _would_move(loaded.region, others)
    return Taken(cut, others)


def whose(region: Region, nodes: Collection[Node]) -> dict[bytes, bytes]:
    """By hash, the customers that have these."""
    canonical, links = region.known.canonical(), region.known.links
    return {node.value_hash: canonical[links[node]] for node in nodes if node in links}


def _would_move(region: Region, others: Collection[Node]) -> WrongState:
    customers = sorted(set(whose(region, others).values()))
    return WrongState(
        "this would join or part more than the two: simulate it to see what, and say that others may move if that is meant",
        reason="WOULD_MOVE_OTHERS",
        customer_ids=" ".join(map(to_text, customers[:MOST_NAMED])),
        customers=len(customers),
    )


def require_state(act: Act, one: bool) -> None:
    """Raises WrongState (NOT_TOGETHER, ALREADY_TOGETHER)."""
    if act == "split" and not one:
        raise WrongState("these are two customers: forbid them, to keep them so", reason="NOT_TOGETHER")
    if act == "merge" and one:
        raise WrongState("these are one customer already", reason="ALREADY_TOGETHER")
    if act == "forbid" and one:
        raise WrongState("these are one customer: split them", reason="ALREADY_TOGETHER")

"""Where components end: at contested values of two known people. Pure.

A value that was seen with two values of a kind of which everybody has one, two user ids that nothing joins, is contested whatever
else is known: the strongest say so, and they are asked first (`ownership`). So it stands outside of components, as a shared one does, and
a chain of such values, each of the next two people, is as many components as there are people. It is looked at when something is
seen with it, or with one of them: they may be one by now, or there may be a question to put.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from services.identity.graph.certain import Trees
from services.identity.graph.crowding import taking_part
from services.identity.graph.facts import Facts, Node
from services.identity.graph.questions import unique_owners
from services.identity.graph.rules import Namespace, Rules


def borders(facts: Facts, rules: Rules, contested: set[Node], shared: set[Node]) -> set[Node]:
    """Of the contested values, those at which a component ends. What people joined, or what matches, stays inside."""
    held = set[Node]().union(*facts.forced, *facts.matched)
    asked = [node for node in contested - held if _is_asked_first(rules.of(node.namespace))]
    if not asked:
        return set()
    facts, owners = taking_part(facts, rules), defaultdict[Node, set[Node]](set)
    for together in facts.together:
        for node in together.intersection(asked):
            owners[node] |= together - {node}
    trees = _joined(facts, rules)
    return {node for node in asked if _is_of_two(owners[node].difference(shared), unique_owners(node.namespace, rules), trees)}


def met(facts: Facts, outside: Collection[Node], rules: Rules, coming: int, touched: bool) -> set[Node]:
    """Borders outside of a region that have to be in it.

    Of what is `touched`, all that one of those owns who tell whose a value is: what people are asked of her and the others may be another
    question by now (`questions`). Of the others, who came along with those borders, what they may change all the same: a border that two
    of them own, or one who is crowded or may become so by what is coming, and who then takes part in other sightings.
    """
    owners: dict[Node, set[Node]] = defaultdict(set)
    for together in facts.together:
        for node in together.intersection(outside):
            owners[node] |= {owner for owner in together if owner.namespace in unique_owners(node.namespace, rules)}
    if touched or not owners:
        return {node for node, found in owners.items() if found}
    counts = Counter(node for together in facts.together for node in together)
    crowded = {node for node, count in counts.items() if count + coming >= rules.max_sightings}
    return {node for node, found in owners.items() if len(found) > 1 or not found.isdisjoint(crowded)}


def _is_asked_first(kind: Namespace) -> bool:
    """And is nobody's owner until it was asked."""
    return not kind.device and kind.limit != 1


def _is_of_two(owners: Iterable[Node], telling: Collection[str], trees: Trees[Node]) -> bool:
    people: dict[str, set[Node]] = defaultdict(set)
    for owner in owners:
        if owner.namespace in telling:
            people[owner.namespace].add(trees.root(owner))
    return any(len(found) > 1 for found in people.values())


def _joined(facts: Facts, rules: Rules) -> Trees[Node]:
    """Who may be one by what people decided and by values of such kinds alone, whatever comes of it."""
    trees = Trees[Node]()
    unique = {name for name in {node.namespace for node in facts.nodes()} if rules.of(name).is_of_one}
    seen = [[node for node in together if node.namespace in unique] for together in facts.together]
    for one, *others in filter(None, [*seen, *map(list, facts.forced)]):
        for other in others:
            trees.join(one, other)
    return trees

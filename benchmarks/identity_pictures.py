"""The pictures of docs/identity.md, from the data that `make bench ONLY=identity` measures."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks import simulated_traffic
from benchmarks.drawing import Axes, Drawing
from benchmarks.known_people import Known, Scores
from services.identity.graph.facts import Facts, Node, pair
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES, Matching
from services.identity.matching.model import default
from services.identity.records.likeness import Comparer
from tests.properties.people_store import likenesses_of, people_of

FOLDER = Path(__file__).parents[1] / "docs" / "images"
THRESHOLDS = [bits / 2 for bits in range(-10, 61)]
BUCKETS = ((1, 1), (2, 2), (3, 3), (4, 4), (5, 6), (7, 10), (11, 20), (21, 60), (61, 10**9))
SPLIT_NODES = range(8, 14)  # identifiers of the customer that is shown split
STEPS = 400  # of the layout
LAYOUT_SEED = 3
Point = tuple[float, float]


def draw(data_sets: dict[str, Known], traffic_seed: int) -> None:
    """Writes them. `data_sets` may be empty: then there is no curve over the threshold."""
    FOLDER.mkdir(exist_ok=True)
    if data_sets:
        _write("identity-threshold", over_the_threshold(data_sets))
    events = simulated_traffic.make_events(traffic_seed)
    _write("identity-cluster-sizes", cluster_sizes(events, traffic_seed))
    _write("identity-split", before_and_after(events, traffic_seed))


def _write(name: str, drawing: Drawing) -> None:
    (FOLDER / f"{name}.svg").write_text(drawing.svg())


def over_the_threshold(data_sets: dict[str, Known]) -> Drawing:
    """Of clusters, as the benchmark counts them, with the model of a fresh install."""
    drawing = Drawing(760, 400, "Precision and recall over the threshold", f"shipped model; {' · '.join(data_sets)}")
    axes = Axes(drawing, (THRESHOLDS[0], THRESHOLDS[-1]), (0.5, 1.0))
    axes.frame(
        {bits: f"{bits}" for bits in range(-5, 31, 5)},
        {share / 10: f"0.{share}" if share < 10 else "1.0" for share in range(5, 11)},
        "weight from which on two records are one person's, in bits",
        "share of pairs",
    )
    axes.upright(round(default().link_weight, 1), f"calibrated: {default().link_weight:.1f} bits")
    axes.upright(DEFAULT_RULES.matching.link_weight, f"shipped: {DEFAULT_RULES.matching.link_weight:g} bits")
    names: dict[int, str] = {}
    for number, (name, known) in enumerate(data_sets.items()):
        found = _scores_over_thresholds(known)
        for which, word in ((0, "precision"), (1, "recall")):
            colour = 2 * number + which
            names[colour] = f"{word}, {name}"
            drawing.curve([axes.at(bits, scores[which]) for bits, scores in found.items() if scores[which] >= axes.y[0]], colour)
    for place, (colour, name) in enumerate(names.items()):
        drawing.legend({colour: name}, 290, 282 + 18 * place)
    return drawing


def _scores_over_thresholds(known: Known) -> dict[float, Scores]:
    records, person_of = known
    likenesses = likenesses_of(records, Comparer(default(), THRESHOLDS[0]))
    scores = {}
    for bits in THRESHOLDS:
        matching = Matching(link_weight=bits, review_weight=bits, witness=False)
        rules = msgspec.structs.replace(DEFAULT_RULES, matching=matching)
        scores[bits] = Scores.of(people_of(records, likenesses, rules), person_of)
    return scores


def cluster_sizes(events: Sequence[simulated_traffic.Event], seed: int) -> Drawing:
    """Of identifiers: how large the customer is that they are in."""
    facts = simulated_traffic.facts_of(events)
    shown = {
        2: ("the people themselves", Counter(len(nodes) for nodes in _nodes_of_people(events))),
        0: ("customers by the shipped rules", Counter(len(group) for group in divide(facts, DEFAULT_RULES).groups())),
        1: ("all that was ever seen together", Counter(len(group) for group in _connected(facts))),
    }
    drawing = Drawing(760, 400, "How many identifiers a customer has", f"share of identifiers; simulated id graph, seed {seed}")
    axes = Axes(drawing, (0, len(BUCKETS)), (0, 1))
    axes.frame(
        {place + 0.5: _label(*bucket) for place, bucket in enumerate(BUCKETS)},
        {share / 5: f"{share * 20} %" for share in range(6)},
        "identifiers of one customer",
        "of all identifiers",
    )
    for place, (colour, (_, sizes)) in enumerate(shown.items()):
        for number, (least, most) in enumerate(BUCKETS):
            within = sum(size * count for size, count in sizes.items() if least <= size <= most)
            share = within / sum(size * count for size, count in sizes.items())
            left, top = axes.at(number + 0.14 + 0.25 * place, share)
            right, bottom = axes.at(number + 0.36 + 0.25 * place, 0)
            drawing.bar(left, top, right - left, bottom - top, colour)
    for place, (colour, (name, sizes)) in enumerate(shown.items()):
        drawing.legend({colour: f"{name}; the largest has {max(sizes):,}"}, 300, 84 + 20 * place)
    return drawing


def _label(least: int, most: int) -> str:
    if most > 10**6:
        return f"{least} and more"
    return f"{least}" if least == most else f"{least}-{most}"


def _nodes_of_people(events: Iterable[simulated_traffic.Event]) -> list[set[Node]]:
    """Each identifier with the person who used it most."""
    used: dict[Node, Counter[int]] = {}
    for event in events:
        for node in event.nodes:
            used.setdefault(node, Counter())[event.person] += 1
    people: dict[int, set[Node]] = {}
    for node, by in used.items():
        people.setdefault(by.most_common(1)[0][0], set()).add(node)
    return list(people.values())


def _connected(facts: Facts) -> list[set[Node]]:
    group_of: dict[Node, set[Node]] = {}
    for together in facts.together:
        joined = set(together).union(*(group_of.get(node, set()) for node in together))
        group_of.update(dict.fromkeys(joined, joined))
    return list({id(group): group for group in group_of.values()}.values())


def before_and_after(events: Sequence[simulated_traffic.Event], seed: int) -> Drawing:
    """Two people whom a phone number that changed hands made one, and what a split by hand leaves."""
    facts = simulated_traffic.facts_of(events)
    group, (one, other), joint = _two_people_in_one(events, facts)
    edges = sorted({(a, b) for nodes in facts.together for a in nodes & group for b in nodes & group if a < b})
    facts.forbidden.add(pair(one, other))
    after = divide(facts, DEFAULT_RULES)
    drawing = Drawing(
        860,
        440,
        "A customer before and after a split",
        f"two people whom one {word(joint)} joined; simulated id graph, seed {seed}",
    )
    places = _layout(sorted(group), edges)
    parts = sorted(
        {frozenset(after.group_of[node].nodes) & group for node in group},
        key=lambda part: (one not in part, other not in part, min(part)),
    )
    colour_of = {node: (number, 1, 2, 3)[min(number, 3)] for number, part in enumerate(parts) for node in part}
    shown = ((0, "before: one customer", dict.fromkeys(group, 0)), (430, f"after: {len(parts)} customers", colour_of))
    for left, name, colours in shown:
        drawing.text(left + 215, 78, name, anchor="middle")
        at = {node: (left + 40 + 310 * x, 105 + 290 * y) for node, (x, y) in places.items()}
        for a, b in edges:
            drawing.line(at[a], at[b], "edge" if colours[a] == colours[b] else "cut")
        for node, (x, y) in at.items():
            drawing.dot(x, y, 9, colours[node])
            drawing.text(x + 13, y + 4, word(node), kind="label halo")
    drawing.text(645, 424, "dashed: seen together, kept apart by the decision", anchor="middle")
    return drawing


def word(node: Node) -> str:
    return {"anonymous_id": "device", "user_id": "user id"}.get(node.namespace, node.namespace)


def _two_people_in_one(events: Sequence[simulated_traffic.Event], facts: Facts) -> tuple[frozenset[Node], tuple[Node, Node], Node]:
    """A customer, of each of the two the identifier that stands for her, and what both used: a phone number if there is one."""
    partition, owners = divide(facts, DEFAULT_RULES), dict[Node, set[int]]()
    for event in events:
        for node in event.nodes - partition.shared:
            owners.setdefault(node, set()).add(event.person)
    found = []
    for group in partition.groups():
        joint = [node for node in group if len(owners.get(node, ())) == 2]
        people = {person for node in group for person in owners.get(node, ())}
        own = [[node for node in group if owners.get(node) == {person}] for person in sorted(people)]
        if joint and len(own) == 2 and all(len(nodes) > 2 for nodes in own):
            one, other = (min(nodes, key=lambda node: (DEFAULT_RULES.rank(node.namespace), node)) for nodes in own)
            found.append((group, (one, other), min(joint, key=lambda node: (node.namespace != "phone", node))))
    return min(found, key=lambda one: (one[2].namespace != "phone", len(one[0]) not in SPLIT_NODES, min(one[0])))


def _layout(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> dict[Node, Point]:
    """0 to 1 both ways; Fruchterman and Reingold, Graph drawing by force-directed placement, 1991."""
    chance = random.Random(LAYOUT_SEED)
    at = {node: (chance.random(), chance.random()) for node in nodes}
    ideal = 1 / math.sqrt(len(nodes))
    for step in range(STEPS):
        pull = {node: [0.0, 0.0] for node in nodes}
        for a in nodes:
            for b in nodes:
                if a != b:
                    _push(pull[a], at[a], at[b], lambda distance: ideal**2 / distance)
        for a, b in edges:
            _push(pull[a], at[a], at[b], lambda distance: -(distance**2) / ideal)
            _push(pull[b], at[b], at[a], lambda distance: -(distance**2) / ideal)
        reach = 0.1 * (1 - step / STEPS)
        for node, (x, y) in pull.items():
            length = math.hypot(x, y) or 1.0
            scale = min(length, reach) / length
            at[node] = at[node][0] + x * scale, at[node][1] + y * scale
    return _fitted(at)


def _push(pull: list[float], one: Point, other: Point, force: Callable[[float], float]) -> None:
    distance = max(math.hypot(one[0] - other[0], one[1] - other[1]), 1e-3)
    pull[0] += (one[0] - other[0]) / distance * force(distance)
    pull[1] += (one[1] - other[1]) / distance * force(distance)


def _fitted(at: dict[Node, Point]) -> dict[Node, Point]:
    least = [min(point[axis] for point in at.values()) for axis in (0, 1)]
    most = [max(point[axis] for point in at.values()) for axis in (0, 1)]
    return {node: ((x - least[0]) / (most[0] - least[0]), (y - least[1]) / (most[1] - least[1])) for node, (x, y) in at.items()}

"""Events of made-up people with what spoils graphs of identifiers: kiosks, shared tablets, recycled phones, family mail."""

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.identity.graph.facts import Evidence, Facts, Node
from services.identity.graph.resolve import Partition
from services.identity.graph.rules import Rules

PEOPLE = 1_500
EVENTS_EACH = 12
KIOSKS = 5
AT_A_KIOSK = 0.05
ON_THE_TABLET = 0.15
FAMILY_MAIL = 0.3  # of households
TABLET = 0.4  # of households
RECYCLED = 0.04  # of phones: another person's later
REGISTERED = 0.6  # of people have a user id
SHOWN = {"user_id": 0.4, "email": 0.3, "phone": 0.15}
YEAR_US = 365 * 24 * 3600 * 10**6


class Event(NamedTuple):
    person: int
    nodes: frozenset[Node]
    evidence: Evidence


@dataclass
class Someone:
    number: int
    names: dict[str, str]
    devices: list[str]
    tablet: str | None


def make_events(seed: int) -> list[Event]:
    chance = random.Random(seed)
    people = _people(chance)
    events = []
    for number in range(PEOPLE * EVENTS_EACH):
        someone = people[number % PEOPLE]
        time = chance.randrange(YEAR_US)
        shown = {Node("anonymous_id", _hash(_device(someone, chance)))}
        for name, share in SHOWN.items():
            if name in someone.names and chance.random() < share:
                shown.add(Node(name, _hash(_recycled(someone, name, time, people))))
        events.append(Event(someone.number, frozenset(shown), Evidence(time, number.to_bytes(16))))
    return events


def _people(chance: random.Random) -> list[Someone]:
    people: list[Someone] = []
    while len(people) < PEOPLE:
        home = len(people)
        mail, tablet = chance.random() < FAMILY_MAIL, chance.random() < TABLET
        for _ in range(min(chance.choice((1, 1, 2, 3, 4)), PEOPLE - len(people))):
            number = len(people)
            names = {"email": f"family{home}" if mail else f"mail{number}", "phone": f"phone{number}"}
            if chance.random() < REGISTERED:
                names["user_id"] = f"user{number}"
            devices = [f"device{number}.{place}" for place in range(chance.randint(1, 3))]
            people.append(Someone(number, names, devices, f"tablet{home}" if tablet else None))
    return people


def _device(someone: Someone, chance: random.Random) -> str:
    place = chance.random()
    if place < AT_A_KIOSK:
        return f"kiosk{chance.randrange(KIOSKS)}"
    if place < AT_A_KIOSK + ON_THE_TABLET and someone.tablet:
        return someone.tablet
    return chance.choice(someone.devices)


def _recycled(someone: Someone, name: str, time: int, people: Sequence[Someone]) -> str:
    """Some numbers are the neighbour's in the second half of the year."""
    every = round(1 / RECYCLED)
    if name == "phone" and time > YEAR_US // 2 and someone.number % every == 1:
        return people[someone.number - 1].names["phone"]
    return someone.names[name]


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def facts_of(events: Sequence[Event]) -> Facts:
    facts = Facts()
    for event in events:
        facts.see(event.nodes, event.evidence)
    return facts


class Quality(NamedTuple):
    precision: float  # of pairs of events in one customer, those of one person
    recall: float
    most_owners: int  # people whose events one customer has


def quality(events: Sequence[Event], partition: Partition, rules: Rules, *, people_only: bool) -> Quality:
    """An event is its strongest identifier's customer's, as the service places it (decision 32).

    A shared or contested value is nobody's, and what resolves by it is said of no person: with `people_only` each of its events
    stands alone, which costs recall; otherwise they count as one customer's.
    """
    owners: dict[object, Counter[int]] = defaultdict(Counter)
    for event in events:
        strongest = min(event.nodes, key=lambda node: (rules.rank(node.namespace), node))
        alone = people_only and strongest in partition.shared
        owners[event.evidence if alone else id(partition.group_of[strongest])][event.person] += 1
    linked = sum(_pairs(counts.total()) for counts in owners.values())
    both = sum(_pairs(count) for counts in owners.values() for count in counts.values())
    true = sum(_pairs(count) for count in Counter(event.person for event in events).values())
    return Quality(both / linked, both / true, max(len(counts) for counts in owners.values()))


def _pairs(size: int) -> int:
    return size * (size - 1) // 2

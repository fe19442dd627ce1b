"""What a decision would have changed at a past instant, on a real PostgreSQL, is what was answered when it was asked then."""

from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest

from services.identity.activating import ActivateRules
from services.identity.composition import Parts
from services.identity.domain.decision import Kind
from services.identity.domain.rules_document import read
from services.identity.graph.difference import Difference
from services.identity.graph.facts import Node
from services.identity.graph.rules import Rules
from services.identity.recall import NOW, Instants
from services.identity.tables import rulebook
from shared.errors import CustomerError
from shared.instants import END_OF_TIME
from shared.log import LogReader
from tests.live.test_identity import Store, in_units, store, traffic
from tests.live.test_identity_explained import LAST, Played, State, decide, rules, state_of

__all__ = ["rules", "store"]  # the fixtures

OTHER_RULES = """{"namespaces": [{"name": "user_id", "limit": 2}, {"name": "email", "limit": 5, "blocked": ["family@shop.example"]},
                                {"name": "*", "limit": 5, "shared_after": 3}, {"name": "anonymous_id", "limit": 9, "shared_after": 2}]}"""


class Asked(NamedTuple):
    kind: Kind
    one: Node
    other: Node


async def answered(store: Store, parts: Parts, asked: Asked, instants: Instants = NOW) -> Difference | tuple[str, Any]:
    """What would change, or for what it would be refused."""
    rules = (await rulebook.known_at(LogReader(store.pool), instants.known_at)).rules
    try:
        return await parts.simulation.decision(*asked, rules, instants, rules.version != parts.ledger.rules.version)
    except CustomerError as refused:
        return refused.reason, refused.facts


def some(random: Random, state: State) -> list[Asked]:
    """To merge any two, and to part two that are linked to one customer, where there are some."""
    known = sorted(state)
    if len(known) < 2:
        return []
    merges = [Asked("merge", *random.sample(known, 2)) for _ in range(3)]
    one = random.choice(known)
    others = [node for node in known if state[node].canonical == state[one].canonical and node != one]
    return [*merges, Asked("forbid", one, random.choice(others or [node for node in known if node != one]))]


@pytest.mark.usefixtures("rules")
async def test_as_known_then_is_what_was_answered_then(store: Store) -> None:
    """Whatever people decided, late events brought and other rules made of it since."""
    random = Random(0)
    times = random.sample(range(LAST), 60)
    raw = [msgspec.structs.replace(e, occurred_at=t, received_at=t) for e, t in zip(traffic(random, 60), times, strict=True)]
    played = Played(store, await store.parts(), raw, [])
    parts, then = played.parts, list[tuple[int, Asked, Any]]()
    units = in_units(random, raw)
    for sequence, unit in enumerate(units, 1):
        await parts.unifier.unify(unit, sequence, [])
        played.states[parts.ledger.recording] = await state_of(store)
        if random.random() < 0.6:
            await decide(played, random)
        if sequence == 2 * len(units) // 3:
            await activate(parts, store)
        for asked in some(random, await state_of(store)):
            then.append((parts.ledger.recording, asked, await answered(store, parts, asked)))
    for known_at, asked, answer in then:
        assert await answered(store, parts, asked, Instants(known_at=known_at)) == answer
    found = [answer for _, _, answer in then if isinstance(answer, Difference)]
    assert sum(one.merges for one in found) > 0
    assert sum(one.splits for one in found) > 0


async def activate(parts: Parts, store: Store) -> None:
    document = read(OTHER_RULES, store.vault.lookup_key)
    command = ActivateRules(request_id="other", document=document, activated_by="ops", reason="ticket 12")
    _ = [step async for step in parts.activator.activate(command)]
    while await parts.activator._resettle_page():
        pass


async def test_as_of_an_instant_is_what_was_answered_before_the_rest_happened(store: Store, rules: Rules) -> None:
    random, parts = Random(1), await store.parts()
    then = list[tuple[int, Asked, Any]]()
    for sequence, unit in enumerate(in_units(random, traffic(random, 60)), 1):
        await parts.unifier.unify(unit, sequence, [])
        for asked in some(random, await state_of(store)):
            then.append((unit[-1].occurred_at, asked, await answered(store, parts, asked)))
    for as_of, asked, answer in then:
        for known_at in (END_OF_TIME, parts.ledger.recording):
            assert counts(await answered(store, parts, asked, Instants(as_of, known_at))) == counts(answer)


def counts(answer: Any) -> Any:
    """To which of a customer's ids a value was linked before is told by the log, and of no instant as of which it is asked."""
    return (answer.merges, answer.splits, answer.shared, answer.returned) if isinstance(answer, Difference) else answer

"""Other owners count for a value: what is reported comes to pass, and by the old rules again all is as it was; messy data, real tables, small pages."""

import json
from random import Random
from typing import Any, NamedTuple

import pytest

from services.identity import activating, simulating
from services.identity.domain.rules_document import read
from services.identity.graph.difference import compare
from services.identity.graph.facts import Node
from tests.live.test_identity import Store, store
from tests.live.test_identity_rules import activate, activator, checked
from tests.live.test_named_then import world

__all__ = ["store"]  # the fixture

PEOPLE = ["user_id", "email", "phone"]
BASE: dict[str, Any] = {
    "namespaces": [
        {"name": "user_id", "limit": 1},
        {"name": "email", "limit": 2, "shared_after": 3, "owned_by": ["user_id", "phone"]},
        {"name": "phone", "limit": 2, "window_days": 90, "shared_after": 3, "owned_by": ["user_id", "email"]},
        {"name": "*", "limit": 2, "shared_after": 3, "owned_by": ["user_id"]},
        {"name": "anonymous_id", "limit": 3, "shared_after": 2, "device": True, "owned_by": PEOPLE},
    ],
    "max_cluster": 9,
    "max_sightings": 6,
    "matching": {"on": False},
}


class State(NamedTuple):
    """`links` are of those alone that name somebody: who was founded by what names nobody any more stays, and answers for nobody."""

    links: dict[Node, bytes]
    canonical: dict[Node, bytes]
    silent: set[Node]
    questions: set[tuple[bytes, ...]]


async def state_of(store: Store) -> State:
    rows = await store.pool.fetch("SELECT i.*, canonical FROM identifiers AS i LEFT JOIN customers USING (customer)")
    node = {row["value_hash"]: Node(row["namespace"], row["value_hash"]) for row in rows}
    linked = [row for row in rows if row["link_id"] is not None]
    asked = await store.pool.fetch("SELECT end_hash, other_end_hash FROM proposals WHERE state = 'open'")
    return State(
        {node[row["value_hash"]]: row["customer"] for row in linked},
        {node[row["value_hash"]]: row["canonical"] for row in linked},
        {node[row["value_hash"]] for row in rows if row["shared"] or row["contested"]},
        {tuple(sorted(row)) for row in asked},
    )


def changed_owners(random: Random) -> dict[str, Any]:
    document = json.loads(json.dumps(BASE))
    for namespace in random.sample(document["namespaces"][1:], random.choice([1, 1, 2])):
        others = [name for name in PEOPLE if name != namespace["name"]]
        namespace["owned_by"] = random.choice([["user_id"], others, others[1:], []])
    if random.random() < 0.5:
        document["namespaces"][-1]["owned_by"] = ["user_id"]
    return document  # type: ignore[no-any-return]


async def settle(store: Store) -> None:
    one = await activator(store)
    while await one._resettle_page():
        pass


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_reported_comes_to_pass_and_back_again(store: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random, key = Random(seed), store.vault.lookup_key
    monkeypatch.setattr(activating, "PAGE_IDENTIFIERS", random.choice([2, 7, 200]))
    monkeypatch.setattr(simulating, "PAGE_IDENTIFIERS", random.choice([2, 7, 200]))
    base = read(json.dumps(BASE), key)
    await activate(store, base, "base")
    await settle(store)
    raw = world(random, 90, wide=3)
    unifier = await store.unifier()
    for at in range(0, len(raw), 15):
        await unifier.unify(raw[at : at + 15], at + 1, [])
    happened = 0
    for turn in range(4):
        before, other = await state_of(store), read(json.dumps(changed_owners(random)), key)
        if other == base:
            continue
        report = await checked(store, other)
        await activate(store, other, f"other-{turn}")
        await settle(store)
        after = await state_of(store)
        real = compare(before.canonical, after.canonical)
        moved = [node for node in before.links.keys() | after.links.keys() if before.links.get(node) != after.links.get(node)]
        assert (report.merges, report.splits) == (real.merges, real.splits)
        assert report.links == sum(node in after.links for node in moved)
        assert report.unlinks == sum(node in before.links for node in moved)
        assert (report.shared, report.returned) == (len(after.silent - before.silent), len(before.silent - after.silent))
        happened += report.merges + report.splits + report.shared + report.returned
        await activate(store, base, f"back-{turn}")
        await settle(store)
        back = await state_of(store)
        assert (groups(back), back.silent, back.questions) == (groups(before), before.silent, before.questions)
    assert happened


def groups(state: State) -> set[frozenset[Node]]:
    found: dict[bytes, set[Node]] = {}
    for node, customer in state.canonical.items():
        found.setdefault(customer, set()).add(node)
    return {frozenset(group) for group in found.values()}

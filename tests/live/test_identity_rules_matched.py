"""Other rules let devices link again, which match who was seen with none: what is reported comes to pass, however small the pages are."""

import json
from random import Random
from typing import Any

import pytest

from services.identity import activating, simulating
from services.identity.domain.rules_document import RulesDocument, read, to_json
from services.identity.graph.difference import Difference, compare
from services.identity.tables import rulebook
from shared.events.wire import RawEvent
from tests.live.test_identity import Store, in_units, store
from tests.live.test_identity_rules import activate, activator, checked
from tests.live.test_identity_rules_owned import settle, state_of
from tests.live.test_matching import GIVEN, SURNAMES

__all__ = ["store"]  # the fixture

PEOPLE = 14


def said_by(person: int) -> dict[str, Any]:
    return {
        "firstName": GIVEN[person % len(GIVEN)],
        "last_name": SURNAMES[person % len(SURNAMES)] + "abcdefghijklmn"[person] * 2,
        "birthday": f"{1950 + person}-0{1 + person % 9}-1{person % 10}",
        "address": {
            "street": f"{person + 1} Lindenallee",
            "city": f"Quedlinburg {person}",
            "postal_code": f"{10_000 + 37 * person}",
        },
    }


def world(random: Random) -> list[RawEvent]:
    """Most people's device was seen with many addresses, and says who they are; one more address says the same, with a device of its own."""
    made: list[tuple[str, dict[str, Any]]] = []
    for person in range(PEOPLE):
        device = f"device-{random.choice([person, person, person, 0])}"
        made += [(device, {"email": f"{person}-{n}@shop.example"}) for n in range(random.choice([1, 4, 4, 5]))]
        made += [(f"device-{person}", said_by(person)), (f"other-{person}", said_by(person) | {"email": f"z{person}@shop.example"})]
    random.shuffle(made)
    return [
        RawEvent(
            kind="identify",
            message_id=f"message-{at}",
            source="web",
            anonymous_id=device,
            traits=traits,
            occurred_at=at,
            received_at=at,
        )
        for at, (device, traits) in enumerate(made)
    ]


def many_of_a_device(key: bytes) -> RulesDocument:
    document = json.loads(to_json(rulebook.SHIPPED.document))
    for namespace in document["namespaces"]:
        if namespace["name"] == "anonymous_id":
            namespace["shared_after"] = 6
            del namespace["owned_by"]
    return read(json.dumps(document), key)


def told(found: Difference) -> tuple[object, ...]:
    counts = found.merges, found.splits, found.links, found.unlinks, found.shared, found.returned
    return *counts, sorted((one.merges, sorted(one.customers), one.parts) for one in found.examples)


async def reported(store: Store, document: RulesDocument, monkeypatch: pytest.MonkeyPatch) -> Difference:
    """In pages of several sizes it is the same."""
    found = []
    for size in (1, 3, 10, 1_000):
        monkeypatch.setattr(simulating, "PAGE_IDENTIFIERS", size)
        found.append(await checked(store, document))
    assert all(told(one) == told(found[0]) for one in found)
    return found[0]


@pytest.mark.parametrize("seed", range(2))
async def test_who_matches_a_device_that_links_again_is_reported(store: Store, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random, other = Random(seed), many_of_a_device(store.vault.lookup_key)
    parts = await store.parts()
    for sequence, unit in enumerate(in_units(random, world(random)), 1):
        await parts.unifier.unify(unit, sequence, [])
    while await parts.matcher.step():
        pass
    monkeypatch.setattr(activating, "PAGE_IDENTIFIERS", random.choice([3, 10, 200]))
    for turn, document in enumerate((other, rulebook.SHIPPED.document)):
        before = await state_of(store)
        report = await reported(store, document, monkeypatch)
        await activate(store, document, f"turn-{turn}")
        await settle(store)
        after = await state_of(store)
        real = compare(before.canonical, after.canonical)
        assert (report.merges, report.splits) == (real.merges, real.splits)
        assert {frozenset(one.customers) for one in report.examples if one.merges} == {
            frozenset(one.customers) for one in real.examples if one.merges
        }
        assert (report.shared, report.returned) == (len(after.silent - before.silent), len(before.silent - after.silent))
        assert report.merges + report.splits + report.shared + report.returned
    assert (await activator(store))._ledger.activation.settled

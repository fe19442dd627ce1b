"""Another model on a real PostgreSQL: its report is what comes to pass, and the old one gives the old partition."""

import json
from collections.abc import AsyncGenerator
from random import Random
from typing import Any

import pytest

from services.identity import model_simulating
from services.identity.graph.difference import Difference
from services.identity.graph.resolve import resolve
from services.identity.graph.rules import DEFAULT_RULES, Rules
from services.identity.matching.model import probability_of, weight_of
from services.identity.model_activating import ActivateModel, ModelActivator
from services.identity.model_simulating import ModelSimulation
from services.identity.records.likeness import Comparer
from services.identity.simulating import Progress
from services.identity.tables import modelbook
from services.identity.tables.modelbook import ModelActivation, read, shipped
from shared.errors import Conflict, InvalidInput, WrongState
from shared.events import customer as events
from shared.events.wire import decode_unit
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogReader
from tests.live.test_identity import Store, in_units, partition_of_store, sighting_of, store
from tests.live.test_matching import CAP, matched, settled, traffic, writers

__all__ = ["store"]  # the fixture
PRIOR = "probability_two_random_records_match"


def shifted(bits: float) -> str:
    """The shipped model, for which so many bits more speak from the start."""
    document = json.loads(shipped().document)
    document["splink"][PRIOR] = probability_of(weight_of(document["splink"][PRIOR]) + bits)
    return json.dumps(document)


def simulation(store: Store) -> ModelSimulation:
    return ModelSimulation(store.pool, store.vault, id_maker(now_us), CAP)


async def activator(store: Store) -> ModelActivator:
    """Of a process that has just started; it checks in this one, where a test may want other limits."""
    parts = await store.parts(CAP)

    def check(document: str, rules: Rules) -> AsyncGenerator[Progress, None]:
        return simulation(store).run(read(document), rules)

    return ModelActivator(parts.ledger, check, now_us, id_maker(now_us), parts.matcher.tell)


async def activate(store: Store, document: str, name: str) -> ModelActivation:
    command = ActivateModel(request_id=name, document=document, reason="to try", activated_by="test")
    steps = [step async for step in (await activator(store)).activate(command)]
    assert isinstance(steps[-1], ModelActivation)
    return steps[-1]


async def checked(store: Store, document: str) -> Difference:
    steps = [step async for step in simulation(store).run(read(document), DEFAULT_RULES)]
    assert isinstance(steps[-1], Progress)
    assert steps[-1].identifiers == steps[-1].of
    return steps[-1].found


async def partition(store: Store) -> Any:
    return await partition_of_store(store.pool)


def joined_and_parted(before: set[frozenset[bytes]], after: set[frozenset[bytes]]) -> tuple[int, int]:
    """How many customers fewer by joining, and more by coming apart."""

    def more(ours: set[frozenset[bytes]], others: set[frozenset[bytes]]) -> int:
        return sum(sum(not group.isdisjoint(other) for other in others) - 1 for group in ours)

    return more(after, before), more(before, after)


async def test_the_report_of_another_model_is_what_comes_to_pass(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In small pages, by a process that is new for each; and back again."""
    monkeypatch.setattr(model_simulating, "PAGE_IDENTIFIERS", 5)
    monkeypatch.setattr("services.identity.matcher.RECORDS_A_STEP", 9)
    raw = traffic(Random(1), 120)
    unifier, matcher = await writers(store)
    await unifier.unify(raw, 1, [])
    await settled(unifier, matcher)
    await (await activator(store)).record_shipped()
    first, log = await partition(store), await store.pool.fetchval("SELECT count(*) FROM events")
    report = await checked(store, shifted(-14))
    assert (first, log) == (await partition(store), await store.pool.fetchval("SELECT count(*) FROM events"))
    changes = []
    for name, document in (("stricter", shifted(-14)), ("shipped", shipped().document)):
        before = await partition(store)
        activation = await activate(store, document, name)
        while not (await modelbook.history(LogReader(store.pool)))[-1].settled:
            await (await writers(store))[1].step()
        await settled(*await writers(store))
        changes.append((activation.expected.merges, activation.expected.splits))
        assert joined_and_parted(before, await partition(store)) == changes[-1]
        assert (await modelbook.history(LogReader(store.pool)))[-1].settled
    assert changes[0] == (report.merges, report.splits)
    assert changes[0][1] > 0
    assert changes[1] == changes[0][::-1]
    assert await partition(store) == first
    units = [decode_unit(row["unit"]) for row in await store.pool.fetch("SELECT unit FROM outbox")]
    merges = [entry.public() for unit in units for entry in unit.entries if entry.type_id == events.MERGED.id]
    assert all((merge.match_model is None) is (merge.match_weight is None) for merge in merges)
    likely = [merge for merge in merges if merge.likely]
    assert likely
    assert all(merge.match_weight is not None for merge in likely), "what is certain needs no match"
    # Halfway matches are of both models, so that the stricter one's may stand against a group that the other's joined (decision 31).
    told = {merge.match_model for merge in merges} - {None}
    assert {shipped().version} <= told <= {shipped().version, read(shifted(-14)).version}
    assert [one.number for one in await modelbook.history(LogReader(store.pool))] == [1, 2, 3]


async def test_what_comes_while_all_is_compared_again_is_of_the_new_model(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a process that is new for each page, and yet another model before the last one was through."""
    monkeypatch.setattr("services.identity.matcher.RECORDS_A_STEP", 9)
    random = Random(5)
    raw = traffic(random, 120)
    unifier, matcher = await writers(store)
    await unifier.unify(raw[:80], 1, [])
    await settled(unifier, matcher)
    for number, unit in enumerate(in_units(random, raw[80:]), 2):
        if number in (2, 4):
            await activate(store, shifted(4 - 2 * number), f"model-{number}")
        unifier, matcher = await writers(store)
        await unifier.unify(unit, number, [])
        await matcher.step()
    await settled(unifier, matcher)
    monkeypatch.setattr("tests.live.test_matching.COMPARER", Comparer(read(shifted(-4)), DEFAULT_RULES.matching.review_weight))
    facts = matched(raw, store.vault.lookup_key)
    found = resolve(facts, DEFAULT_RULES)
    resolving = {sighting_of(event, store.vault.lookup_key).seen().nodes[0] for event in raw}
    for node in resolving - found.group_of.keys():
        found.add(node)
    groups = {frozenset(node.value_hash for node in group) for group in found.groups()}
    assert await partition(store) == groups - {frozenset({n.value_hash}) for n in found.shared - resolving}


async def test_what_is_no_model_is_refused_and_what_was_activated_is_answered_again(store: Store) -> None:
    trap = json.loads(shipped().document)
    trap["splink"]["comparisons"] = [c for c in trap["splink"]["comparisons"] if c["output_column_name"] != "given_name"]
    trap["splink"]["comparisons"] = [c for c in trap["splink"]["comparisons"] if "birth_date" not in c["output_column_name"]]
    broken = json.loads(shipped().document)
    del broken["splink"]["comparisons"][0]["comparison_levels"][0]["sql_condition"]
    for document in ("{}", "[]", "no", json.dumps(trap), json.dumps(broken)):
        with pytest.raises(InvalidInput):
            await activate(store, document, "bad")
    with pytest.raises(WrongState):
        await activate(store, shipped().document, "same")
    activation = await activate(store, shifted(-1), "once")
    assert (await activate(store, shifted(-1), "once")).number == activation.number
    with pytest.raises(Conflict):
        await activate(store, shifted(-2), "once")

"""Identity: how well people are told apart, whatever the order, and what a record costs.

Cluster F1 counts all pairs against all true pairs. For each data set by three ways to run the service: with the model that
`c360 identity train` learns from the same records without being told who is who and links from the weight that it calibrates;
with the shipped model and what it calibrates; and as a fresh install runs, which links from more and asks for a witness.
"""

import gc
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import msgspec

from benchmarks import identity_live, identity_page, identity_pictures, known_people, simulated_traffic
from benchmarks.harness import Result
from benchmarks.known_people import Known, Scores
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES, Matching
from services.identity.matching.model import Model, default
from services.identity.records.likeness import Comparer
from services.identity.training.people import make_records
from services.identity.training.train import Options, train
from services.stack.stack import Stack
from tests.properties.people_store import People, all_at_once

TRAIN_SEED = 1
TRAFFIC_SEEDS = (1, 2, 3)
ORDERS = 20  # sorted and reversed among them
ORDERED_RECORDS = 2_000
KNOWN_RECORDS = 100_000
PEOPLE = 50_000  # of whom there are more records than that
MEASURED = 3_000
LATENCY_SEED = 5
SMALL_BLOCK = 12
ONCE = "_one_per_source"
AS_SHIPPED = "fresh_install"
T = TypeVar("T")


async def measure(servers: Stack) -> list[Result]:
    results = []
    async for result in _all_of_it(servers):
        print(f"  {result.name} {result.value:.5g} {result.unit}", flush=True)
        results.append(result)
    return results


def publish(results: list[Result]) -> None:
    """Into docs/identity.md."""
    identity_page.publish(results)


async def _all_of_it(servers: Stack) -> AsyncIterator[Result]:
    """The writer comes first, as its memory is measured."""
    async for result in identity_live.measure(servers):
        yield result
    for part in (_traffic, _orders, _latency, _others, _matching):
        started = time.perf_counter()
        for result in part():
            yield result
        print(f"  ({part.__name__.strip('_')} took {time.perf_counter() - started:.0f} s)", flush=True)
    print(f"  drawing {identity_pictures.FOLDER}", flush=True)
    identity_pictures.draw(_shown_sets(), TRAFFIC_SEEDS[0])


def _shown_sets() -> dict[str, Known]:
    one, other = known_people.CENSUS_SEEDS
    bare = known_people.febrl(3, with_national_id=False)
    return {f"census, seeds {one} and {other}": known_people.census(), "febrl3 without national id": bare}


def _matching() -> Iterator[Result]:
    febrl, bare = known_people.febrl(3, with_national_id=True), known_people.febrl(3, with_national_id=False)
    yield from _both_models("febrl3", febrl, {"": 0.9995})
    yield from _both_models("febrl3_without_national_id", bare, {"": 0.9990})
    yield from _both_models("census", known_people.census(), {"": 0.986, ONCE: 0.998})


def _both_models(name: str, known: Known, variants: dict[str, float]) -> Iterator[Result]:
    own = train(list(known[0].values()), Options(seed=TRAIN_SEED, trained_on=name)).model
    for way, model, matching in (
        ("own_model", own, calibrated(own)),
        ("default_model", default(), calibrated(default())),
        (AS_SHIPPED, default(), DEFAULT_RULES.matching),
    ):
        for variant, target in variants.items():
            precision, recall, f1 = scores(known, model, matching, once=variant == ONCE)
            label = f"{name}{variant}/{way}"
            yield at_least(f"{label} F1", f1, target if way in {"own_model", AS_SHIPPED} else None)
            yield Result(name=f"{label} precision", value=precision, unit="")
            yield Result(name=f"{label} recall", value=recall, unit="")


def _others() -> Iterator[Result]:
    """With the shipped model, on further data; `known_people` says which of it was looked at before."""
    for name, known in known_people.others().items():
        for way, matching in (("default_model", calibrated(default())), (AS_SHIPPED, DEFAULT_RULES.matching)):
            for variant in ("", ONCE):
                if not variant or len({record.source for record in known[0].values()}) > 1:
                    found = scores(known, default(), matching, once=variant == ONCE)
                    yield Result(name=f"{name}{variant}/{way} F1", value=found[2], unit="")


def calibrated(model: Model) -> Matching:
    """Rules that link from the weight on that the model's own account of itself asks for, and ask for no witness."""
    return Matching(link_weight=model.link_weight, review_weight=min(model.link_weight, 0.0), witness=False)


def scores(known: Known, model: Model, matching: Matching, once: bool) -> Scores:
    """`once`: each source has each person once."""
    records, person_of = known
    if once:
        sources = tuple(sorted({record.source for record in records.values()}))
        matching = msgspec.structs.replace(matching, one_per_source=sources)
    rules = msgspec.structs.replace(DEFAULT_RULES, matching=matching)
    return Scores.of(all_at_once(records, Comparer(model, matching.link_weight, matching.exclusive), rules), person_of)


def _orders() -> Iterator[Result]:
    """One by one in many orders, a tenth deleted again, blocks small enough to retire, against all at once."""
    records = make_records(ORDERED_RECORDS, LATENCY_SEED)[:ORDERED_RECORDS]
    gone = {record.id for record in records[::10]}
    comparer = Comparer(default(), DEFAULT_RULES.matching.review_weight)
    expected = all_at_once({r.id: r for r in records if r.id not in gone}, comparer, cap=SMALL_BLOCK)
    moved = 0
    for order in _in_orders(records, key=lambda record: record.id):
        people = People(comparer, cap=SMALL_BLOCK)
        for record in order:
            people.add(record)
        for record_id in sorted(gone):
            people.remove(record_id.encode())
        moved += sum(len(group) for group in people.groups() - expected)
    yield at_most(f"records_moved_in_{ORDERS}_orders", moved, 0, "records")


def _in_orders(items: list[T], key: Callable[[T], Any]) -> Iterator[list[T]]:
    ordered = sorted(items, key=key)
    yield from (ordered, ordered[::-1])
    for seed in range(ORDERS - 2):
        yield random.Random(seed).sample(ordered, len(ordered))


def _traffic() -> Iterator[Result]:
    for seed in TRAFFIC_SEEDS:
        events = simulated_traffic.make_events(seed)
        partition = divide(simulated_traffic.facts_of(events), DEFAULT_RULES)
        people = simulated_traffic.quality(events, partition, DEFAULT_RULES, people_only=True)
        every = simulated_traffic.quality(events, partition, DEFAULT_RULES, people_only=False)
        label = f"id_graph/seed_{seed}"
        yield at_least(f"{label} pair precision", people.precision, 0.90)
        yield Result(name=f"{label} pair recall", value=people.recall, unit="")
        yield at_most(f"{label} owners in the largest", people.most_owners, 60, "people")
        yield Result(name=f"{label} pair precision, with what only shared values have", value=every.precision, unit="")
        yield Result(name=f"{label} owners of a shared value", value=every.most_owners, unit="people")
    yield from _traffic_orders()


def _traffic_orders() -> Iterator[Result]:
    events = simulated_traffic.make_events(TRAFFIC_SEEDS[0])
    groups, moved = divide(simulated_traffic.facts_of(events), DEFAULT_RULES).groups(), 0
    for order in _in_orders(events, key=lambda event: event.evidence):
        other = divide(simulated_traffic.facts_of(order), DEFAULT_RULES)
        moved += sum(len(group) for group in other.groups() - groups)
    yield at_most(f"id_graph moved_in_{ORDERS}_orders", moved, 0, "ids")


def _latency() -> Iterator[Result]:
    records = make_records(PEOPLE, LATENCY_SEED)
    random.Random(LATENCY_SEED).shuffle(records)
    assert len(records) >= KNOWN_RECORDS + MEASURED
    people = People(Comparer(default(), DEFAULT_RULES.matching.review_weight))
    for record in records[:KNOWN_RECORDS]:
        people.add(record)
    gc.collect()
    gc.freeze()
    samples = []
    for record in records[KNOWN_RECORDS : KNOWN_RECORDS + MEASURED]:
        started = time.perf_counter()
        people.add(record)
        samples.append((time.perf_counter() - started) * 1_000)
    yield at_most("new_record p50", statistics.median(samples), 1, "ms")
    yield at_most("new_record p99", statistics.quantiles(samples, n=100)[98], 5, "ms")


def at_least(name: str, value: float, target: float | None) -> Result:
    if target is None:
        return Result(name=name, value=value, unit="")
    return Result(name=name, value=value, unit="", target=f">= {target}", met=value >= target)


def at_most(name: str, value: float, target: float, unit: str) -> Result:
    return Result(name=name, value=value, unit=unit, target=f"<= {target} {unit}", met=value <= target)

"""Identity: how well people are told apart, whatever the order, and what a record costs.

Cluster F1 counts all pairs against all true pairs, at the shipped threshold. Twice for each data set: with the model of a fresh
install, and with the one that `c360 identity train` learns from the same records without being told who is who.
"""

import gc
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from benchmarks import identity_live, identity_page, identity_pictures, known_people, simulated_traffic
from benchmarks.harness import Result
from benchmarks.known_people import Known, Scores
from services.identity.graph.ownership import divide
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.matching.judge import Judge
from services.identity.matching.matcher import Matcher
from services.identity.matching.model import Model, default
from services.identity.matching.record import Record
from services.identity.matching.resolve import Decisions, Limits, resolve
from services.identity.training.people import make_records
from services.identity.training.train import Options, train
from services.stack.stack import Stack

TRAIN_SEED = 1
TRAFFIC_SEEDS = (1, 2, 3)
ORDERS = 20  # sorted and reversed among them
ORDERED_RECORDS = 2_000
KNOWN_RECORDS = 100_000
PEOPLE = 50_000  # of whom there are more records than that
MEASURED = 3_000
LATENCY_SEED = 5
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
    one = Limits(one_per_source=True)
    febrl, bare = known_people.febrl(3, with_national_id=True), known_people.febrl(3, with_national_id=False)
    yield from _both_models("febrl3", febrl, {"": (Limits(), 0.9995)})
    yield from _both_models("febrl3_without_national_id", bare, {"": (Limits(), 0.9990)})
    yield from _both_models("census", known_people.census(), {"": (Limits(), 0.986), "_one_per_source": (one, 0.998)})


def _both_models(name: str, known: Known, variants: dict[str, tuple[Limits, float]]) -> Iterator[Result]:
    records, person_of = known
    own = train(list(records.values()), Options(seed=TRAIN_SEED, trained_on=name)).model
    for trained, model in (("own_model", own), ("default_model", default())):
        for variant, (limits, target) in variants.items():
            precision, recall, f1 = scores(records, person_of, model, limits)
            label = f"{name}{variant}/{trained}"
            yield at_least(f"{label} F1", f1, target if trained == "own_model" else None)
            yield Result(name=f"{label} precision", value=precision, unit="")
            yield Result(name=f"{label} recall", value=recall, unit="")


def _others() -> Iterator[Result]:
    """With the model of a fresh install, on further data; `known_people` says which of it was looked at before."""
    for name, known in known_people.others().items():
        for variant, limits in (("", Limits()), ("_one_per_source", Limits(one_per_source=True))):
            if not variant or len({record.source for record in known[0].values()}) > 1:
                yield Result(name=f"{name}{variant}/default_model F1", value=scores(*known, default(), limits)[2], unit="")


def scores(records: dict[str, Record], person_of: dict[str, str], model: Model, limits: Limits) -> Scores:
    return Scores.of(resolve(records, Judge(model), limits, Decisions()).groups(), person_of)


def _orders() -> Iterator[Result]:
    """One by one in many orders, a tenth deleted again, blocks small enough to retire, against all at once."""
    records = make_records(ORDERED_RECORDS, LATENCY_SEED)[:ORDERED_RECORDS]
    gone = {record.id for record in records[::10]}
    limits = Limits(max_block=12)
    expected = resolve({r.id: r for r in records if r.id not in gone}, Judge(default()), limits, Decisions()).group_of
    moved = 0
    for order in _in_orders(records, key=lambda record: record.id):
        matcher = Matcher(Judge(default()), limits)
        for record in order:
            matcher.add(record)
        for record_id in sorted(gone):
            matcher.remove(record_id)
        moved += sum(matcher.group_of[record_id] != group for record_id, group in expected.items())
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
    matcher = Matcher(Judge(default()))
    for record in records[:KNOWN_RECORDS]:
        matcher.add(record)
    gc.collect()
    gc.freeze()
    samples = []
    for record in records[KNOWN_RECORDS : KNOWN_RECORDS + MEASURED]:
        started = time.perf_counter()
        matcher.add(record)
        samples.append((time.perf_counter() - started) * 1_000)
    yield at_most("new_record p50", statistics.median(samples), 1, "ms")
    yield at_most("new_record p99", statistics.quantiles(samples, n=100)[98], 5, "ms")


def at_least(name: str, value: float, target: float | None) -> Result:
    if target is None:
        return Result(name=name, value=value, unit="")
    return Result(name=name, value=value, unit="", target=f">= {target}", met=value >= target)


def at_most(name: str, value: float, target: float, unit: str) -> Result:
    return Result(name=name, value=value, unit=unit, target=f"<= {target} {unit}", met=value <= target)

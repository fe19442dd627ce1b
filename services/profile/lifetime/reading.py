"""Purchases from files that `c360 export` wrote, as what the models are fitted to: one row a customer."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from services.profile.domain.computed.definitions import MAX_NUMBER
from services.profile.domain.computed.lifetime_value import bought
from shared.instants import DAY, EPOCH

FORMATS = (".jsonl", ".ndjson", ".csv", ".parquet")
_DAY_S = DAY // 1_000_000


class NotReadable(Exception):
    """The text says which file and why; it has nothing of what is in it."""


class Table(NamedTuple):
    """By customer, each list in the same order: days with a purchase after the first, the first to the last of them in days, the
    first to the end of what was observed, and what was spent on a day of repetition, on average; 0 without one."""

    repeats: list[int]
    recency_days: list[float]
    age_days: list[float]
    mean_value: list[float]


Spent = dict[str, dict[int, float]]  # by customer, then by day


def read(paths: list[Path], events: frozenset[str], value: str) -> Spent:
    """What was spent on which day of UTC. `value` is a path in the event's properties, such as `total` or `order.total`.

    Raises NotReadable.
    """
    amounts: dict[str, dict[int, list[float]]] = {}
    for path in paths:
        for place, row in enumerate(_rows(path), 1):
            try:
                _count(amounts, row, events, value)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise NotReadable(f"{path.name}, row {place}: no event as `c360 export` writes it") from error
    spent = {customer: days for customer, paid in amounts.items() if (days := bought(paid))}
    if not spent:
        raise NotReadable(f"none of the files has an event {' or '.join(sorted(events))} with a number in properties.{value}")
    return spent


def _count(amounts: dict[str, dict[int, list[float]]], row: dict[str, Any], events: frozenset[str], value: str) -> None:
    if row.get("name") in events and (amount := _amount(row.get("properties"), value)) is not None:
        amounts.setdefault(str(row["customer_id"]), {}).setdefault(_day(row["occurred_at"]), []).append(amount)


def table_of(spent: Spent, until_day: int | None = None) -> Table:
    """Of what happened before a day; without one, of all, up to the last day on which anybody bought."""
    end = until_day if until_day is not None else max(day for days in spent.values() for day in days)
    table = Table([], [], [], [])
    for _, days in sorted(spent.items()):
        bought = sorted(day for day in days if until_day is None or day < until_day)
        if not bought:
            continue
        again = bought[1:]
        table.repeats.append(len(again))
        table.recency_days.append(float(bought[-1] - bought[0]))
        table.age_days.append(float(end - bought[0]))
        table.mean_value.append(sum(days[day] for day in again) / len(again) if again else 0.0)
    return table


def _amount(properties: Any, path: str) -> float | None:
    """Below nothing where it was given back. None when it isn't a number that a computed trait would count."""
    found = json.loads(properties) if isinstance(properties, str) and properties else properties
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, int | float | str) or isinstance(found, bool):
        return None
    try:
        amount = float(found)
    except (ValueError, OverflowError):
        return None
    return amount if abs(amount) <= MAX_NUMBER else None


def _day(instant: Any) -> int:
    moment = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int((moment - EPOCH).total_seconds() // _DAY_S)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix not in FORMATS:
        raise NotReadable(f"{path.name}: read are {', '.join(FORMATS)}")
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(
                columns=["customer_id", "name", "occurred_at", "properties"]
            ):
                yield from batch.to_pylist()
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file) if path.suffix == ".csv" else (json.loads(line) for line in file if line.strip())
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own are ValueErrors
        raise NotReadable(f"{path.name}: {type(error).__name__}") from error

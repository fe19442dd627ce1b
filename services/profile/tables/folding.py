"""Adds records of the log to what is known of their streams."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice

from services.profile.domain.fold import Step, evolve_all, is_timeless
from services.profile.domain.rules import Keeping
from services.profile.tables.snapshots import NEVER, Past
from shared.log import Record
from shared.pieces import AT_ONCE, Pieces
from shared.privacy import REDACTED
from shared.vault import DataKey


def add(past: Past, records: Sequence[Record], key: DataKey | None, keeping: Keeping) -> None:
    """Of one stream. Together they cost less than one by one. Raises EnvelopeBroken."""
    evolve_all((_step(past, record, key) for record in records), past.held.state, keeping)
    past.held.version += len(records)


async def add_all(past: dict[bytes, Past], records: Iterable[Record], keys: Mapping[bytes, DataKey], keeping: Keeping) -> None:
    """Of many streams, each in the order of its versions. Raises EnvelopeBroken."""
    turns = Pieces(AT_ONCE)
    for stream, own in _runs(records):
        add(past.setdefault(stream, Past()), own, keys.get(stream), keeping)
        await turns.done(len(own))


def _runs(records: Iterable[Record]) -> Iterator[tuple[bytes, list[Record]]]:
    """Of one stream each, as many as are folded at once."""
    for stream, own in groupby(records, key=lambda record: record.entry.stream):
        while run := list(islice(own, AT_ONCE)):
            yield stream, run


def by_stream(records: Iterable[Record]) -> Iterator[tuple[bytes, list[Record]]]:
    found: dict[bytes, list[Record]] = {}
    for record in records:
        found.setdefault(record.entry.stream, []).append(record)
    yield from found.items()


def _step(past: Past, record: Record, key: DataKey | None) -> Step:
    entry, held = record.entry, past.held
    public, personal = entry.parts(key)
    held.pos = max(record.pos, held.pos)  # the first of them may be joined from stretches
    past.redacted += personal is REDACTED
    if entry.occurred_at > past.latest_at and not is_timeless(entry):
        past.latest_at = entry.occurred_at
    return record.version, entry, public, personal


def happened_at(record: Record) -> int:
    """Of what is timeless before everything."""
    return NEVER if is_timeless(record.entry) else record.entry.occurred_at

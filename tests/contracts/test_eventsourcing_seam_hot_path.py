"""The seam and the hot path are two ways to the same log: rows alike to the byte, one writer at a time."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import DataError, IntegrityError, JSONTranscoder, OperationalError, ProgrammingError, Tracking
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Fenced
from shared.events.catalogue import Entry
from shared.log import LogReader, LogWriter
from shared.log.seam import LogEvent, PartitionRecorder, SealingMapper
from shared.log.seam.datastore import Datastore
from shared.log.seam.rows import to_entry, to_stored_event
from shared.log.writer import Versioned
from tests.contracts.seam_log import ANNA, BEN, CLARA, KEYS, PARTITIONS, SeamLog, history, identified, key_of

NOW = 1_700_000_000_000_000
mapper = SealingMapper(JSONTranscoder(), key_of)


def stored(events: list[LogEvent]) -> list[Any]:
    return [mapper.to_stored_event(event) for event in events]


def versioned(events: list[LogEvent]) -> list[Versioned]:
    return [Versioned(0, event.originator_version, event.sealed(key_of)) for event in events]


@pytest.fixture
async def pool(seam_log: SeamLog) -> AsyncIterator[Any]:
    pool = await seam_log.pool()
    yield pool
    await pool.close()


async def test_both_write_the_same_rows(make_log: Callable[[], SeamLog]) -> None:
    by_seam, by_hot_path = make_log(), make_log()
    whole = [*history(ANNA), *(identified(ANNA, version, version, city="Lyon") for version in range(5, 300))]
    events = [LogEvent(e.originator_version, e.sealed(key_of), e.public, e.personal) for e in whole]
    batches = (events[:3], events[3:])

    recorder = by_seam.recorder(clock=lambda: NOW)
    recorder.claim()
    pool = await by_hot_path.pool()
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    for number, batch in enumerate(batches, start=1):
        recorder.insert_events(stored(batch), tracking=Tracking("CUSTOMER", number))
        await writer.append(versioned(batch), {"CUSTOMER": number})
    await pool.close()

    for table in ("events", "partition_heads", "merkle_nodes"):
        assert by_seam.rows(table)
        assert by_seam.rows(table) == by_hot_path.rows(table)


async def test_the_hot_path_reads_what_the_seam_wrote(seam_log: SeamLog, pool: Any) -> None:
    recorder = seam_log.recorder()
    recorder.claim()
    recorder.insert_events(stored(history(ANNA)), tracking=Tracking("CUSTOMER", 17))

    records = await LogReader(pool).streams([(0, ANNA.bytes)])
    assert [(r.pos, r.version) for r in records] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [r.entry.personal(KEYS[ANNA.bytes]) for r in records] == [event.personal for event in history(ANNA)]
    assert await LogReader(pool).version(0, ANNA.bytes) == 4
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    assert writer.consumed("CUSTOMER") == 17


async def test_the_seam_reads_what_the_hot_path_wrote(seam_log: SeamLog, pool: Any) -> None:
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    await writer.append(versioned(history(ANNA) + history(BEN)), {"CUSTOMER": 17})

    recorder = seam_log.recorder()
    read = [mapper.to_domain_event(event) for event in recorder.select_events(BEN)]
    assert [event.personal for event in read if isinstance(event, LogEvent)] == [event.personal for event in history(BEN)]
    notifications = recorder.select_notifications(start=4, limit=2)
    assert [(n.id, n.originator_id, n.originator_version) for n in notifications] == [(4, ANNA, 4), (5, BEN, 1)]
    of_two_topics = recorder.select_notifications(None, 10, topics=["customer.founded/1", "customer.linked/1"])
    assert [n.id for n in of_two_topics] == [1, 2, 5, 6]
    assert (recorder.max_notification_id(), recorder.max_tracking_id("CUSTOMER")) == (8, 17)


async def test_reading_through_the_seam_fences_nobody(seam_log: SeamLog, pool: Any) -> None:
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    seam_log.recorder().select_events(ANNA)
    await writer.append(versioned(history(ANNA)), {})


async def test_a_seam_that_claims_fences_the_hot_path(seam_log: SeamLog, pool: Any) -> None:
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    recorder = seam_log.recorder()
    recorder.claim()
    with pytest.raises(Fenced):
        await writer.append(versioned(history(ANNA)), {"CUSTOMER": 1})
    assert seam_log.rows("events") == []
    recorder.insert_events(stored(history(ANNA)))


async def test_a_hot_path_that_claims_fences_the_seam(seam_log: SeamLog, pool: Any) -> None:
    recorder = seam_log.recorder()
    recorder.claim()
    recorder.insert_events(stored(history(ANNA)))
    writer = LogWriter(pool, [0], clock=lambda: NOW)
    await writer.claim()
    with pytest.raises(Fenced):
        recorder.insert_events(stored(history(BEN)))
    with pytest.raises(Fenced):
        recorder.insert_tracking(Tracking("CUSTOMER", 1))
    await writer.append(versioned(history(BEN)), {})
    assert [row["pos"] for row in seam_log.rows("events")] == list(range(8))


def test_of_two_recorders_the_last_that_claimed_writes(seam_log: SeamLog) -> None:
    earlier, later = seam_log.recorder(), seam_log.recorder()
    earlier.claim()
    later.claim()
    with pytest.raises(Fenced):
        earlier.insert_events(stored(history(ANNA)))
    assert later.insert_events(stored(history(ANNA))) == [1, 2, 3, 4]
    earlier.claim()
    assert earlier.insert_events(stored(history(BEN))) == [5, 6, 7, 8]


def test_recorded_instants_rise_although_the_clock_stands_still(seam_log: SeamLog) -> None:
    recorder = seam_log.recorder(clock=lambda: NOW)
    recorder.claim()
    recorder.insert_events(stored(history(ANNA)[:2]))
    recorder.insert_tracking(Tracking("CUSTOMER", 1))
    recorder.insert_events(stored(history(ANNA)[2:]))
    assert [row["recorded_at"] for row in seam_log.rows("events")] == [NOW, NOW, NOW + 1, NOW + 1]


def test_a_taken_version_or_tracking_id_leaves_everything_as_it_was(seam_log: SeamLog) -> None:
    recorder = seam_log.recorder()
    recorder.claim()
    recorder.insert_events(stored(history(ANNA)), tracking=Tracking("CUSTOMER", 5))
    before = (seam_log.rows("events"), seam_log.rows("partition_heads"))
    with pytest.raises(IntegrityError):
        recorder.insert_events(stored(history(BEN) + history(ANNA)[:1]), tracking=Tracking("CUSTOMER", 6))
    with pytest.raises(IntegrityError):
        recorder.insert_events(stored(history(BEN)), tracking=Tracking("CUSTOMER", 5))
    assert (seam_log.rows("events"), seam_log.rows("partition_heads")) == before


def test_a_hole_in_a_stream_is_refused(seam_log: SeamLog) -> None:
    recorder = seam_log.recorder()
    recorder.claim()
    for hole in (history(ANNA)[1:], [*history(ANNA)[:2], history(ANNA)[3]]):
        with pytest.raises(IntegrityError):
            recorder.insert_events(stored(hole))
    assert seam_log.rows("events") == []


def test_nobody_writes_without_having_claimed(seam_log: SeamLog) -> None:
    with pytest.raises(ProgrammingError):
        seam_log.recorder().insert_events(stored(history(ANNA)))


def test_a_stream_of_another_partition_is_refused(seam_log: SeamLog) -> None:
    recorder = seam_log.recorder(partition=0)
    recorder.claim()
    with pytest.raises(DataError):
        recorder.insert_events(stored(history(CLARA)))


class BreaksOnce(Datastore):
    """Loses the connection around one commit: `armed` says on which side."""

    armed = ""

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        armed, self.armed = self.armed, ""
        with super().transaction() as cursor:
            yield cursor
            if armed == "before":
                raise OperationalError("lost")
        if armed == "after":
            raise OperationalError("lost")


@pytest.fixture
def breaking(seam_log: SeamLog) -> BreaksOnce:
    datastore = BreaksOnce(seam_log.url, seam_log.schema)
    seam_log.remember(datastore)
    return datastore


def test_a_commit_whose_answer_was_lost_counts_as_what_it_was(seam_log: SeamLog, breaking: BreaksOnce) -> None:
    recorder = PartitionRecorder(breaking, 0, PARTITIONS)
    recorder.claim()
    breaking.armed = "before"
    with pytest.raises(OperationalError):
        recorder.insert_events(stored(history(ANNA)))
    assert seam_log.rows("events") == []
    breaking.armed = "after"
    assert recorder.insert_events(stored(history(ANNA))) == [1, 2, 3, 4]
    assert recorder.insert_events(stored(history(BEN))) == [5, 6, 7, 8]


def test_after_the_server_dropped_its_connections_it_goes_on(seam_log: SeamLog) -> None:
    recorder = seam_log.recorder()
    recorder.claim()
    with psycopg.connect(seam_log.admin_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s",
            [f"c360 seam {seam_log.schema}"],
        )
    assert recorder.max_notification_id() is None
    assert recorder.insert_events(stored(history(ANNA))) == [1, 2, 3, 4]


@given(
    st.builds(
        Entry,
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=16, max_size=16),
        st.text(min_size=1),
        st.integers(0, 2**31 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(),
        st.binary(),
    )
)
def test_an_entry_survives_the_frame(entry: Entry) -> None:
    assert to_entry(to_stored_event(entry, 1)) == entry

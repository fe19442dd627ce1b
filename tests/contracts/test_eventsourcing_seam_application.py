"""The library's Application and Repository on our log: commands, replay, and what erasure leaves."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import InfrastructureFactoryError, IntegrityError, Tracking

from services.profile.domain.fold import evolve
from services.profile.domain.golden import golden_record
from services.profile.domain.rules_document import SHIPPED_RULES
from services.profile.domain.state import State, fork, state_hash
from shared.errors import Fenced, WrongState
from shared.events.catalogue import UnknownEvent
from shared.log import LogReader, LogWriter
from shared.log.seam import LogEvent, PartitionRecorder, Replayed, projector
from shared.log.writer import Versioned
from shared.privacy import REDACTED
from shared.vault import DataKey, EnvelopeBroken
from tests.contracts import seam_log as world
from tests.contracts.seam_log import ANNA, BEN, HOUR, SeamLog, history, identified, key_of

as_customer = projector(State, fork, partial(evolve, keeping=SHIPPED_RULES.keeping))


@pytest.fixture
def open_application(seam_log: SeamLog) -> Iterator[Callable[..., Application[UUID]]]:
    opened: list[Application[UUID]] = []

    def open_one(**environment: str) -> Application[UUID]:
        opened.append(Application[UUID](env={**seam_log.environment(), **environment}))
        return opened[-1]

    yield open_one
    for application in opened:
        application.close()


@pytest.fixture
def application(open_application: Callable[..., Application[UUID]]) -> Application[UUID]:
    application = open_application()
    recorder_of(application).claim()
    return application


def recorder_of(application: Application[UUID]) -> PartitionRecorder:
    assert isinstance(application.recorder, PartitionRecorder)
    return application.recorder


def replay(application: Application[UUID], customer: UUID, version: int | None = None) -> Replayed[State]:
    return application.repository.get(customer, version=version, projector_func=as_customer)


@pytest.fixture
async def pool(seam_log: SeamLog) -> AsyncIterator[Any]:
    pool = await seam_log.pool()
    yield pool
    await pool.close()


@pytest.fixture
def erased(monkeypatch: pytest.MonkeyPatch) -> Callable[[UUID], None]:
    return lambda customer: monkeypatch.delitem(world.KEYS, customer.bytes)


def test_a_saved_customer_is_replayed(application: Application[UUID]) -> None:
    recordings = application.save(*history(ANNA))
    assert [recording.notification.id for recording in recordings] == [1, 2, 3, 4]
    anna = replay(application, ANNA)
    assert (anna.id, anna.version) == (ANNA, 4)
    golden = golden_record({ANNA.bytes: anna.state}, SHIPPED_RULES)
    assert {name: trait.value for name, trait in golden.traits.items()} == {"city": "Lyon", "first_name": "Anna", "tier": "gold"}


def test_a_customer_is_replayed_as_of_a_version(application: Application[UUID]) -> None:
    application.save(*history(ANNA))
    assert replay(application, ANNA, version=2).state.traits == {}
    assert replay(application, ANNA, version=3).version == 3


async def test_the_hot_path_s_fold_and_the_replay_agree(application: Application[UUID], pool: Any) -> None:
    application.save(*history(ANNA))
    folded = State()
    for record in await LogReader(pool).streams([(0, ANNA.bytes)]):
        evolve(folded, record.entry, record.entry.public(), record.entry.personal(key_of(ANNA.bytes)), SHIPPED_RULES.keeping)
    assert state_hash(replay(application, ANNA).state) == state_hash(folded)


async def test_what_the_hot_path_wrote_is_replayed(open_application: Callable[..., Application[UUID]], pool: Any) -> None:
    writer = LogWriter(pool, [0], clock=lambda: HOUR)
    await writer.claim()
    await writer.append([Versioned(0, event.originator_version, event.sealed(key_of)) for event in history(ANNA)], {})
    reading = open_application()
    assert replay(reading, ANNA).version == 4
    await writer.append([Versioned(0, 5, identified(ANNA, 5, 9 * HOUR, city="Nice").sealed(key_of))], {})
    assert replay(reading, ANNA).version == 5


async def test_an_application_is_fenced_by_a_later_writer(application: Application[UUID], pool: Any) -> None:
    await LogWriter(pool, [0], clock=lambda: HOUR).claim()
    with pytest.raises(Fenced):
        application.save(*history(ANNA))
    with pytest.raises(AggregateNotFoundError):
        replay(application, ANNA)


def test_a_command_on_an_old_version_is_refused(application: Application[UUID]) -> None:
    application.save(*history(ANNA))
    with pytest.raises(IntegrityError):
        application.save(identified(ANNA, 4, 9 * HOUR, city="Nice"))
    assert replay(application, ANNA).version == 4


def test_a_cached_customer_is_brought_up_to_date_and_the_earlier_one_stays(
    application: Application[UUID], open_application: Callable[..., Application[UUID]]
) -> None:
    application.save(*history(ANNA))
    caching = open_application(AGGREGATE_CACHE_MAXSIZE="10", DEEPCOPY_FROM_AGGREGATE_CACHE="n")
    earlier = replay(caching, ANNA)
    hash_before = state_hash(earlier.state)
    application.save(identified(ANNA, 5, 9 * HOUR, city="Nice"))
    assert replay(caching, ANNA).version == 5
    assert (earlier.version, state_hash(earlier.state)) == (4, hash_before)


def test_events_and_the_position_consumed_commit_together(application: Application[UUID]) -> None:
    application.events.put(history(ANNA), tracking=Tracking("CUSTOMER", 3))
    with pytest.raises(IntegrityError):
        application.events.put(history(BEN), tracking=Tracking("CUSTOMER", 3))
    assert recorder_of(application).max_tracking_id("CUSTOMER") == 3
    assert [item.id for item in application.notification_log["1,10"].items] == [1, 2, 3, 4]


def test_an_erased_customer_is_replayed_with_nothing_readable(
    application: Application[UUID], erased: Callable[[UUID], None]
) -> None:
    application.save(*history(ANNA))
    erased(ANNA)
    read = [event for event in application.events.get(ANNA) if isinstance(event, LogEvent)]
    assert [event.personal for event in read] == [None, REDACTED, REDACTED, REDACTED]
    anna = replay(application, ANNA)
    assert (anna.version, anna.state.founding_number, anna.state.traits) == (4, 7, {})
    assert [identifier.value for identifier in anna.state.identifiers.values()] == [None]


def test_an_erased_customer_gets_no_new_personal_data(application: Application[UUID], erased: Callable[[UUID], None]) -> None:
    erased(ANNA)
    with pytest.raises(WrongState) as refused:
        application.save(*history(ANNA))
    assert refused.value.reason == "KEY_MISSING"
    assert recorder_of(application).max_notification_id() is None


def test_what_was_erased_can_be_copied_as_it_is(
    application: Application[UUID], make_log: Callable[[], SeamLog], erased: Callable[[UUID], None]
) -> None:
    application.save(*history(ANNA))
    erased(ANNA)
    copy = make_log().recorder()
    copy.claim()
    copy.insert_events([application.mapper.to_stored_event(event) for event in application.events.get(ANNA)])
    assert copy.select_events(ANNA) == recorder_of(application).select_events(ANNA)


def test_a_live_key_that_does_not_open_it_is_an_alarm(application: Application[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    application.save(*history(ANNA))
    monkeypatch.setitem(world.KEYS, ANNA.bytes, DataKey(b"?" * 32))
    with pytest.raises(EnvelopeBroken):
        replay(application, ANNA)


def test_an_event_of_a_newer_release_stops_the_replay(application: Application[UUID]) -> None:
    stored = application.mapper.to_stored_event(history(ANNA)[0])
    newer = type(stored)(stored.originator_id, stored.originator_version, "customer.founded/2", stored.state)
    recorder_of(application).insert_events([newer])
    with pytest.raises(UnknownEvent):
        replay(application, ANNA)


def test_a_snapshot_has_no_place_in_the_log(open_application: Callable[..., Application[UUID]]) -> None:
    with pytest.raises(InfrastructureFactoryError):
        open_application(IS_SNAPSHOTTING_ENABLED="y")


def test_neither_an_event_nor_an_error_shows_personal_data(application: Application[UUID], seam_log: SeamLog) -> None:
    application.save(*history(ANNA))
    shown = [repr(event) for event in (*history(ANNA), *application.events.get(ANNA))]
    with pytest.raises(IntegrityError) as refused:
        application.save(*history(ANNA))
    shown.append(f"{refused.value!r} {refused.value.__cause__!r}")
    shown += [repr(notification) for notification in application.notification_log["1,10"].items]
    shown += [repr(row) for row in seam_log.rows("events")]
    for canary in ("anna@shop.example", "Lyon", "Anna"):
        assert canary not in "".join(shown)

"""The shared persistence cases of the `eventsourcing` library, run against our log on a real server.

They run as the library ships them. Every exception is in DEVIATIONS with its reason, and the last test finds one that isn't.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from unittest import TestCase
from uuid import UUID

import eventsourcing.cryptography
import pytest
from eventsourcing.persistence import InfrastructureFactoryError, Notification, StoredEvent, Tracking
from eventsourcing.utils import Environment

from shared.events.catalogue import Entry
from shared.log.seam import LogFactory, PartitionRecorder
from shared.log.seam.datastore import Datastore
from shared.log.seam.rows import frame, to_entry
from tests.contracts.seam_log import SeamLog

# The cases import a cipher which needs a package that we don't have; the library's other one, on `cryptography`, does the same.
sys.modules.setdefault("eventsourcing.cipher", eventsourcing.cryptography)

from eventsourcing.tests import persistence as cases  # noqa: E402

NOT_APP_WIDE = (
    "A key of the application would make erasure of one person impossible, and compression before sealing leaks by its length: "
    "the factory refuses both, and our version of the test says so."
)
OUR_FORM = (
    "The log takes events of the form type_id/schema_version with a framed state only. The cases send 'topic1' and b'state1': "
    "underneath these travel as the type and the header of an event."
)
DEVIATIONS = {
    "eventsourcing.cipher": "Stands on PyCryptodome, which this project doesn't use; replaced by eventsourcing.cryptography.",
    "InOurForm.insert_events": OUR_FORM,
    "InOurForm.select_events": OUR_FORM,
    "InOurForm.select_notifications": OUR_FORM,
    "InOurForm.first_versions": "Some of the cases begin a stream with version 0, some with 1; a stream of ours begins with 1.",
    "WithoutIds.insert_events": (
        "The case for recorders that are no application recorders wants None for an answer; all of ours return notification ids."
    ),
    "InfrastructureFactoryTestCase.test_mapper_with_cipher": NOT_APP_WIDE,
    "InfrastructureFactoryTestCase.test_mapper_with_compressor": NOT_APP_WIDE,
    "InfrastructureFactoryTestCase.test_mapper_with_cipher_and_compressor": NOT_APP_WIDE,
    "InfrastructureFactoryTestCase.test_mapper_with_wrong_cipher_key": NOT_APP_WIDE,
    "TranscoderTestCase": "Is about JSON of arbitrary classes. Our events are coded by the catalogue; every version has an example.",
}


class InOurForm(PartitionRecorder):
    """Lets the cases store what they like."""

    first_versions = frozenset({0, 1})

    def insert_events(
        self, stored_events: Sequence[StoredEvent], *, tracking: Tracking | None = None, **kwargs: Any
    ) -> Sequence[int]:
        return super().insert_events([_framed(stored) for stored in stored_events], tracking=tracking, **kwargs)

    def select_events(self, originator_id: UUID | str, **kwargs: Any) -> Sequence[StoredEvent]:
        return [_plain(stored) for stored in super().select_events(originator_id, **kwargs)]

    def select_notifications(
        self, start: int | None, limit: int, stop: int | None = None, topics: Sequence[str] = (), **kwargs: Any
    ) -> Sequence[Notification]:
        topics = [f"{topic}/1" for topic in topics]
        return [_plain(notification) for notification in super().select_notifications(start, limit, stop, topics, **kwargs)]


class WithoutIds(InOurForm):
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:  # type: ignore[override]
        super().insert_events(stored_events, **kwargs)


Stored = TypeVar("Stored", bound=StoredEvent)


def _framed(stored: Stored) -> Stored:
    return replace(stored, topic=f"{stored.topic}/1", state=frame(Entry(b"", bytes(16), "", 1, 0, stored.state)))


def _plain(stored: Stored) -> Stored:
    return replace(stored, topic=stored.topic.removesuffix("/1"), state=to_entry(stored).header)


class OnALog(TestCase):
    """Each test has an empty log of one partition, and a recorder that is its writer."""

    recorder_class: type[PartitionRecorder] = InOurForm

    @pytest.fixture(autouse=True)
    def _log(self, seam_log: SeamLog) -> None:
        self.log = seam_log

    def create_recorder(self) -> Any:
        recorder = self.recorder_class(self.log.remember(Datastore(self.log.url, self.log.schema)), partition=0, partitions=1)
        recorder.claim()
        return recorder


class TestAggregateRecorder(OnALog, cases.AggregateRecorderTestCase):
    recorder_class = WithoutIds


class TestApplicationRecorder(OnALog, cases.ApplicationRecorderTestCase[PartitionRecorder]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestTrackingRecorder(OnALog, cases.TrackingRecorderTestCase):
    pass


class TestProcessRecorder(OnALog, cases.ProcessRecorderTestCase):
    pass


class TestNotificationIdsDontInterleave(OnALog, cases.NonInterleavingNotificationIDsBaseCase):
    pass


class TestFactory(OnALog, cases.InfrastructureFactoryTestCase[LogFactory]):
    @pytest.fixture(autouse=True)
    def _environment(self, seam_log: SeamLog) -> None:
        self.env = Environment("Seam", seam_log.environment())

    def expected_factory_class(self) -> type[LogFactory]:
        return LogFactory

    def expected_aggregate_recorder_class(self) -> type[PartitionRecorder]:
        return PartitionRecorder

    def expected_application_recorder_class(self) -> type[PartitionRecorder]:
        return PartitionRecorder

    def expected_tracking_recorder_class(self) -> type[PartitionRecorder]:
        return PartitionRecorder

    def expected_process_recorder_class(self) -> type[PartitionRecorder]:
        return PartitionRecorder

    def tracking_recorder_subclass(self) -> type[PartitionRecorder]:
        return InOurForm

    def test_mapper_with_cipher(self) -> None:
        self._assert_refused(CIPHER_KEY="of the whole application")
        self._assert_refused(CIPHER_TOPIC="eventsourcing.cipher:AESCipher")

    def test_mapper_with_compressor(self) -> None:
        self._assert_refused(COMPRESSOR_TOPIC="zlib")

    def test_mapper_with_cipher_and_compressor(self) -> None:
        self._assert_refused(CIPHER_KEY="of the whole application", COMPRESSOR_TOPIC="zlib")

    def test_mapper_with_wrong_cipher_key(self) -> None:
        self._assert_refused(SEAM_CIPHER_KEY="of the application named Seam")

    def _assert_refused(self, **environment: str) -> None:
        factory = LogFactory(Environment("Seam", {**self.env, **environment}))
        with pytest.raises(InfrastructureFactoryError):
            factory.mapper()


OURS = (
    TestAggregateRecorder,
    TestApplicationRecorder,
    TestTrackingRecorder,
    TestProcessRecorder,
    TestNotificationIdsDontInterleave,
    TestFactory,
)


def test_every_deviation_from_the_library_s_cases_is_listed() -> None:
    assert set(_deviations()) == DEVIATIONS.keys()


def _deviations() -> Iterator[str]:
    if sys.modules["eventsourcing.cipher"].__name__ != "eventsourcing.cipher":
        yield "eventsourcing.cipher"
    for adapter in (InOurForm, WithoutIds):
        yield from (f"{adapter.__name__}.{name}" for name in _own(adapter))
    for case in _cases_of_the_library():
        ours = [our for our in OURS if issubclass(our, case)]
        if not ours:
            yield case.__name__
        for our in ours:
            yield from (f"{case.__name__}.{name}" for name in _changed(case, our))


def _cases_of_the_library() -> list[type[TestCase]]:
    """All that hold tests, those of a later release too."""
    found = [case for case in vars(cases).values() if isinstance(case, type) and issubclass(case, TestCase)]
    return [case for case in found if case.__module__ == cases.__name__ and any(name.startswith("test") for name in _own(case))]


def _changed(case: type, our: type) -> Iterator[str]:
    for base in case.__mro__[: case.__mro__.index(TestCase)]:
        for name, original in _own(base).items():
            if not getattr(original, "__isabstractmethod__", False) and getattr(our, name) is not original:
                yield name


def _own(owner: type) -> dict[str, Any]:
    """Tests, and also what steers them (versions start at 1, notification ids are contiguous)."""
    return {name: value for name, value in vars(owner).items() if not name.startswith("_")}

"""The test of the containers finds one that didn't wait."""

import json

from tests.compose.order import cut_off, happenings, too_early

MIGRATE_WAITS = {"migrate": {"postgres": "service_healthy"}, "ingest": {"migrate": "service_completed_successfully"}}


def told(container: str, action: str, at: int, **attributes: str) -> dict[str, object]:
    """As `docker events` does."""
    about = {"com.docker.compose.service": container} | attributes
    event = {"Type": "container", "Action": action, "Actor": {"Attributes": about}, "timeNano": at}
    return dict(json.loads(json.dumps(event)))


IN_ORDER = [
    told("postgres", "start", 1),
    told("postgres", "health_status: healthy", 2),
    told("migrate", "start", 3),
    told("migrate", "die", 4, exitCode="0"),
    told("ingest", "start", 5),
]


def test_who_waited_is_not_named() -> None:
    assert too_early(MIGRATE_WAITS, happenings(IN_ORDER)) == []


def test_who_started_before_another_was_healthy_is_named() -> None:
    late = [event | {"timeNano": 9} if event["Action"] == "health_status: healthy" else event for event in IN_ORDER]
    assert too_early(MIGRATE_WAITS, happenings(late)) == ["migrate started before postgres was healthy"]


def test_who_went_on_after_another_failed_is_named() -> None:
    failed = [told("migrate", "die", 4, exitCode="2") if event["Action"] == "die" else event for event in IN_ORDER]
    assert too_early(MIGRATE_WAITS, happenings(failed)) == ["ingest started before migrate was die 0"]


def test_the_first_start_counts_and_not_a_later_one() -> None:
    again = [told("ingest", "start", 0), *IN_ORDER]
    assert too_early(MIGRATE_WAITS, happenings(again)) == ["ingest started before migrate was die 0"]


def test_who_was_cut_off_is_named() -> None:
    happened = happenings([told("profile", "die", 1, exitCode="137"), told("ingest", "die", 2, exitCode="0")])
    assert cut_off(happened) == ["profile: die 137"]


def test_what_is_no_container_is_passed_over() -> None:
    assert happenings([{"Type": "network", "Action": "connect", "Actor": {"Attributes": {"name": "back"}}, "timeNano": 1}]) == []

"""What changed in a profile, through the real path: by which event, and what a purpose isn't told."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2 as consent
from c360.ingest.v1 import ingest_pb2 as ingest
from c360.profile.v1 import history_pb2 as pb
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier, timestamp
from tests.live.command import Command

NOW = datetime.now(UTC)
TIMEOUT_S = 20


@dataclass
class Family:
    """Somebody whom a shop knew by a device, then by a user id, and then by both: with when each became known."""

    platform: Platform
    user: str
    device: str
    customer: CustomerRef
    known: list[Timestamp]

    def diff(self, old: pb.Point, new: pb.Point | None = None, purpose: str = "audit") -> pb.DiffProfileResponse:
        request = pb.DiffProfileRequest(customer=self.customer, purpose=purpose, old=old, new=new)
        return self.platform.history.DiffProfile(request, timeout=TIMEOUT_S)


def identified(hours_ago: float, traits: dict[str, Any], user_id: str = "", anonymous_id: str = "") -> ingest.Event:
    values = Struct()
    values.update(traits)
    return ingest.Event(
        type=ingest.EVENT_TYPE_IDENTIFY,
        user_id=user_id,
        anonymous_id=anonymous_id,
        traits=values,
        original_time=timestamp(NOW - timedelta(hours=hours_ago)),
        message_id=str(uuid.uuid4()),
    )


@pytest.fixture(scope="module")
def family(stack: Stack) -> Iterator[Family]:
    with Platform(stack.endpoints) as platform:
        write_key = platform.register_source(f"changes-{uuid.uuid4().hex[:8]}")
        user, device = f"u-{uuid.uuid4()}", f"d-{uuid.uuid4()}"
        known = []
        for event in (
            identified(3, {"city": "Hull"}, anonymous_id=device),
            identified(2, {"city": "Kiel", "first_name": "Ann"}, user_id=user),
            identified(1, {"first_name": "Anna", "shoe_size": 39}, user_id=user, anonymous_id=device),
        ):
            position = platform.record(write_key, event).position
            named = ("user_id", event.user_id) if event.user_id else ("anonymous_id", event.anonymous_id)
            entries = platform.get_timeline(by_identifier(*named), "audit", position)
            known.append(max((entry.record_time for entry in entries), key=Timestamp.ToNanoseconds))
        yield Family(platform, user, device, by_identifier("anonymous_id", device), known)


def shown(found: pb.DiffProfileResponse) -> dict[str, Any]:
    return {one.name: (one.old.value.string_value, one.new.value.string_value, one.cause.kind) for one in found.traits}


def test_a_merge_brings_what_the_other_had_and_an_event_what_it_says(family: Family) -> None:
    found = family.diff(pb.Point(known_at=family.known[1]), pb.Point(known_at=family.known[2]))
    assert [(one.joined, one.cause.kind) for one in found.members] == [(True, "merged")]
    assert {(one.identifier.namespace, one.linked, one.cause.kind) for one in found.identifiers} == {("user_id", True, "merged")}
    assert {name: shown(found)[name] for name in ("city", "first_name")} == {
        "city": ("Hull", "Kiel", "merged"),
        "first_name": ("", "Anna", "identified"),
    }
    assert (found.old.member_count, found.new.member_count) == (1, 2)
    assert next(one.cause.source for one in found.traits if one.name == "first_name").startswith("changes-")


def test_the_other_way_round_it_is_undone(family: Family) -> None:
    found = family.diff(pb.Point(known_at=family.known[2]), pb.Point(known_at=family.known[1]))
    assert shown(found)["city"] == ("Kiel", "Hull", "merged")
    assert all(one.cause.undone for one in found.traits)
    assert [(one.joined, one.cause.kind) for one in found.members] == [(False, "merged")]


def test_what_had_happened_by_an_instant_counts_whenever_we_learnt_it(family: Family) -> None:
    found = family.diff(pb.Point(valid_at=timestamp(NOW - timedelta(hours=2.5))), pb.Point(valid_at=timestamp(NOW)))
    assert not found.members, "that two are one was always so"
    assert shown(found)["city"] == ("Hull", "Kiel", "identified")


def test_before_anything_had_happened_all_is_new(family: Family) -> None:
    found = family.diff(pb.Point(valid_at=timestamp(NOW - timedelta(days=9))))
    assert not found.HasField("old")
    assert len(found.members) == 2
    assert all(one.cause.kind for one in found.members)


def test_what_a_purpose_may_not_see_is_told_by_name_alone(family: Family) -> None:
    found = family.diff(pb.Point(known_at=family.known[1]), purpose="service")
    assert shown(found).keys() == {"first_name"}
    assert [(one.field, one.reason) for one in found.withheld] == [("city", "NOT_IN_PURPOSE"), ("shoe_size", "NOT_IN_PURPOSE")]


def test_what_the_person_decides_is_told_with_the_decision_to_who_may_see_it(family: Family) -> None:
    purpose = family.platform.define_purpose("city")
    decided = family.platform.decide(Identifier(namespace="user_id", value=family.user), purpose, consent.OUTCOME_GRANTED)
    found = family.diff(pb.Point(known_at=family.known[2]))
    [told] = found.decided
    assert (told.purpose, told.old_outcome, told.new_outcome) == (purpose, "", "granted")
    assert (told.cause.kind, told.cause.event_id) == ("decided", decided.decision_id)
    assert ("decided", "decided") in changes(family)
    of_itself = family.diff(pb.Point(known_at=family.known[2]), purpose=purpose)
    assert [one.cause.event_id for one in of_itself.decided] == [decided.decision_id]


def test_a_decision_that_was_told_of_later_was_not_known_before(family: Family) -> None:
    """It had been taken by then all the same."""
    request = consent.RecordDecisionRequest(
        request_id=str(uuid.uuid4()),
        identifier=Identifier(namespace="user_id", value=family.user),
        purpose="analytics",
        outcome=consent.OUTCOME_REFUSED,
        decide_time=timestamp(NOW - timedelta(minutes=30)),
    )
    decided = family.platform.consent.RecordDecision(request, timeout=TIMEOUT_S)
    known = family.diff(pb.Point(known_at=family.known[2]))
    [told] = [one for one in known.decided if one.purpose == "analytics"]
    assert (told.new_outcome, told.cause.event_id) == ("refused", decided.decision_id)
    assert told.cause.occur_time.ToDatetime(UTC) == NOW - timedelta(minutes=30)
    assert told.cause.record_time.ToNanoseconds() > family.known[2].ToNanoseconds()
    happened = family.diff(pb.Point(valid_at=timestamp(NOW - timedelta(minutes=20))))
    assert "analytics" not in [one.purpose for one in happened.decided], "as known now it held by then"


def test_the_command_shows_old_and_new_and_why(family: Family, stack: Stack) -> None:
    person, since = f"user_id:{family.user}", family.known[1].ToJsonString()
    options = ("profile", "diff", person, "--purpose", "audit", "--from", since, "--timeout", str(TIMEOUT_S))
    told = Command(stack.data_directory).run(*options).stdout
    assert "Anna" in told
    assert "identified" in told


def changes(family: Family, **asked: Any) -> list[tuple[str, str]]:
    """What changed and because of what, in order, two at a time."""
    request = pb.ListProfileChangesRequest(customer=family.customer, purpose="audit", page_size=2, **asked)
    found: list[pb.DatedChange] = []
    while True:
        page = family.platform.history.ListProfileChanges(request, timeout=TIMEOUT_S)
        found += page.changes
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    told = [(one.WhichOneof("change"), getattr(one, one.WhichOneof("change") or "")) for one in found]
    return [
        (f"{change.name}={change.new.value.string_value}" if kind == "trait" else str(kind), change.cause.kind)
        for kind, change in told
    ]


def test_a_history_is_told_as_it_became_known_or_as_it_came_to_be(family: Family) -> None:
    told = changes(family, traits=["city", "first_name"])
    assert told == [("city=Hull", "identified"), ("city=Kiel", "merged"), ("first_name=Anna", "identified")]
    happened = changes(family, traits=["city", "first_name"], order=pb.CHANGE_ORDER_HAPPENED)
    assert happened == [(f"{name}", "identified") for name in ("city=Hull", "city=Kiel", "first_name=Ann", "first_name=Anna")]
    assert [kind for kind, _ in changes(family)].count("member") == 2


@pytest.fixture(scope="module")
def repeated(family: Family) -> tuple[str, Timestamp]:
    """Somebody of whom one source said the city, and another the same, and a first name; and when the first was known."""
    user = by_identifier("user_id", f"u-{uuid.uuid4()}")
    known: list[Timestamp] = []
    for hours_ago, traits in ((2, {"city": "Kiel"}), (1, {"city": "Kiel", "first_name": "Ann"})):
        write_key = family.platform.register_source(f"again-{uuid.uuid4().hex[:8]}")
        event = identified(hours_ago, traits, user_id=user.identifier.value)
        position = family.platform.record(write_key, event).position
        entries = family.platform.get_timeline(user, "audit", position)
        known.append(max((entry.record_time for entry in entries), key=Timestamp.ToNanoseconds))
    return user.identifier.value, known[0]


def test_a_value_that_another_source_says_too_is_no_difference_but_is_counted(
    family: Family, repeated: tuple[str, Timestamp]
) -> None:
    user, since = repeated
    asked = pb.DiffProfileRequest(customer=by_identifier("user_id", user), purpose="audit", old=pb.Point(known_at=since))
    found = family.platform.history.DiffProfile(asked, timeout=TIMEOUT_S)
    assert (set(shown(found)), found.said_again_count) == ({"first_name"}, 1)
    asked.said_again = True
    found = family.platform.history.DiffProfile(asked, timeout=TIMEOUT_S)
    assert ({one.name: one.said_again for one in found.traits}, found.said_again_count) == ({"city": True, "first_name": False}, 0)
    [city] = [one for one in found.traits if one.name == "city"]
    assert (city.old.value, city.cause.kind) == (city.new.value, "identified")
    assert city.old.source != city.new.source
    asked.ClearField("said_again")
    asked.traits.append("city")
    found = family.platform.history.DiffProfile(asked, timeout=TIMEOUT_S)
    assert (len(found.traits), found.said_again_count) == (0, 1)
    asked.purpose = "service"
    found = family.platform.history.DiffProfile(asked, timeout=TIMEOUT_S)
    assert (found.said_again_count, list(found.withheld)) == (0, []), "what it may not see didn't change, and isn't counted"


def test_the_commands_show_what_was_said_again_when_they_are_told_to(
    family: Family, repeated: tuple[str, Timestamp], stack: Stack
) -> None:
    user, since = repeated
    c360 = Command(stack.data_directory)
    options = (f"user_id:{user}", "--purpose", "audit", "--timeout", str(TIMEOUT_S))
    told = c360.run("profile", "diff", *options, "--from", since.ToJsonString()).stdout
    assert "Kiel" not in told
    assert "1 with the same value as before: see --said-again" in " ".join(told.split())
    told = c360.run("profile", "diff", *options, "--from", since.ToJsonString(), "--said-again").stdout
    assert "said again)" in " ".join(told.split())
    told = c360.run("profile", "history", *options, "--json").stdout
    assert told.count('"city"') == 1
    told = c360.run("profile", "history", *options, "--json", "--said-again").stdout
    assert told.count('"city"') == 2


def test_the_command_tells_the_history_of_a_trait(family: Family, stack: Stack) -> None:
    person = f"anonymous_id:{family.device}"
    options = ("profile", "history", person, "--purpose", "audit", "--trait", "city", "--timeout", str(TIMEOUT_S))
    c360 = Command(stack.data_directory)
    told = c360.run(*options).stdout
    assert told.index("Hull") < told.index("Kiel")
    hidden = c360.run("profile", "history", person, "--purpose", "service", "--timeout", str(TIMEOUT_S))
    assert "city (NOT_IN_PURPOSE)" in hidden.stderr
    assert "Hull" not in hidden.stdout

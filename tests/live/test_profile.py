"""Profiles through the real path: read your own writes, both times, merges, watches, notices."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from c360.common.v1.common_pb2 import Identifier, Position
from c360.ingest.v1 import ingest_pb2 as ingest
from c360.profile.v1 import history_pb2
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from services.profile.domain.state import MAX_TRAITS
from services.stack.stack import Stack
from shared import bus
from shared.bus import Follower
from shared.events.wire import PROFILE_STREAM, decode_notice
from shared.rpc.errors import reason_of
from tests.e2e.client import Platform, by_id, by_identifier, timestamp
from tests.waiting import WAITS_S

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def write_key(platform: Platform) -> str:
    return platform.register_source(f"reads-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def other_key(platform: Platform) -> str:
    return platform.register_source(f"batch-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def person() -> str:
    return f"person-{uuid.uuid4().hex[:12]}"


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def identify(user_id: str, at: datetime, **traits: Any) -> ingest.Event:
    values = Struct()
    values.update(traits)
    return ingest.Event(
        type=ingest.EVENT_TYPE_IDENTIFY, user_id=user_id, traits=values, original_time=timestamp(at), message_id=str(uuid.uuid4())
    )


def track(name: str, at: datetime, user_id: str = "", anonymous_id: str = "") -> ingest.Event:
    return ingest.Event(
        type=ingest.EVENT_TYPE_TRACK,
        name=name,
        user_id=user_id,
        anonymous_id=anonymous_id,
        original_time=timestamp(at),
        message_id=str(uuid.uuid4()),
    )


def values_of(profile: pb.Profile) -> dict[str, Any]:
    return {name: getattr(trait.value, trait.value.WhichOneof("kind") or "") for name, trait in profile.traits.items()}


def test_a_write_is_read_with_its_position_and_without_sleeping(platform: Platform, write_key: str, person: str) -> None:
    for number in range(5):
        position = platform.record(write_key, identify(person, ago(5 - number), tier=f"tier {number}")).position
        assert values_of(platform.get_profile(by_identifier("user_id", person), "audit", position)) == {"tier": f"tier {number}"}


def test_the_most_recent_value_wins_by_when_it_happened_not_by_when_it_came(
    platform: Platform, write_key: str, other_key: str, person: str
) -> None:
    platform.record(write_key, identify(person, ago(10), city="Bremen"))
    position = platform.record(other_key, identify(person, ago(60), city="Hull", language="en")).position
    profile = platform.get_profile(by_identifier("user_id", person), "audit", position)
    assert values_of(profile) == {"city": "Bremen", "language": "en"}


def test_a_repeated_message_has_no_second_effect(platform: Platform, write_key: str, person: str) -> None:
    event = track("Order Completed", ago(1), user_id=person)
    platform.record(write_key, event, event)
    position = platform.record(write_key, event).position
    assert len(platform.get_timeline(by_identifier("user_id", person), "audit", position, kinds=("tracked",))) == 1


def test_at_the_same_instant_the_later_in_a_batch_wins(platform: Platform, write_key: str, person: str) -> None:
    """The clocks of SDKs tick in milliseconds, and files often have no times at all."""
    people = [f"{person}-{number}" for number in range(12)]
    pairs = [identify(name, at, city=city) for name in people for at, city in ((ago(5), "Hull"), (ago(5), "Bremen"))]
    position = platform.record(write_key, *pairs).position
    timeless = [ingest.Event(type=e.type, user_id=e.user_id + "-t", traits=e.traits, message_id=str(uuid.uuid4())) for e in pairs]
    position = platform.record(write_key, *timeless).position
    cities = [values_of(platform.get_profile(by_identifier("user_id", n), "audit", position))["city"] for n in people]
    assert cities == ["Bremen"] * len(people)
    cities = [values_of(platform.get_profile(by_identifier("user_id", n + "-t"), "audit", position))["city"] for n in people]
    assert cities == ["Bremen"] * len(people)
    kinds = [e.kind for e in platform.get_timeline(by_identifier("user_id", people[0]), "audit")]
    assert kinds == ["identified", "identified", "linked", "founded"], "latest first, also where the instant is the same"


def test_a_sender_that_invents_traits_can_not_make_a_profile_that_nobody_can_read(
    platform: Platform, write_key: str, person: str
) -> None:
    for part in range(6):
        event = identify(person, ago(5), **{f"invented-{part}-{number}": "x" * 20 for number in range(400)}, bulky="x" * 5_000)
        position = platform.record(write_key, event).position
    profile = platform.get_profile(by_identifier("user_id", person), "audit", position)
    assert len(profile.traits) == MAX_TRAITS
    assert [cut.field for cut in profile.truncated if cut.not_all_kept] == ["traits"]
    assert "bulky" not in profile.traits
    asked: dict[str, Any] = {"customer": by_identifier("user_id", person), "purpose": "audit"}
    before = history_pb2.Point(version=2)
    found = platform.history.DiffProfile(history_pb2.DiffProfileRequest(old=before, **asked), timeout=20)
    assert found.new.not_all_kept, "what of the rest changed isn't told"
    assert platform.history.ListProfileChanges(history_pb2.ListProfileChangesRequest(**asked), timeout=20).not_all_kept


def test_that_a_value_is_too_large_for_a_profile_is_said(platform: Platform, write_key: str, person: str) -> None:
    platform.record(write_key, identify(person, ago(10), memo="short"))
    position = platform.record(write_key, identify(person, ago(5), memo="x" * 5_000, note="x" * 5_000)).position
    profile = platform.get_profile(by_identifier("user_id", person), "audit", position)
    assert (values_of(profile), profile.traits["memo"].cut) == ({"memo": "short"}, True)
    assert [(cut.field, list(cut.too_large)) for cut in profile.truncated] == [("traits", ["note"])]


def test_null_removes_a_trait_and_the_past_still_has_it(platform: Platform, write_key: str, person: str) -> None:
    platform.record(write_key, identify(person, ago(10), nickname="Sunny"))
    position = platform.record(write_key, identify(person, ago(5), nickname=None)).position
    customer = by_identifier("user_id", person)
    assert values_of(platform.get_profile(customer, "audit", position)) == {}
    assert values_of(platform.get_profile(customer, "audit", valid_at=ago(6))) == {"nickname": "Sunny"}


def test_valid_time_and_known_time_are_asked_apart(platform: Platform, write_key: str, person: str) -> None:
    first = platform.record(write_key, identify(person, ago(30), city="Bremen")).position
    customer = by_identifier("user_id", person)
    platform.get_profile(customer, "audit", first)
    entries = platform.get_timeline(customer, "audit")
    knew_first = max(entry.record_time.ToDatetime(UTC) for entry in entries)
    second = platform.record(write_key, identify(person, ago(20), city="Kiel")).position
    assert values_of(platform.get_profile(customer, "audit", second)) == {"city": "Kiel"}
    assert values_of(platform.get_profile(customer, "audit", known_at=knew_first)) == {"city": "Bremen"}
    assert values_of(platform.get_profile(customer, "audit", valid_at=ago(25))) == {"city": "Bremen"}
    assert values_of(platform.get_profile(customer, "audit", valid_at=ago(15), known_at=knew_first)) == {"city": "Bremen"}
    for valid_at, known_at in ((ago(40), None), (None, ago(60))):
        with pytest.raises(grpc.RpcError) as refused:
            platform.get_profile(customer, "audit", valid_at=valid_at, known_at=known_at)
        assert reason_of(refused.value) == "CUSTOMER_UNKNOWN"


def test_every_id_of_merged_customers_answers_with_the_canonical_profile(platform: Platform, write_key: str, person: str) -> None:
    device = f"device-{person}"
    platform.record(write_key, track("Page Read", ago(9), anonymous_id=device))
    before = platform.record(write_key, identify(person, ago(8), city="Bremen")).position
    ids = [
        platform.get_profile(by_identifier(*ref), "audit", before).customer_id
        for ref in (("anonymous_id", device), ("user_id", person))
    ]
    assert len(set(ids)) == 2
    merged = platform.record(write_key, track("Logged In", ago(7), user_id=person, anonymous_id=device)).position
    profiles = [platform.get_profile(by_id(customer_id), "audit", merged) for customer_id in ids]
    assert profiles[0] == profiles[1]
    assert profiles[0].customer_id == ids[0]
    assert list(profiles[0].member_ids) == ids
    names = [e.name for e in platform.get_timeline(by_id(ids[1]), "audit", kinds=("tracked",))]
    assert names == ["Logged In", "Page Read"]
    assert {e.kind for e in platform.get_timeline(by_id(ids[0]), "audit")} >= {
        "founded",
        "linked",
        "merged",
        "tracked",
        "identified",
    }


def test_a_read_of_the_present_equals_a_replay_of_the_log(platform: Platform, write_key: str, person: str) -> None:
    for number in range(20):
        platform.record(write_key, identify(person, ago(number), **{f"trait{number % 3}": number}))
    position = platform.newest_position(write_key)
    customer = by_identifier("user_id", person)
    now = platform.get_profile(customer, "audit", position)
    replayed = platform.get_profile(customer, "audit", known_at=datetime.now(UTC))
    assert (replayed.state_hash, replayed.version, replayed.traits) == (now.state_hash, now.version, now.traits)


def test_a_timeline_is_paged_without_a_gap_or_a_repeat(platform: Platform, write_key: str, person: str) -> None:
    position = platform.record(write_key, *(track(f"Step {n % 7}", ago(n % 5), user_id=person) for n in range(25))).position
    request = pb.GetTimelineRequest(
        customer=by_identifier("user_id", person), purpose="audit", page_size=4, at_least_as_fresh=[position]
    )
    entries: list[pb.TimelineEntry] = []
    while True:
        page = platform.profile.GetTimeline(request, timeout=10)
        assert len(page.entries) <= 4
        entries += page.entries
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    whole = platform.get_timeline(by_identifier("user_id", person), "audit")
    assert [e.event_id for e in entries] == [e.event_id for e in whole]
    assert [e.occur_time.ToNanoseconds() for e in whole] == sorted((e.occur_time.ToNanoseconds() for e in whole), reverse=True)


def test_the_call_centre_sees_the_web_order(platform: Platform, write_key: str, other_key: str, person: str) -> None:
    """Once the caller's number is known to be the visitor's: what each channel told is one timeline."""
    phone, device = f"+4930901{uuid.uuid4().int % 10**6:06}", f"device-{person}"
    platform.record(write_key, track("Order Completed", ago(30), anonymous_id=device))
    call = identify("", ago(20), phone=phone)
    call.anonymous_id = f"call-{person}"
    platform.record(other_key, call, track("Call Answered", ago(20), anonymous_id=call.anonymous_id))
    signed_up = identify(person, ago(10), phone=phone)
    signed_up.anonymous_id = device
    position = platform.record(write_key, signed_up).position
    request = pb.GetTimelineRequest(
        customer=by_identifier("phone", phone), purpose="service", kinds=["tracked"], at_least_as_fresh=[position]
    )

    def told() -> list[tuple[str, str]]:
        return [(entry.name, entry.source[:5]) for entry in platform.profile.GetTimeline(request, timeout=10).entries]

    assert told() == [("Call Answered", "batch"), ("Order Completed", "reads")]
    for field, values in (("names", ["Order Completed"]), ("sources", [entry_source(platform, request, "Order Completed")])):
        narrowed = pb.GetTimelineRequest()
        narrowed.CopyFrom(request)
        getattr(narrowed, field).extend(values)
        assert [entry.name for entry in platform.profile.GetTimeline(narrowed, timeout=10).entries] == ["Order Completed"]
    request.until_time.CopyFrom(timestamp(ago(25)) or request.until_time)
    assert told() == [("Order Completed", "reads")]
    request.purpose = "analytics"  # which doesn't see events
    request.names.append("Order Completed")
    assert told() == [], "a filter tells nothing that the purpose may not see"


def entry_source(platform: Platform, request: pb.GetTimelineRequest, name: str) -> str:
    return next(entry.source for entry in platform.profile.GetTimeline(request, timeout=10).entries if entry.name == name)


def test_what_the_purpose_may_not_see_is_absent_and_named(platform: Platform, write_key: str, person: str) -> None:
    position = platform.record(write_key, identify(person, ago(2), first_name="Ann", shoe_size=39)).position
    profile = platform.get_profile(by_identifier("user_id", person), "service", position)
    assert values_of(profile) == {"first_name": "Ann"}
    assert [(w.field, w.reason) for w in profile.withheld] == [("shoe_size", "NOT_IN_PURPOSE")]


def watch(platform: Platform, request: pb.WatchProfileRequest, states: list[pb.Profile], seen: threading.Event) -> Any:
    call = platform.profile.WatchProfile(request, timeout=20)

    def read() -> None:
        try:
            for response in call:
                states.append(response.profile)
                seen.set()
        except grpc.RpcError:
            seen.set()

    threading.Thread(target=read, daemon=True).start()
    return call


def test_a_watch_sends_the_newest_state_and_resumes_after_a_position(platform: Platform, write_key: str, person: str) -> None:
    customer = by_identifier("user_id", person)
    first = platform.get_profile(customer, "audit", platform.record(write_key, identify(person, ago(9), city="Bremen")).position)
    states: list[pb.Profile] = []
    seen = threading.Event()
    call = watch(platform, pb.WatchProfileRequest(customer=customer, purpose="audit", resume_after=first.positions), states, seen)
    assert not seen.wait(0.3), "nothing has changed since"
    platform.record(write_key, identify(person, ago(8), city="Kiel"))
    assert seen.wait(10)
    call.cancel()
    assert [values_of(state) for state in states] == [{"city": "Kiel"}]


def test_a_watch_follows_a_merge(platform: Platform, write_key: str, person: str) -> None:
    device = f"device-{person}"
    platform.get_profile(
        by_identifier("anonymous_id", device),
        "audit",
        platform.record(write_key, track("Page Read", ago(9), anonymous_id=device)).position,
    )
    known = platform.record(write_key, identify(person, ago(8), city="Bremen")).position
    states: list[pb.Profile] = []
    seen = threading.Event()
    call = watch(
        platform,
        pb.WatchProfileRequest(customer=by_identifier("anonymous_id", device), purpose="audit", at_least_as_fresh=[known]),
        states,
        seen,
    )
    assert seen.wait(10)
    seen.clear()
    platform.record(write_key, track("Logged In", ago(7), user_id=person, anonymous_id=device))
    assert seen.wait(10)
    platform.record(write_key, identify(person, ago(6), city="Kiel"))
    deadline = datetime.now(UTC) + timedelta(seconds=10)
    while values_of(states[-1]) != {"city": "Kiel"}:
        assert datetime.now(UTC) < deadline
        seen.wait(0.1)
    call.cancel()


def test_a_position_that_never_comes_is_refused_within_the_deadline(platform: Platform, write_key: str, person: str) -> None:
    platform.record(write_key, identify(person, ago(1), city="Bremen"))
    far = Position(log="ingest", number=2**62)
    for timeout_s in WAITS_S:
        with pytest.raises(grpc.RpcError) as refused:
            platform.get_profile(by_identifier("user_id", person), "audit", far, timeout_s=timeout_s)
        if reason_of(refused.value):
            break
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.UNAVAILABLE, "NOT_FRESH_ENOUGH")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.GetProfileRequest(customer=by_id(str(uuid.uuid4()))), "PURPOSE_MISSING"),
        (pb.GetProfileRequest(purpose="nonsense", customer=by_id(str(uuid.uuid4()))), "PURPOSE_UNKNOWN"),
        (pb.GetProfileRequest(purpose="audit"), "CUSTOMER_MISSING"),
        (pb.GetProfileRequest(purpose="audit", customer=by_id("17")), "CUSTOMER_ID_INVALID"),
        (pb.GetProfileRequest(purpose="audit", customer=by_id(str(uuid.uuid4()))), "CUSTOMER_UNKNOWN"),
        (pb.GetProfileRequest(purpose="audit", customer=by_identifier("email", "nobody@shop.example")), "IDENTIFIER_UNKNOWN"),
        (pb.GetProfileRequest(purpose="audit", customer=by_identifier("email", "not an address")), "IDENTIFIER_INVALID"),
        (
            pb.GetProfileRequest(purpose="audit", customer=by_id(str(uuid.uuid4())), valid_at=timestamp(NOW + timedelta(days=1))),
            "INSTANT_IN_FUTURE",
        ),
        (
            pb.GetProfileRequest(purpose="audit", customer=by_id(str(uuid.uuid4())), at_least_as_fresh=[Position(log="nonsense")]),
            "POSITION_INVALID",
        ),
    ],
)
def test_bad_requests_are_refused_with_their_reason(platform: Platform, request_: pb.GetProfileRequest, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        platform.profile.GetProfile(request_, timeout=10)
    assert reason_of(refused.value) == reason


async def test_notices_cover_every_position_once_and_name_no_one(
    stack: Stack, platform: Platform, write_key: str, person: str
) -> None:
    position = platform.record(write_key, identify(person, ago(1), email=f"{person}@shop.example")).position
    profile = platform.get_profile(by_identifier("user_id", person), "audit", position)
    newest = {p.partition: p.number for p in profile.positions}
    client = await bus.connect(stack.broker_url, "test")
    follower = Follower(client, PROFILE_STREAM, 0)
    covered: dict[int, int] = {}
    async with asyncio.timeout(20):
        while any(covered.get(partition, -1) < number for partition, number in newest.items()):
            for message in await follower.take():
                notice = decode_notice(message.data)
                assert notice.first == covered.get(notice.partition, -1) + 1
                covered[notice.partition] = notice.last
                assert person.encode() not in message.data
    await client.close()


def test_an_identifier_is_found_however_it_is_written(platform: Platform, write_key: str, person: str) -> None:
    position = platform.record(write_key, identify(person, ago(1), email=f"{person}@Shop.Example", phone="+49 30 901820")).position
    by_email = platform.get_profile(by_identifier("email", f" {person.upper()}@shop.example"), "audit", position)
    assert by_email.customer_id == platform.resolve("user_id", person).customer_id
    assert Identifier(namespace="email", value=f"{person}@shop.example") in by_email.identifiers


def test_an_event_that_comes_late_gives_what_it_would_have_given_in_time(platform: Platform, write_key: str, person: str) -> None:
    email = f"{person}@shop.example"
    platform.record(write_key, identify(person, ago(5), email=email, city="Kiel"))
    position = platform.record(write_key, identify(person, ago(9), email=email, city="Bremen")).position
    between = platform.get_profile(by_identifier("user_id", person), "audit", position, valid_at=ago(7))
    assert {identifier.value for identifier in between.identifiers} == {person, email}
    assert between.found_time.ToDatetime(UTC) == ago(9)

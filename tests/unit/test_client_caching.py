"""What a channel backend's client keeps is bounded in number, size and age; and what somebody dropped isn't kept by whoever comes late."""

import time
from typing import Any

import pytest
from customer360_client import Caching, Settings, by_identifier
from customer360_client.caching import Cache, Kept
from customer360_client.calls import Call
from customer360_client.errors import make_error
from customer360_client.messages import CheckResponse, Position
from customer360_client.plans import Plans
from customer360_client.positions import Positions
from customer360_client.protos.c360.profile.v1.profile_pb2 import GetProfileResponse, Profile
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

ADA = by_identifier("email", "ada@example.com")
KEYS = st.integers(0, 5).map(lambda number: (b"service", bytes([number])))
STEPS = st.one_of(
    st.tuples(st.just("keep"), KEYS, st.integers(0, 40)),
    st.tuples(st.just("drop"), KEYS, st.just(0)),
    st.tuples(st.just("pass"), st.just(()), st.integers(0, 8)),
    st.tuples(st.just("clear"), st.just(()), st.just(0)),
)
AGE_S = 10


@given(st.lists(STEPS, max_size=60))
def test_it_never_holds_more_than_it_may_nor_tells_what_is_too_old(steps: list[Any]) -> None:
    now, model = 0.0, dict[Any, Kept]()
    cache = Cache(3, 100, lambda: now)
    for what, key, number in steps:
        match what:
            case "keep":
                model[key] = Kept("tag", bytes(number), now + AGE_S)
                cache.keep(key, model[key], cache.epoch)
            case "drop":
                cache.drop(key)
                model.pop(key, None)
            case "pass":
                now += number
            case "clear":
                cache.clear()
                model.clear()
        assert len(cache) <= 3
        assert 0 <= cache.size_bytes <= 100
        for asked in {*model, key} - {()}:
            found = cache.find(asked)
            assert found is None or (found == model.get(asked) and found.until > now)


def test_what_was_asked_for_before_all_was_dropped_is_not_kept() -> None:
    cache = Cache(3, 100, time.monotonic)
    before = cache.epoch
    cache.clear()
    cache.keep((b"key",), Kept("tag", b"content", time.monotonic() + 60), before)
    assert len(cache) == 0


@pytest.mark.parametrize("bound", [Caching(profiles=0), Caching(profile_bytes=0)])
def test_nothing_is_kept_where_nothing_may_be(bound: Caching) -> None:
    plans = Plans(Settings(caching=bound))
    answered(plans.get_profile(ADA, "service"))
    assert len(plans.profiles.cache) == 0


def answered(call: Call[Any], etag: str = "v1") -> Any:
    return call.finish(GetProfileResponse(profile=Profile(customer_id="c"), etag=etag))


def test_a_profile_is_kept_apart_by_purpose_and_fields() -> None:
    plans = Plans(Settings())
    answered(plans.get_profile(ADA, "service"))
    assert plans.get_profile(ADA, "service").request.unless_etag == "v1"  # type: ignore[attr-defined]
    for other in (plans.get_profile(ADA, "marketing"), plans.get_profile(ADA, "service", fields=["traits.email"])):
        assert other.request.unless_etag == ""  # type: ignore[attr-defined]


def test_a_profile_that_is_refused_is_dropped_and_one_that_nobody_could_tell_of_is_not() -> None:
    plans = Plans(Settings())
    answered(plans.get_profile(ADA, "service"))
    plans.get_profile(ADA, "service").told(make_error(StatusCode.UNAVAILABLE, "nobody listens"))
    assert len(plans.profiles.cache) == 1
    plans.get_profile(ADA, "service").told(make_error(StatusCode.PERMISSION_DENIED, "no", "CONSENT_WITHDRAWN"))
    assert len(plans.profiles.cache) == 0


def judged(plans: Plans, for_s: float = 3.0) -> None:
    response = CheckResponse(permitted=True)
    response.valid_until_time.FromNanoseconds(time.time_ns() + int(for_s * 1e9))
    plans.check(ADA, "service").finish(response)


def test_no_verdict_is_at_hand_unless_the_settings_say_so() -> None:
    plans = Plans(Settings())
    judged(plans)
    assert plans.check(ADA, "service").at_hand is None


def test_a_verdict_is_at_hand_until_it_ends_or_something_is_written_or_it_has_to_be_newer() -> None:
    plans = Plans(Settings(caching=Caching(verdicts=10)))
    judged(plans)
    assert plans.check(ADA, "service").at_hand is not None
    assert plans.check(ADA, "service", fresh=[Position(log="consent", number=7)]).at_hand is None
    plans.verdicts.forget()
    assert plans.check(ADA, "service").at_hand is None
    judged(plans, for_s=-1)
    assert plans.check(ADA, "service").at_hand is None


@given(st.lists(st.tuples(st.sampled_from(["consent", "ingest"]), st.integers(0, 2), st.integers(0, 99)), max_size=20))
def test_positions_are_the_newest_of_each_partition(noted: list[tuple[str, int, int]]) -> None:
    positions = Positions()
    for log, partition, number in noted:
        positions.note([Position(log=log, partition=partition, number=number)])
    newest = {(log, partition): max(n for a, b, n in noted if (a, b) == (log, partition)) for log, partition, _ in noted}
    assert {(one.log, one.partition): one.number for one in positions.newest()} == newest

"""Sources, their keys and their settings: given events, when a command, then an event or an error."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.limiter import Bucket, Limiter
from services.ingest.domain.settings import Settings
from services.ingest.domain.sources import (
    AddKey,
    ChangeSettings,
    Command,
    RegisterSource,
    RevokeKey,
    check,
    decide,
    fold,
    new_write_key,
    write_key_hash,
)
from shared.errors import CustomerError, InvalidInput, LimitExceeded
from shared.events.source import KeyAdded, KeyRevoked, SettingsChanged, SourceRegistered

REGISTER = RegisterSource(request_id="r1", source="shop", write_key="key-of-the-shop")
ADD = AddKey("r2", "shop", "mobile", "key-of-the-app")
REVOKE = RevokeKey("r3", "shop", "first")


def after(*commands: Command) -> list[Any]:
    """The events that these commands make, one after another."""
    events: list[Any] = []
    for command in commands:
        if (event := decide(fold(events), command)) is not None:
            events.append(event)
    return events


def reason(*commands: Command) -> str:
    with pytest.raises(CustomerError) as refused:
        after(*commands)
    return refused.value.reason


def test_a_new_source_keeps_the_hash_of_its_key_and_not_the_key() -> None:
    [event] = after(REGISTER)
    assert isinstance(event, SourceRegistered)
    assert (event.write_key_hash, event.write_key_hint) == (write_key_hash("key-of-the-shop"), "key-of-th")
    assert "key-of-the-shop" not in repr(event) + repr(REGISTER)


def test_the_same_request_again_changes_nothing() -> None:
    commands: list[Command] = [REGISTER, ADD, REVOKE, ChangeSettings("r4", "shop", {"region": "de"})]
    assert after(*commands, *commands) == after(*commands)


def test_a_source_begins_with_the_settings_that_it_is_given() -> None:
    given = {"region": "de", "allowed_types": ("track", "identify"), "trust_rank": 0, "far_future_s": 0}
    register = RegisterSource("r1", "shop", "key", given)
    source = fold(after(register))
    assert source is not None
    assert source.settings == Settings(region="DE", allowed_types=("identify", "track"), trust_rank=0, far_future_s=0)
    assert after(register, register) == after(register)
    assert reason(register, RegisterSource("r1", "shop", "key", {"region": "FR"})) == "REQUEST_ID_REUSED"
    assert reason(RegisterSource("r1", "shop", "key", {"region": "ZZ"})) == "SETTINGS_INVALID"
    assert reason(REGISTER, ChangeSettings("r1", "shop", {})) == "REQUEST_ID_REUSED"


def test_what_was_registered_without_settings_has_those_of_a_new_source() -> None:
    source = fold([SourceRegistered(request_id="r", name="shop", write_key_hash=b"", write_key_hint="")])
    assert source is not None
    assert source.settings == Settings()


def test_a_second_source_of_the_same_name_is_refused() -> None:
    assert reason(REGISTER, RegisterSource("r2", "shop", "other")) == "SOURCE_EXISTS"


def test_a_source_may_have_several_keys_and_one_is_revoked_alone() -> None:
    events = after(REGISTER, ADD, REVOKE)
    assert [type(event) for event in events] == [SourceRegistered, KeyAdded, KeyRevoked]
    assert events[-1].write_key_hash == write_key_hash("key-of-the-shop")
    state = fold(events)
    assert state is not None
    assert state.keys == {"mobile": write_key_hash("key-of-the-app")}


def test_the_name_of_a_key_is_never_given_again() -> None:
    assert reason(REGISTER, REVOKE, AddKey("r4", "shop", "first", "another")) == "KEY_EXISTS"


def test_to_revoke_a_key_again_changes_nothing_and_one_that_never_was_is_unknown() -> None:
    assert after(REGISTER, REVOKE, RevokeKey("r4", "shop", "first")) == after(REGISTER, REVOKE)
    assert reason(REGISTER, REVOKE, RevokeKey("r4", "shop", "second")) == "KEY_UNKNOWN"


@pytest.mark.parametrize("command", [ADD, REVOKE, ChangeSettings("r1", "shop", {})])
def test_nothing_is_changed_of_a_source_that_does_not_exist(command: Command) -> None:
    assert reason(command) == "SOURCE_UNKNOWN"


def test_a_request_id_means_one_thing() -> None:
    assert reason(REGISTER, ADD, AddKey("r2", "shop", "web", "k")) == "REQUEST_ID_REUSED"
    assert reason(REGISTER, RevokeKey("r1", "shop", "first")) == "REQUEST_ID_REUSED"
    assert reason(REGISTER, ChangeSettings("r2", "shop", {"trust_rank": 1}), ChangeSettings("r2", "shop", {"trust_rank": 2})) == (
        "REQUEST_ID_REUSED"
    )


def test_a_change_of_settings_says_all_of_them_and_changes_what_is_said() -> None:
    one = ChangeSettings("r2", "shop", {"region": "de", "allowed_types": ("track", "identify", "track")})
    [_, first, second] = after(REGISTER, one, ChangeSettings("r3", "shop", {"trust_rank": 900}))
    assert isinstance(second, SettingsChanged)
    assert (first.region, first.allowed_types, first.trust_rank) == ("DE", ("identify", "track"), 500)
    assert (second.region, second.trust_rank, second.max_batch_events) == ("DE", 900, Settings().max_batch_events)


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_types": ("identify", "buy")},
        {"region": "Germany"},
        {"region": "ZZ"},
        {"trust_rank": 1_001},
        {"events_per_s": 2_000_000},
        {"max_event_bytes": 0},
        {"max_batch_events": 2_501},
        {"far_past_s": 10**12},
    ],
)
def test_settings_have_limits(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        after(REGISTER, ChangeSettings("r2", "shop", changes))
    assert (refused.value.reason, refused.value.facts["field"]) == ("SETTINGS_INVALID", next(iter(changes)))


@pytest.mark.parametrize("name", ["", "Shop", "my shop", "s" * 65, "shop\n"])
def test_a_name_is_lower_case_letters_digits_and_hyphens(name: str) -> None:
    for command, word in ((RegisterSource("r", name, "key"), "NAME_INVALID"), (RevokeKey("r", "shop", name), "KEY_NAME_INVALID")):
        with pytest.raises(InvalidInput) as refused:
            check(command)
        assert refused.value.reason == word


def test_a_write_key_is_32_random_bytes_in_url_safe_text() -> None:
    assert new_write_key(lambda size: bytes([255]) * size) == "wk_" + "_" * 42 + "8"


def test_a_bucket_gives_a_second_at_once_and_then_its_rate() -> None:
    bucket = Bucket(events_per_s=10, now=0.0)
    bucket.take(10, now=0.0)
    with pytest.raises(LimitExceeded) as refused:
        bucket.take(5, now=0.1)
    assert (refused.value.reason, refused.value.facts["retry_after_s"]) == ("RATE_LIMITED", "1")
    bucket.take(5, now=0.5)


def test_a_whole_batch_passes_however_low_the_limit_is_and_what_comes_next_waits_for_it() -> None:
    bucket = Bucket(events_per_s=5, now=0.0)
    bucket.take(2_500, now=0.0)
    with pytest.raises(LimitExceeded) as refused:
        bucket.take(1, now=0.0)
    assert refused.value.facts["retry_after_s"] == "500"
    bucket.take(1, now=499.5)


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(1, 200), st.floats(0, 30)), max_size=40))
def test_nobody_sends_more_than_the_rate_but_for_a_second_and_one_batch(rate: int, requests: list[tuple[int, float]]) -> None:
    bucket, now, taken, last = Bucket(rate, 0.0), 0.0, 0, 0
    for events, pause_s in requests:
        now += pause_s
        with suppress(LimitExceeded):
            bucket.take(events, now)
            taken, last = taken + last, events
    assert taken <= rate * (now + 1) + 1e-6


@given(st.integers(1, 50), st.lists(st.integers(1, 200), min_size=1, max_size=10))
def test_who_comes_again_when_told_to_passes(rate: int, requests: list[int]) -> None:
    bucket, now = Bucket(rate, 0.0), 0.0
    for events in requests:
        try:
            bucket.take(events, now)
        except LimitExceeded as refused:
            now += int(refused.facts["retry_after_s"])
            bucket.take(events, now)


def test_sources_do_not_take_from_each_other() -> None:
    limiter = Limiter()
    limiter.take("one", 1, 1, now=0.0)
    limiter.take("two", 1, 1, now=0.0)
    limiter.take("free", 0, 10_000, now=0.0)
    with pytest.raises(LimitExceeded):
        limiter.take("one", 1, 1, now=0.5)

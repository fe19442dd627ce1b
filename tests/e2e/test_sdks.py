"""Unmodified SDKs as clients of the whole system: each event that they send stands in a profile, once."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.sdk.counting import entries, expected, most_off, wait_found
from tests.sdk.installing import has_node
from tests.sdk.senders import BROWSER, SDKS, Visits, delivered, finish, needs_node, sending

NODE_MISSING = "node and npm are missing, so the Node and browser SDKs were NOT tried; on Debian: apt-get install nodejs npm"
wants_node = pytest.mark.skipif(not has_node(), reason=NODE_MISSING)
every_sdk = [pytest.param(sdk, marks=wants_node) if needs_node(sdk) else sdk for sdk in SDKS]


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as made:
        yield made


@pytest.fixture
def key(platform: Platform) -> str:
    return platform.register_source(f"sdk-{uuid.uuid4()}")


def visits(people: int, steps: int) -> Visits:
    return Visits(f"sdk-{uuid.uuid4().hex[:12]}", people, steps)


@pytest.mark.parametrize("sdk", every_sdk)
def test_every_event_of_an_unmodified_sdk_is_found_once(platform: Platform, key: str, sdk: str) -> None:
    sent = visits(people=2, steps=3) if sdk in BROWSER else visits(people=5, steps=25)
    with delivered(sdk, platform.url, key, sent):
        assert wait_found(platform, key, sdk, sent) == expected(sdk, sent)


@wants_node
@pytest.mark.parametrize("hours", [-5, 5])
def test_an_sdk_on_a_machine_whose_clock_is_hours_wrong_still_tells_when_things_happened(
    platform: Platform, key: str, hours: int
) -> None:
    sdk, sent = "analytics-node-3", visits(people=1, steps=3)
    with delivered(sdk, platform.url, key, sent, skew_s=hours * 3600):
        assert wait_found(platform, key, sdk, sent) == expected(sdk, sent)
    assert most_off(platform, key, sent) < timedelta(minutes=5)
    for _, entry in entries(platform, key, sent):
        assert abs(entry.original_time.ToDatetime() - entry.receive_time.ToDatetime()) > timedelta(hours=4)


@pytest.mark.parametrize("sdk", ["segment-analytics-python", pytest.param("analytics-node-3", marks=wants_node)])
def test_what_an_sdk_sends_again_because_the_door_was_restarted_is_found_once(
    stack: Stack, platform: Platform, key: str, sdk: str
) -> None:
    sent = visits(people=40, steps=25)
    with sending(sdk, platform.url, key, sent) as process:
        for _ in range(2):
            stack.kill("ingest")
            stack.wait_ready("ingest")
        finish(sdk, process)
    assert wait_found(platform, key, sdk, sent) == expected(sdk, sent)

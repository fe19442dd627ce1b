"""What of the visits that an SDK sent stands in profiles."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import grpc
from c360.profile.v1.profile_pb2 import TimelineEntry

from tests.e2e.client import Platform, by_identifier
from tests.sdk.senders import WITHOUT_SCREENS, Visits

PURPOSE = "audit"
ARRIVAL_DEADLINE_S = 30.0
POLL_S = 0.2
KINDS = ("identified", "tracked", "page_viewed", "screen_viewed", "grouped", "aliased")

What = Counter[tuple[str, str, str]]  # (user id, kind, name)


def expected(sdk: str, visits: Visits) -> What:
    kinds = [("identified", ""), ("page_viewed", "Home"), ("grouped", ""), ("aliased", "")]
    kinds += [("tracked", f"Step {step}") for step in range(1, visits.steps + 1)]
    kinds += [] if sdk in WITHOUT_SCREENS else [("screen_viewed", "Start")]
    return Counter((user_id, kind, name) for user_id in visits.user_ids for kind, name in kinds)


def found(platform: Platform, write_key: str, visits: Visits) -> What:
    return Counter((user_id, entry.kind, entry.name) for user_id, entry in entries(platform, write_key, visits))


def entries(platform: Platform, write_key: str, visits: Visits) -> Iterator[tuple[str, TimelineEntry]]:
    """(user id, entry) of all that is in their profiles now; an unknown person has none."""
    position = platform.newest_position(write_key)
    for user_id in visits.user_ids:
        try:
            timeline = platform.get_timeline(by_identifier("user_id", user_id), PURPOSE, position, kinds=KINDS)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            continue
        yield from ((user_id, entry) for entry in timeline)


def wait_found(platform: Platform, write_key: str, sdk: str, visits: Visits) -> What:
    """What is found once it is as many as were sent, or when time is up."""
    give_up_at = time.monotonic() + ARRIVAL_DEADLINE_S
    while (now := found(platform, write_key, visits)).total() < expected(sdk, visits).total() and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
    return now


def most_off(platform: Platform, write_key: str, visits: Visits) -> timedelta:
    """How far the instants of the events lie from when we received them, at most."""
    return max(
        abs(entry.receive_time.ToDatetime() - entry.occur_time.ToDatetime()) for _, entry in entries(platform, write_key, visits)
    )

"""What is told of each type where it is registered, every reader of customers' streams finds there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from services.profile.domain.fold import happened_by
from shared.events import customer as events
from shared.events.catalogue import CATALOGUE, Entry, EventType
from shared.events.wire import EventKind

PROTO = Path(__file__).parents[2] / "protos/c360/profile/v1/profile.proto"


def entry_of(kind: EventType, occurred_at: int = 5) -> Entry:
    return Entry(bytes(16), bytes(16), kind.id, kind.version, occurred_at, b"")


def test_the_proto_names_every_kind_that_a_timeline_shows() -> None:
    """A type that is registered is in timelines by its name, without a list that somebody has to keep."""
    comment = re.search(r"// What kind: (.*?)string kind", PROTO.read_text(), re.DOTALL)
    assert comment is not None
    assert set(re.findall(r'"(\w+)"', comment.group(1))) == {entry_of(kind).kind for kind in events.TYPES}


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE.values() if kind.public is events.Activity], ids=lambda kind: kind.id)
def test_an_activity_is_called_something_by_sources(kind: EventType) -> None:
    assert events.ACTIVITIES[kind.call] is kind
    assert kind.id in events.ACTIVITY_IDS


def test_whatever_sources_may_send_has_a_type_of_its_own() -> None:
    assert set(events.ACTIVITIES) == set(get_args(EventKind))


@pytest.mark.parametrize("kind", events.TYPES, ids=lambda kind: kind.id)
def test_a_type_in_customers_streams_says_whether_it_counts_before_it_happened(kind: EventType) -> None:
    assert kind.timeless is not None, "say at its registration whether it is timeless"
    assert happened_by(entry_of(kind, occurred_at=5), 4) is kind.timeless
    assert happened_by(entry_of(kind, occurred_at=5), 5)

"""Old versions of an event reach every reader in its newest form; versions of a newer release are told apart from broken bytes."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import customer as events
from shared.events.catalogue import (
    CATALOGUE,
    GRAPH,
    Entry,
    EventType,
    GraphFact,
    UnknownEvent,
    Upcaster,
    encode,
    make_entry,
    make_type,
)
from shared.poison import Halted, Run
from shared.privacy import REDACTED, Personal
from shared.vault import DataKey

EXAMPLES = Path(__file__).parents[1] / "examples"
KEY = DataKey(b"k" * 32)
STREAM, EVENT_ID = b"s" * 16, b"e" * 16


class Money(msgspec.Struct, frozen=True):
    amount: float
    currency: str


class Ordered(Personal, frozen=True, kw_only=True):
    """`customer.tracked` as a later release might have it: an order's total is money."""

    event_name: str
    total: Money | None = None
    context: dict[str, Any] = {}


def rename(personal: dict[str, Any]) -> dict[str, Any]:
    return {"event_name": personal["name"], **{name: value for name, value in personal.items() if name != "name"}}


def price(personal: dict[str, Any]) -> dict[str, Any]:
    total = personal.get("properties", {}).get("total")
    money = None if total is None else {"amount": float(total), "currency": "EUR"}
    return {"event_name": personal["event_name"], "total": money, "context": personal.get("context", {})}


EVOLVED = make_type(
    events.TRACKED.id,
    3,
    events.Activity,
    Ordered,
    upcasters=[Upcaster("`name` is called `event_name`", personal=rename), Upcaster("the total has a currency", personal=price)],
)


@pytest.fixture
def later_release(monkeypatch: pytest.MonkeyPatch) -> EventType:
    monkeypatch.setitem(CATALOGUE, EVOLVED.id, EVOLVED)
    return EVOLVED


def kept_example() -> tuple[bytes, bytes]:
    """(header, personal part) as the first release wrote them."""
    example = json.loads((EXAMPLES / "customer.tracked.v1.json").read_text())
    return base64.b64decode(example["header"]), base64.b64decode(example["sealed"])


def stored(header: bytes, personal: bytes, version: int) -> Entry:
    envelope = KEY.seal(personal, EVOLVED.forms[version - 1].binding(STREAM, EVENT_ID))
    return Entry(STREAM, EVENT_ID, EVOLVED.id, version, 7, header, envelope)


def test_an_event_of_the_first_release_is_read_in_the_newest_form(later_release: EventType) -> None:
    entry = stored(*kept_example(), version=1)
    assert entry.public().source == "web"
    personal = entry.personal(KEY)
    assert isinstance(personal, Ordered)
    assert (personal.event_name, personal.total) == ("Order Completed", Money(12.5, "EUR"))


def test_a_version_in_between_goes_through_the_rest_of_the_chain(later_release: EventType) -> None:
    header, _ = kept_example()
    personal = stored(header, encode({"event_name": "Order Completed", "properties": {"total": 3}}), version=2).personal(KEY)
    assert isinstance(personal, Ordered)
    assert personal.total == Money(3.0, "EUR")


def test_the_newest_version_goes_through_no_upcaster(later_release: EventType) -> None:
    now = Ordered(event_name="Order Completed", total=Money(1.0, "CHF"))
    public = events.Activity(source="web", resolved_by=b"h", received_at=0)
    assert make_entry(later_release, STREAM, EVENT_ID, 7, public, now, KEY).personal(KEY) == now


def test_an_old_version_whose_key_is_gone_is_redacted(later_release: EventType) -> None:
    assert stored(*kept_example(), version=1).personal(None) is REDACTED


def test_bytes_that_no_upcaster_understands_are_broken_and_not_quoted(later_release: EventType) -> None:
    header, _ = kept_example()
    with pytest.raises(msgspec.DecodeError) as broken:
        stored(header, encode({"nickname": "Sunny"}), version=1).personal(KEY)
    assert "Sunny" not in str(broken.value)


@given(st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.text(max_size=5)), st.integers(1, 3))
def test_whatever_was_stored_is_read_or_is_broken_and_nothing_else(personal: dict[str, Any], version: int) -> None:
    read = EVOLVED.forms[version - 1].read_personal
    assert read is not None
    with contextlib.suppress(msgspec.DecodeError):
        assert isinstance(read(encode(personal)), Ordered)


@pytest.mark.parametrize(("type_id", "version"), [("customer.founded", 2), ("customer.founded", 0), ("customer.praised", 1)])
def test_a_type_or_version_of_a_newer_release_is_named(type_id: str, version: int) -> None:
    with pytest.raises(UnknownEvent, match=f"{type_id} version {version}") as unknown:
        Entry(STREAM, EVENT_ID, type_id, version, 0, b"\x80").public()
    assert isinstance(unknown.value, Halted)


def test_a_version_without_its_upcaster_can_not_be_registered() -> None:
    with pytest.raises(AssertionError):
        make_type("customer.tracked", 2, events.Activity)


class CustomersSplit(GraphFact, frozen=True, kw_only=True):
    """Of a release that this one knows nothing of."""

    other: bytes


def test_an_unknown_event_tells_whether_it_may_be_skipped() -> None:
    split = Entry(STREAM, EVENT_ID, "customer.split", 1, 0, encode(CustomersSplit(other=b"o" * 16)))
    assert split.bears_on == GRAPH
    assert Entry(STREAM, EVENT_ID, "customer.praised", 1, 0, encode({"by": "us"})).bears_on == ""


def test_a_run_of_poison_halts_and_a_good_one_ends_it() -> None:
    run = Run(limit=3)
    assert [run.poison(), run.poison()] == [1, 2]
    run.good()
    assert [run.poison(), run.poison()] == [1, 2]
    with pytest.raises(Halted) as halted:
        run.poison()
    assert halted.value.reason == "POISON_RUN"

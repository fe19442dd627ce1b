"""Which streams a bundle of evidence has to have: those of the customer, and of nobody who was split off."""

from typing import Any, NamedTuple

import msgspec
import pytest
from c360_verify.refusal import Refused
from c360_verify.trail import streams_of

from shared.events.consent import decisions_stream, definition_stream

ANN, BOB, CAT = (letter * 16 for letter in (b"a", b"b", b"c"))


class Event(NamedTuple):
    type: str
    header: bytes


def merged(merge_id: bytes, other: bytes) -> Event:
    return Event("customer.merged", msgspec.msgpack.encode({"merge_id": merge_id, "other": other}))


def split(merge_id: bytes) -> Event:
    return Event("customer.split", msgspec.msgpack.encode({"merge_id": merge_id}))


def members(*events: Event) -> set[bytes]:
    """Of Ann, whose events in identity's log these are; profile has not heard of the last yet."""
    streams = {("identity", ANN): events, ("profile", ANN): events[:-1]}
    return {stream for log, stream in streams_of(ANN, streams) if log == "identity"}


def test_who_is_merged_belongs_to_it_and_who_was_split_off_does_not() -> None:
    assert members(merged(b"1", BOB), merged(b"2", CAT)) == {ANN, BOB, CAT}
    assert members(merged(b"1", BOB), merged(b"2", CAT), split(b"1")) == {ANN, CAT}


def test_who_is_merged_again_belongs_to_it_again() -> None:
    assert members(merged(b"1", BOB), split(b"1"), merged(b"2", BOB)) == {ANN, BOB}


def decided(**facts: Any) -> Event:
    return Event("consent.decision_recorded", msgspec.msgpack.encode({"purpose": "news"} | facts))


def defined(kind: str, **facts: str) -> Event:
    return Event(f"consent.{kind}_defined", msgspec.msgpack.encode(facts))


def test_a_decision_leads_to_its_purpose_to_what_was_shown_and_to_who_answers_for_them() -> None:
    linked = Event("customer.linked", msgspec.msgpack.encode({"value_hash": b"h"}))
    purpose, notice = definition_stream("purpose", "news"), definition_stream("notice", "asking")
    streams = {
        ("identity", ANN): [linked],
        ("consent", decisions_stream(b"h")): [decided(), decided(notice={"name": "asking", "version": 1})],
        ("consent", purpose): [defined("purpose"), defined("purpose", controller="shop")],
        ("consent", notice): [defined("notice", controller="agency")],
    }
    found = {stream for log, stream in streams_of(ANN, streams) if log == "consent"}
    controllers = {definition_stream("controller", name) for name in ("shop", "agency")}
    assert found == {decisions_stream(b"h"), purpose, notice, *controllers}


@pytest.mark.parametrize("notice", [1, {}, {"name": 1}])
def test_a_notice_in_a_form_that_nobody_knows_is_refused(notice: Any) -> None:
    linked = Event("customer.linked", msgspec.msgpack.encode({"value_hash": b"h"}))
    with pytest.raises(Refused):
        streams_of(ANN, {("identity", ANN): [linked], ("consent", decisions_stream(b"h")): [decided(notice=notice)]})

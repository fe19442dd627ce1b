"""Laws of TC strings: what is written is read, and nothing that can be sent does more than be refused."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.consent.domain.signals.bits import Vendors
from services.consent.domain.signals.signal import MOST_CHARACTERS
from services.consent.domain.signals.tcf import CanadianTcString, TcfChoices, TcString
from services.consent.domain.signals.tcf_policy import defects
from shared.instants import DAY
from tests.properties.signal_writer import LETTERS, VENDORS, Writer, groups, read_or_refused
from tests.properties.tc_strings import written

Kind = type[TcString] | type[CanadianTcString]
KINDS_OF_STRINGS: list[Kind] = [TcString, CanadianTcString]


def plain(signal: TcfChoices, names: set[str]) -> dict[str, Any]:
    """As it was drawn."""
    found = {name: value for name, value in msgspec.structs.asdict(signal).items() if value is not None and name in names}
    found["restrictions"] = [(one.purpose, one.kind, ids_of(one.vendors)) for one in signal.restrictions]
    if signal.publisher is not None:
        found["publisher"] = msgspec.structs.astuple(signal.publisher)
    return {name: ids_of(value) if isinstance(value, Vendors) else value for name, value in found.items()}


def ids_of(vendors: Vendors) -> set[int]:
    return {vendor for first, last in vendors.ranges for vendor in range(first, last + 1)}


@given(written())
def test_what_is_written_is_read(drawn: tuple[str, dict[str, Any]]) -> None:
    text, said = drawn
    signal = TcString.decode(text)
    assert plain(signal, {*said, "disclosed_vendors", "allowed_vendors"}) == said
    assert signal.raw == text


@given(written(canadian=True))
def test_what_is_written_in_canada_is_read(drawn: tuple[str, dict[str, Any]]) -> None:
    text, said = drawn
    assert plain(CanadianTcString.decode(text), {*said, "disclosed_vendors", "allowed_vendors"}) == said


@given(VENDORS, VENDORS)
def test_ranges_hold_what_was_named_and_nothing_else(some: set[int], others: set[int]) -> None:
    vendors = Vendors.of([*groups(some), *groups(some & others)])
    assert vendors.ranges == tuple(groups(some))
    assert Vendors.of((one, one) for one in some) == vendors
    assert {vendor for vendor in some | others | {v + 1 for v in some} if vendor in vendors} == some


@given(st.sampled_from(KINDS_OF_STRINGS), st.text() | st.text(LETTERS + "."), st.sampled_from(["", "B", "C"]))
def test_whatever_is_sent_is_read_or_refused(kind: Kind, text: str, start: str) -> None:
    refused_or_small(kind, start + text)


@given(written(), st.data())
def test_a_changed_string_is_read_or_refused(drawn: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    text, _ = drawn
    start, end = sorted((data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))))
    refused_or_small(TcString, text[:start] + data.draw(st.text(LETTERS + ".~=", max_size=4)) + text[end:])


def refused_or_small(kind: Kind, text: str) -> None:
    signal = read_or_refused(kind.decode, text)
    if signal is not None:
        lists = [signal.vendor_consents, signal.vendor_legitimate_interests, *(one.vendors for one in signal.restrictions)]
        assert sum(len(vendors.ranges) for vendors in lists) <= 6 * len(text)


@given(st.integers(MOST_CHARACTERS - 2, MOST_CHARACTERS + 2))
@example(MOST_CHARACTERS * 100)
def test_a_string_of_ranges_that_all_name_everybody_is_as_small_as_one(length: int) -> None:
    """Thousands of ranges of 65,535 vendors each: what is kept grows with what is said, not with how often."""
    core = Writer().put(2, 6).put(0, 36 + 36 + 12 + 12 + 6 + 12 + 12 + 6 + 2 + 12 + 24 + 24 + 1 + 12)
    core.put(0xFFFF, 16).put(1, 1).put(2_900, 12)
    for _ in range(2_900):
        core.put(1, 1).put(1, 16).put(0xFFFF, 16)
    text = core.put(0, 16 + 1 + 12).text()
    text += "A" * (length - len(text))
    if length > MOST_CHARACTERS:
        refused_or_small(TcString, text)
    else:
        assert TcString.decode(text).vendor_consents.ranges == ((1, 0xFFFF),)


@given(written())
def test_a_defect_of_a_day_is_one_of_every_later_day(drawn: tuple[str, dict[str, Any]]) -> None:
    signal = TcString.decode(drawn[0])
    later = msgspec.structs.replace(signal, last_updated=signal.last_updated + 400 * DAY)
    assert set(defects(signal)) - {"UPDATED_BEFORE_CREATED"} <= set(defects(later))

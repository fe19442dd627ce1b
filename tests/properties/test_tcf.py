"""Laws of TC strings: what is written is read, and nothing that can be sent does more than be refused."""

from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.consent.domain.signals.bits import Vendors
from services.consent.domain.signals.signal import MOST_CHARACTERS
from services.consent.domain.signals.tcf import KINDS, CanadianTcString, TcfChoices, TcString
from services.consent.domain.signals.tcf_policy import defects
from shared.instants import DAY
from tests.properties.signal_writer import HOW, LETTERS, PADDINGS, VENDORS, Writer, groups, read_or_refused

DECISECOND_US = 100_000
PURPOSES = st.sets(st.integers(1, 24)).map(sorted).map(tuple)
FEATURES = st.sets(st.integers(1, 12)).map(sorted).map(tuple)
TWO_LETTERS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
RESTRICTIONS = st.lists(st.tuples(st.integers(0, 63), st.sampled_from(KINDS), VENDORS), max_size=3)
Kind = type[TcString] | type[CanadianTcString]
KINDS_OF_STRINGS: list[Kind] = [TcString, CanadianTcString]


WHO_AND_WHEN: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("created", st.integers(0, 2**36 - 1)),
    ("last_updated", st.integers(0, 2**36 - 1)),
    ("cmp_id", st.integers(0, 2**12 - 1)),
    ("cmp_version", st.integers(0, 2**12 - 1)),
    ("consent_screen", st.integers(0, 2**6 - 1)),
    ("consent_language", TWO_LETTERS),
    ("vendor_list_version", st.integers(0, 2**12 - 1)),
    ("policy_version", st.integers(0, 2**6 - 1)),
]
WIDTHS = [36, 36, 12, 12, 6, 0, 12, 6]


@st.composite
def written(draw: st.DrawFn, canadian: bool = False) -> tuple[str, dict[str, Any]]:
    """A string, and what is to be read from it."""
    core = Writer().put(1 if canadian else 2, 6)
    said: dict[str, Any] = {name: draw(values) for name, values in WHO_AND_WHEN}
    for value, width in zip(said.values(), WIDTHS, strict=True):
        core.put(value, width) if width else core.put_letters(value)
    said |= {"created": said["created"] * DECISECOND_US, "last_updated": said["last_updated"] * DECISECOND_US}
    said |= {
        name: draw(st.booleans()) for name in (["non_standard_stacks"] if canadian else ["service_specific", "non_standard_stacks"])
    }
    said |= {"special_features": draw(FEATURES), "consents": draw(PURPOSES), "legitimate_interests": draw(PURPOSES)}
    if not canadian:
        core.put(said["service_specific"], 1)
    core.put(said["non_standard_stacks"], 1).put_ids(said["special_features"], 12)
    core.put_ids(said["consents"], 24).put_ids(said["legitimate_interests"], 24)
    if not canadian:
        said |= {"purpose_one_treatment": draw(st.booleans()), "publisher_country": draw(TWO_LETTERS)}
        core.put(said["purpose_one_treatment"], 1).put_letters(said["publisher_country"])
    said |= {"vendor_consents": draw(VENDORS), "vendor_legitimate_interests": draw(VENDORS), "restrictions": draw(RESTRICTIONS)}
    core.put_vendors(said["vendor_consents"], draw(HOW)).put_vendors(said["vendor_legitimate_interests"], draw(HOW))
    core.put(len(said["restrictions"]), 12)
    for purpose, kind, restricted in said["restrictions"]:
        core.put(purpose, 6).put(KINDS.index(kind), 2).put_ranges(sorted(restricted), draw(st.booleans()))
    others, of_others = draw(segments())
    padding = draw(PADDINGS)
    return ".".join(writer.text(padding) for writer in [core, *others]), said | of_others


@st.composite
def segments(draw: st.DrawFn) -> tuple[list[Writer], dict[str, Any]]:
    """Those after the core, in any order."""
    writers, said = list[Writer](), dict[str, Any]()
    for number, name in ((1, "disclosed_vendors"), (2, "allowed_vendors")):
        if draw(st.booleans()):
            said[name] = draw(VENDORS)
            writers.append(Writer().put(number, 3).put_vendors(said[name], draw(HOW)))
    if draw(st.booleans()):
        custom = draw(st.integers(0, 63))
        custom_ids = st.sets(st.integers(1, custom)).map(sorted).map(tuple) if custom else st.just(())
        said["publisher"] = (draw(PURPOSES), draw(PURPOSES), draw(custom_ids), draw(custom_ids))
        writer = Writer().put(3, 3).put_ids(said["publisher"][0], 24).put_ids(said["publisher"][1], 24).put(custom, 6)
        writers.append(writer.put_ids(said["publisher"][2], custom).put_ids(said["publisher"][3], custom))
    return draw(st.permutations(writers)), said


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

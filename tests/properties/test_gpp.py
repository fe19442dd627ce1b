"""Laws of GPP strings: what is written is read, and one section's fault is not another's."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.signals.gpp import GppString, UndecodedSection
from services.consent.domain.signals.us_sections import LAYOUTS, LISTS, NATIONAL_1, NATIONAL_2, US_SECTIONS, UsSection
from tests.properties.signal_writer import LETTERS, PADDINGS, Writer, read_or_refused

IDS = st.sets(st.integers(1, 30) | st.integers(1, 4_000), max_size=12).map(sorted)
RAW = st.text(LETTERS + ".", max_size=20)
STATE_VERSIONS = [(section, 1, layout) for section, layout in LAYOUTS.items()] + [(7, 1, NATIONAL_1), (7, 2, NATIONAL_2)]


def header(ids: list[int], grouped: bool) -> Writer:
    groups: list[list[int]] = []
    for section in ids:
        if grouped and groups and groups[-1][-1] + 1 == section:
            groups[-1].append(section)
        else:
            groups.append([section])
    writer, last = Writer().put(3, 6).put(1, 6).put(len(groups), 12), 0
    for group in groups:
        writer.put(len(group) > 1, 1).put_fibonacci(group[0] - last)
        if len(group) > 1:
            writer.put_fibonacci(len(group) - 1)
        last = group[-1]
    return writer


@given(IDS, st.booleans(), PADDINGS, st.data())
def test_what_is_written_is_read(ids: list[int], grouped: bool, padding: int, data: st.DataObject) -> None:
    raws = [data.draw(RAW) for _ in ids]
    gpp = GppString.decode("~".join([header(ids, grouped).text(padding), *raws]))
    assert gpp.ids == tuple(ids)
    assert [section.raw for section in gpp.sections] == raws


@given(st.sampled_from(STATE_VERSIONS), st.none() | st.booleans(), PADDINGS, st.data())
def test_the_fields_that_are_written_are_read(
    state: tuple[int, int, tuple[tuple[str, int], ...]], gpc: bool | None, padding: int, data: st.DataObject
) -> None:
    section, version, layout = state
    core, said = Writer().put(version, 6), dict[str, Any]()
    for name, count in layout:
        values = tuple(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
        said[name] = values if name in LISTS else values[0]
        for value in values:
            core.put(value, 2)
    text = core.text(padding if (section, version) != (7, 1) else 8)  # its two layouts are told apart by their length
    text += "" if gpc is None else "." + Writer().put(1, 2).put(gpc, 1).text(padding)
    read = UsSection.decode(section, text)
    assert {name: getattr(read, name) for name in said} == said
    assert read.gpc is (gpc if section not in {25, 26, 27} else None)


@given(st.text() | st.text(LETTERS + "~.", max_size=60), st.sampled_from(["", "D", "DB", "DBAC"]))
def test_whatever_is_sent_is_read_or_refused(text: str, start: str) -> None:
    read_or_refused(GppString.decode, start + text)


@given(st.sampled_from(sorted(US_SECTIONS)), st.text() | st.text(LETTERS + ".", max_size=30), st.sampled_from(["", "B", "C"]))
def test_whatever_a_section_is_it_is_read_or_refused(section: int, text: str, start: str) -> None:
    read_or_refused(lambda raw: UsSection.decode(section, raw), start + text)


@given(IDS.filter(bool), st.data())
def test_one_section_is_read_the_same_whatever_stands_beside_it(ids: list[int], data: st.DataObject) -> None:
    raws = {section: data.draw(RAW) for section in ids}
    chosen = data.draw(st.sampled_from(ids))
    (alone,) = GppString.decode("~".join([header([chosen], False).text(), raws[chosen]])).sections
    among = GppString.decode("~".join([header(ids, True).text(), *raws.values()])).sections
    assert among[ids.index(chosen)] == alone
    assert isinstance(alone, UndecodedSection) or alone.raw == raws[chosen]

"""Laws of reports: whatever was told of a person, it is in every form, as text, and as the schema has it."""

import string
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cli.render import printable
from services.cli.rights_report.gathering import decision_of, restriction_of
from services.cli.rights_report.html_page import to_html
from services.cli.rights_report.pdf_page import MOST_CHARACTERS, spelled, to_pdf
from services.cli.rights_report.report import (
    COMPUTED,
    Asked,
    Controller,
    Decision,
    Disclosure,
    Event,
    Identifier,
    NotShown,
    Portable,
    Purpose,
    Report,
    Restriction,
    Trait,
    document,
    lines,
    portable,
    schema_of,
    sources_of,
)
from services.cli.rights_report.sections import MOST_ROWS, RESTRICTED, Section, sections_of, shown

HOSTILE = st.sampled_from(
    ["<script>alert(1)</script>", "</td></table>", "&lt;b&gt;", '"><img src=x>', "<para>", "\x1b[31m", "中文", "a\0b"]
)
TEXTS = st.text(max_size=5) | HOSTILE
VALUES = st.recursive(
    TEXTS | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=4
)
SCHEMA = jsonschema_rs.validator_for(schema_of(Report).decode())
PORTABLE = jsonschema_rs.validator_for(schema_of(Portable).decode())
DECODER = msgspec.json.Decoder(Portable)
REPORTS_DECODER = msgspec.json.Decoder(Report)


def form(kind: type, **more: Any) -> st.SearchStrategy[Any]:
    """Every text anything."""
    own = {field.name: TEXTS for field in msgspec.structs.fields(kind) if field.type is str}
    return st.builds(kind, **(own | more))


EVENTS = st.lists(form(Event, details=VALUES, flags=st.lists(TEXTS, max_size=2)), max_size=5)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    events = draw(EVENTS)
    parts = {
        "request": draw(form(Asked)),
        "controllers": draw(st.lists(form(Controller), max_size=2)),
        "member_ids": draw(st.lists(TEXTS, max_size=2)),
        "identifiers": draw(st.lists(form(Identifier), max_size=3)),
        "traits": draw(st.lists(form(Trait, value=VALUES, source=st.sampled_from(["shop", COMPUTED])), max_size=3)),
        "segments": draw(st.lists(TEXTS, max_size=2)),
        "purposes": draw(
            st.lists(form(Purpose, traits=st.lists(TEXTS, max_size=2), recipients=st.lists(TEXTS, max_size=2)), max_size=2)
        ),
        "decisions": draw(st.lists(form(Decision), max_size=3)),
        "restrictions": draw(st.lists(form(Restriction, grounds=st.lists(TEXTS, max_size=2)), max_size=2)),
        "disclosures": draw(st.lists(form(Disclosure, fields=st.lists(TEXTS, max_size=2)), max_size=3)),
        "not_shown": draw(st.lists(form(NotShown), max_size=2)),
    }
    return a_report(**parts, events=events, sources=sources_of(events))


class Read(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self._within = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self._within = tag == "td"
        if self._within:
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._within = False

    def handle_data(self, data: str) -> None:
        if self._within:
            self.cells[-1] += data


@settings(max_examples=30)
@given(reports())
def test_a_report_is_as_its_schema_says_and_read_again_the_same(report: Report) -> None:
    text = document(report)
    SCHEMA.validate(msgspec.json.decode(text))
    assert REPORTS_DECODER.decode(text) == report
    assert document(report) == text


@settings(max_examples=30)
@given(reports())
def test_a_copy_has_what_was_told_and_nothing_that_was_concluded(report: Report) -> None:
    records = [DECODER.decode(line) for line in lines(portable(report)).splitlines()]
    for line in lines(portable(report)).splitlines():
        PORTABLE.validate(msgspec.json.decode(line))
    assert [one for one in records if isinstance(one, Trait)] == [one for one in report.traits if one.source != COMPUTED]
    assert [one for one in records if isinstance(one, Event)] == [one for one in report.events if one.source]
    assert [one for one in records if isinstance(one, Identifier)] == report.identifiers
    assert [one for one in records if isinstance(one, Decision)] == [one for one in report.decisions if one.own]


@settings(max_examples=30)
@given(reports())
def test_what_people_typed_is_text_in_the_page_and_all_of_it_is_there(report: Report) -> None:
    read = Read(to_html("What we know of you", sections_of(report)))
    own = {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "section",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert read.tags <= own
    cells = {cell.strip() for cell in read.cells}
    for one in report.identifiers:
        assert printable(one.value).strip() in cells
    for trait in report.traits:
        assert printable(shown(trait.value)).strip() in cells


@given(st.sampled_from(["THEIRS", "LIKELY_THEIRS", "SHARED"]), TEXTS)
def test_what_restricts_is_told_whosever_it_is_and_why_only_if_it_is_theirs(belonging: str, reason: str) -> None:
    said = {"grounds": ["legal-claims"], "reason": reason}
    told = {"restriction_id": "r", "restrict_time": "t", "restriction": said, "belonging": belonging}
    found = restriction_of(told)
    assert (found.grounds, found.reason, found.own) == (
        ["legal-claims"],
        reason if belonging == "THEIRS" else "",
        belonging == "THEIRS",
    )
    [section] = [one for one in sections_of(a_report(restrictions=[found])) if one.title == RESTRICTED]
    assert len(section.rows) == 1


def test_what_is_known_of_an_age_and_who_granted_in_their_place_is_told_with_what_they_decided() -> None:
    told: dict[str, Any] = dict.fromkeys(Decision.__struct_fields__, "") | {"purpose_version": 0, "notice": None}
    age = told | {"outcome": "age_known", "age": {"at_least": 13, "under": 16}, "parental_authorisation": None}
    grant = told | {"outcome": "granted", "age": None, "parental_authorisation": {"verified_by": "a form"}}
    corrected = told | {"outcome": "age_taken_back", "age": {"at_least": 0, "under": 0}, "parental_authorisation": None}
    email = Identifier(namespace="email", value="a@b.example")
    decisions = [decision_of(email, "THEIRS", one) for one in (age, grant, corrected)]
    [section] = [one for one in sections_of(a_report(decisions=decisions)) if one.title == "What you decided"]
    assert [row[2] for row in section.rows] == [
        "age_known: 13 to 15 years",
        "granted by who is responsible for you (verified by: a form)",
        "age_taken_back",
    ]
    assert [one.own for one in decisions] == [True] * 3


@pytest.mark.parametrize("belonging", ["LIKELY_THEIRS", "SHARED", ""])
def test_what_somebody_else_may_have_decided_is_told_without_how_and_is_nothing_to_take_along(belonging: str) -> None:
    told: dict[str, Any] = dict.fromkeys(Decision.__struct_fields__, "") | {
        "purpose_version": 0,
        "notice": None,
        "method": "class 7b",
    }
    age = told | {"outcome": "age_known", "age": {"at_least": 13, "under": 16}, "parental_authorisation": None}
    grant = told | {"outcome": "granted", "age": None, "parental_authorisation": {"verified_by": "her passport"}}
    decisions = [decision_of(Identifier(namespace="email", value="a@b.example"), belonging, one) for one in (age, grant)]
    assert [(one.own, one.method, one.authorised, one.age) for one in decisions] == [
        (False, "", "", "13 to 15"),
        (False, "", "", ""),
    ]
    report = a_report(decisions=decisions)
    [section] = [one for one in sections_of(report) if one.title == "What you decided"]
    assert [row[4] for row in section.rows] == ["by somebody who may be you"] * 2
    assert not any(isinstance(one, Decision) for one in portable(report))


@settings(max_examples=10)
@given(reports())
def test_a_pdf_can_be_made_of_any_report(report: Report) -> None:
    assert to_pdf("What we know of you", sections_of(report), None).startswith(b"%PDF-")


@given(TEXTS)
def test_what_a_font_has_no_sign_for_is_told_by_its_number(text: str) -> None:
    told = spelled(text, lambda char: char in string.printable)
    assert set(told) <= set(string.printable)
    assert spelled(text, lambda _: True) == text


def test_the_longest_rows_fit_a_page() -> None:
    long = Section("Long", columns=("a",) * 7, rows=[["W" * 10_000] * 7] * 3)
    assert to_pdf("W" * 1_000, [long], None).startswith(b"%PDF-")


def test_what_is_too_long_to_be_read_is_cut_and_that_is_said() -> None:
    told = spelled("x" * 10_000, lambda _: True)
    assert (len(told), told[-1]) == (MOST_CHARACTERS, "…")
    event = Event(
        event_id="e", kind="tracked", name="n", source="s", occur_time="t", record_time="t", details={}, flags=[], redacted=False
    )
    section = next(one for one in sections_of(a_report(events=[event] * (MOST_ROWS + 1))) if one.title == "What happened")
    assert len(section.rows) == MOST_ROWS
    assert str(MOST_ROWS + 1) in section.text


def a_report(**more: Any) -> Report:
    empty: dict[str, Any] = {field.name: "" if field.type is str else [] for field in msgspec.structs.fields(Report)}
    asked = Asked(**dict.fromkeys(Asked.__struct_fields__, ""))
    return Report(**(empty | {"request": asked, "found_time": None, "last_seen_time": None} | more))

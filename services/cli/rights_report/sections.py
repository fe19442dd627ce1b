"""A report as a document for people: sections of facts and tables, which HTML and PDF draw alike. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from services.cli.render import printable
from services.cli.rights_report.report import COMPUTED, DERIVED, Decision, Disclosure, Event, Report

MOST_ROWS: Final = 1_000  # more can't be read; report.json has all
MAY_BE_YOU: Final = "by somebody who may be you"
RESTRICTED: Final = "Its use is restricted: it is stored and not used"
YOUR_RIGHTS: Final = (
    "You can have your data corrected or erased, have its use limited, object to it, take back any consent, get a copy that machines read, and complain to a "
    "supervisory authority."
)


class Section(NamedTuple):
    title: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def sections_of(report: Report) -> list[Section]:
    return [
        _about(report),
        *(Section("Who answers for it", facts=_facts(one)) for one in report.controllers),
        _table("How you are known", ("identifier", "value"), [(one.namespace, one.value) for one in report.identifiers]),
        _traits(report),
        *_restrictions(report),
        _purposes(report),
        _disclosures(report.disclosures),
        _table(
            "What you decided",
            ("when", "purpose", "decision", "by", "how", "shown"),
            [
                (
                    one.decide_time,
                    one.purpose,
                    _outcome(one),
                    f"{one.namespace}:{one.value}",
                    one.method if one.own else MAY_BE_YOU,
                    one.notice,
                )
                for one in report.decisions
            ],
        ),
        _table("What groups you are in", ("segment",), [(name,) for name in report.segments]),
        _table(
            "Where it comes from",
            ("source", "events", "first", "last"),
            [(one.name, str(one.events), one.first_time, one.last_time) for one in report.sources],
        ),
        _events(report.events),
        _table("What is not shown here", ("what", "why"), [(one.what, one.why) for one in report.not_shown]),
        Section("Your rights", YOUR_RIGHTS),
    ]


def _about(report: Report) -> Section:
    asked = report.request
    facts = [
        ("made", report.made_time),
        ("request", asked.rights_request_id),
        ("received", asked.receive_date),
        ("answer due", asked.due_date),
        ("law", asked.law),
        ("customer", report.customer_id),
        ("first seen", report.found_time or ""),
        ("last seen", report.last_seen_time or ""),
    ]
    return Section("What we know of you", facts=[(name, value) for name, value in facts if value])


def _facts(struct: Any) -> list[tuple[str, str]]:
    told = [(name.replace("_", " "), getattr(struct, name)) for name in struct.__struct_fields__]
    return [(name, printable(value)) for name, value in told if value]


def _traits(report: Report) -> Section:
    rows = [
        (one.name, shown(one.value), DERIVED if one.source == COMPUTED else one.source, one.since_time or "")
        for one in report.traits
    ]
    return _table("Your data", ("what", "value", "from", "since"), rows)


def _outcome(decision: Decision) -> str:
    if decision.authorised:
        return f"{decision.outcome} by who is responsible for you (verified by: {decision.authorised})"
    return f"{decision.outcome}: {decision.age} years" if decision.age else decision.outcome


def _restrictions(report: Report) -> list[Section]:
    rows = [(one.since_time, ", ".join(one.grounds), one.reason if one.own else MAY_BE_YOU) for one in report.restrictions]
    return [_table(RESTRICTED, ("since", "because", "why"), rows)] if rows else []


def _purposes(report: Report) -> Section:
    rows = [
        (
            one.name,
            one.description,
            one.legal_basis,
            "yes" if one.permitted else "no",
            ", ".join(one.traits),
            one.retention,
            ", ".join(one.recipients),
        )
        for one in report.purposes
    ]
    return _table("What it may be used for", ("purpose", "what for", "ground", "now", "sees", "kept", "goes to"), rows)


def _disclosures(disclosures: Sequence[Disclosure]) -> Section:
    rows = [
        (one.read_time, one.caller, one.purpose_version, one.legal_basis, ", ".join(one.fields) or f"nothing: {one.reason}")
        for one in disclosures
    ]
    return _newest("Who read it", ("when", "who", "purpose", "ground", "what"), rows)


def _events(events: Sequence[Event]) -> Section:
    rows = [(one.occur_time, one.kind, one.name, one.source, "erased" if one.redacted else shown(one.details)) for one in events]
    return _newest("What happened", ("when", "kind", "name", "from", "details"), rows)


def _newest(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Section:
    """Of what comes latest first."""
    section = _table(title, columns, rows[:MOST_ROWS])
    return (
        section._replace(text=f"The newest {MOST_ROWS} of {len(rows)}; report.json has all.") if len(rows) > MOST_ROWS else section
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Section:
    if not rows:
        return Section(title, "Nothing.")
    return Section(title, columns=columns, rows=[[printable(value) for value in row] for row in rows])


def shown(value: Any) -> str:
    if value is None or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

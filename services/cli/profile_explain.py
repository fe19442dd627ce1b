"""`c360 profile explain`: why does a trait have this value, and no other that a source said?"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from services.cli import render
from services.cli.options import (
    DEFAULT_TIMEOUT_S,
    MOST,
    AsJson,
    Fresh,
    KnownAt,
    PersonRef,
    PurposeOption,
    Rules,
    TimeoutS,
    ValidAt,
    Version,
)
from services.cli.paging import MORE, PAGE

COLUMNS = ("value", "source", "occurred", "sent", "received", "recorded", "event", "lost because")
FIELD_COLUMNS = ("field", "value", "source", "event", "lost because")
COUNTS, WITHHELD = "(counts)", "(withheld)"  # in place of a value: nothing is taken of the event; the purpose may not see it
NO_VALUE = "(none)"


def explain(
    person: PersonRef,
    trait: Annotated[str, typer.Argument(metavar="TRAIT", help="The trait's name, such as email.")],
    *,
    purpose: PurposeOption,
    valid_at: ValidAt = None,
    known_at: KnownAt = None,
    version: Version = None,
    rules: Rules = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How much of what was said to show, latest first.")] = 50,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell why a trait has its value: the rule, everything that sources said of it, and why each of the others lost.

    Of each its four clocks: when it occurred, by the client's clock as we corrected it, and when it was sent, by the client's clock
    as it was; when we received it, and when our log recorded it. Of a computed trait, the events that its value is made of; of an object
    that is chosen field by field, which field came from which event, and why it lost to it in the others. Some
    events are named by their end, and some instants without the day that they share with the first; --json has all of it.

    Examples:
      c360 profile explain email:ann@example.com plan --purpose audit
      c360 profile explain user_id:u1 plan --purpose audit --known-at 2026-03-03T10:02:11Z --rules now
    """
    from c360.profile.v1 import rules_pb2

    from services.cli import messages
    from services.cli.profile_rules import profile_rules

    request = rules_pb2.ExplainTraitRequest(
        customer=messages.customer_ref(person),
        trait=trait,
        purpose=purpose,
        valid_at=messages.timestamp(valid_at),
        known_at=messages.timestamp(known_at),
        version=version or 0,
        rules=messages.rules_choice(rules),
        at_least_as_fresh=messages.positions(fresh),
    )
    shown: dict[str, Any] = {}
    assertions: list[dict[str, Any]] = []
    with profile_rules() as stub:
        while not shown or (request.page_token and len(assertions) < limit):
            request.page_size = min(limit - len(assertions), PAGE)
            answer = stub.ExplainTrait(request, timeout=timeout_s)
            shown = messages.plain(answer)
            assertions += shown["assertions"]
            request.page_token = answer.next_page_token
    if request.page_token:
        render.note(MORE)
    shown |= {"rule": json.loads(shown["rule"]), "assertions": assertions}
    del shown["next_page_token"]
    render.document(shown) if as_json else _show(shown)


def _show(shown: dict[str, Any]) -> None:
    whose, is_computed = "" if shown["named"] else ", the default", "aggregate" in shown["rule"]
    facts = [
        ("value", NO_VALUE if shown["value"] is None else _text(shown["value"])),
        ("rule", f"{json.dumps(shown['rule'])}{whose}"),
        ("rules", f"v{shown['rules_version']}"),
        ("event", "" if is_computed or shown["rule"].get("by_field") else _event(shown)),
        ("made of", _made_of(shown) if is_computed else ""),
        ("assertions", "" if is_computed else shown["assertion_count"]),
        ("cut", "not all that there was could be considered" if shown["cut"] else ""),
    ]
    render.facts(facts)
    rows = [_row(one, shown["rule"] if is_computed else None) for one in shown["assertions"]]
    render.table("What was counted" if is_computed else "What was said", COLUMNS, rows)
    if fields := _by_field(shown["assertions"]):
        render.table("Of each field", FIELD_COLUMNS, fields)


def _event(shown: dict[str, Any]) -> str:
    return next((one["event_id"] for one in shown["assertions"] if one["chosen"]), "")


def _made_of(shown: dict[str, Any]) -> str:
    made_of = f"{shown['event_count']} events"
    return made_of if shown["event_count"] <= shown["assertion_count"] else f"{made_of}; listed are the newest of them alone"


def _row(one: dict[str, Any], definition: dict[str, Any] | None) -> tuple[Any, ...]:
    occurred = one["occur_time"]
    times = (occurred, _beside(occurred, one["sent_time"]), _beside(occurred, one["receive_time"]), one["record_time"])
    event = f"…{one['event_id'][-8:]}"  # what they begin with can be the same
    return (_value(one, definition), one["source"], *times, event, "chosen" if one["chosen"] else one["lost"])


def _by_field(assertions: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """By field, and of each the latest first."""
    told = [(field, one) for one in assertions for field in one["fields"]]
    return [
        (field["name"], _text(one["value"][field["name"]]), one["source"], f"…{one['event_id'][-8:]}", field["lost"] or "chosen")
        for field, one in sorted(told, key=lambda each: str(each[0]["name"]))
    ]


def _beside(occurred: str, instant: str | None) -> str:
    """Without the day where it is the same: four whole instants fit no line. The first and the last can be asked for again."""
    day, _, time = (instant or "").partition("T")
    return time if occurred.startswith(f"{day}T") else instant or ""


def _value(one: dict[str, Any], definition: dict[str, Any] | None) -> str:
    """Of an event that a computed trait is made of, what was taken of it."""
    if one["lost"] == "TOO_LARGE":
        return ""
    if one["value"] is not None or definition is None or not one["chosen"]:
        return _text(one["value"])
    return WITHHELD if definition.get("value") else COUNTS


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

"""What speaks for two records being one person's, for eyes: in parts that add up, what it is held against, and who says so."""

from __future__ import annotations

from typing import Any

from services.cli import render

NO_WITNESS = "none: no number, and no address, telephone or mailbox beside nearly the same given name"
SAYS = {"link": "one person", "review": "a question for people"}


def show(comparison: dict[str, Any]) -> None:
    """A RecordComparison as JSON data."""
    ends = [f"{comparison[end]['customer_id']} ({comparison[end]['source']})" for end in ("one", "other")]
    rows = [("before anything is compared", "", f"{comparison['prior_weight']:+.2f}")]
    for part in comparison["parts"]:
        rows.append((part["comparison"], part["level"], f"{part['weight'] + part['term_weight']:+.2f}"))
    says = comparison["veto"] or SAYS.get(comparison["band"], "nothing")
    rows.append(("together", says, f"{comparison['weight']:+.2f}"))
    if comparison["unrivalled_weight"] != comparison["weight"]:
        bits = f"{comparison['unrivalled_weight']:+.2f}"
        rows.append(("if neither could be anybody else", "each source has a person once", bits))
    render.table(" and ".join(ends), ("comparison", "level", "bits"), rows)
    render.facts(_held_against(comparison))
    said = [
        (ends[place], saying["event_id"], saying["occur_time"], saying["position"])
        for place, side in enumerate(("one_said_by", "other_said_by"))
        for saying in comparison[side]
    ]
    if said:
        render.table("Said by", ("record", "event", "happened", "position"), said)


def _held_against(comparison: dict[str, Any]) -> list[tuple[str, Any]]:
    asked = ", with a witness" if comparison["witness_asked"] else ""
    return [
        ("weighed by model", comparison["model_version"]),
        ("one person from", f"{comparison['link_weight']:g} bits on{asked}"),
        ("a question from", f"{comparison['review_weight']:g} bits on"),
        ("a witness", "yes" if comparison["witnessed"] else NO_WITNESS),
        ("match since", comparison["match_time"]),
    ]

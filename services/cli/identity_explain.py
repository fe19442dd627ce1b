"""`c360 identity why` and `history`: the evidence behind who is who, and how a customer came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli import paging, render, weights
from services.cli.documents import read_document
from services.cli.notation import NamedIdentifier, Person, parse_person
from services.cli.options import DEFAULT_TIMEOUT_S, MOST, AsJson, AsOf, Fresh, KnownAt, PersonRef, TimeoutS, parsed_by

DOUBTS = {  # why a match isn't certain
    "WEIGHT": "less speaks for it than the rules ask for",
    "WITNESS": "no witness (a national id, or an address, telephone or mailbox beside nearly the same given name)",
    "OTHER_RECORDS": "other records of the two say less",
    "RIVAL": "one of them could be somebody else as well",
}
VETOES = {
    "NAME_AND_BIRTH_DISAGREE": "given name and birth date both disagree",
    "NAME_AND_INITIAL_DISAGREE": "given name and middle initial both disagree",
    "INITIAL_AND_BIRTH_DISAGREE": "middle initial and birth date both disagree",
}

_PARTY_HELP = "A customer id, or namespace:value such as email:ann@example.com."
One = Annotated[Person, typer.Argument(metavar="A", parser=parsed_by(parse_person), help=_PARTY_HELP)]
Other = Annotated[Person, typer.Argument(metavar="B", parser=parsed_by(parse_person), help=_PARTY_HELP)]


def why(
    one: One,
    other: Other,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    rules: Annotated[Path | None, typer.Option(metavar="FILE", help="What if: by these rules, which are a JSON document.")] = None,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell why two are one customer, or all that keeps them apart. A is joined to B by a chain of evidence.

    Were all that keeps them apart gone, they would be one. Shows hashes; values are the profile's to serve, for a purpose.
    What leads no further, since a value was seen in too many ways, is named.
    Of a match it shows what it weighs, what it is held against, and the events that say so.
    Of a past instant it tells of who was known then: of no household, and with --as-of of no proposals.
    With --rules it tells what other rules would have made of the same facts; nothing is written.

    Examples:
      c360 identity why email:ann@example.com user_id:u1
      c360 identity why user_id:u1 user_id:u2 --as-of -7d
      c360 identity why user_id:u1 user_id:u2 --as-of -7d --rules stricter.json
    """
    from c360.identity.v1 import explanation_pb2, explanation_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    request = explanation_pb2.ExplainPairRequest(
        one=messages.customer_ref(one),
        other=messages.customer_ref(other),
        as_of=messages.timestamp(as_of),
        known_at=messages.timestamp(known_at),
        at_least_as_fresh=messages.newest(fresh),
        rules_document=read_document(rules) if rules else "",
    )
    with connect("identity") as channel:
        answer = explanation_pb2_grpc.ExplanationServiceStub(channel).ExplainPair(request, timeout=timeout_s)
    shown = messages.plain(answer)
    render.document(shown) if as_json else _show_pair(shown)


def history(
    person: PersonRef,
    known_at: KnownAt = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many entries to show, oldest first.")] = 500,
    fresh: Fresh = None,
    as_json: AsJson = False,
    timeout_s: TimeoutS = DEFAULT_TIMEOUT_S,
) -> None:
    """Tell how a customer came to be, in the order in which it became known. With --json: one line each.

    An instant from the column "known" can be given back to --known-at.
    """
    from c360.identity.v1 import explanation_pb2, explanation_pb2_grpc

    from services.cli import messages
    from services.cli.client import connect

    position, known = messages.newest(fresh), messages.timestamp(known_at)
    with connect("identity") as channel:
        stub = explanation_pb2_grpc.ExplanationServiceStub(channel)
        if isinstance(person, NamedIdentifier):
            named = explanation_pb2.ResolveIdentifierAtRequest(
                identifier=messages.identifier(person), known_at=known, at_least_as_fresh=position
            )
            customer_id = stub.ResolveIdentifierAt(named, timeout=timeout_s).customer_id
        else:
            customer_id = person.customer_id  # type: ignore[attr-defined]
        request = explanation_pb2.GetCustomerHistoryRequest(customer_id=customer_id, known_at=known, at_least_as_fresh=position)
        entries = [messages.plain(entry) for entry in paging.entries(stub.GetCustomerHistory, request, "entries", limit, timeout_s)]
    if as_json:
        for entry in entries:
            render.line(entry)
        return
    rows = [(e["occur_time"], e["record_time"], e["type"], e["customer_id"], _about(e), _how(e), e["cause_id"]) for e in entries]
    render.table("History", ("happened", "known", "what", "customer", "with", "how", "because of"), rows)


def _show_pair(shown: dict[str, Any]) -> None:
    alike = shown["obstacles"] or shown["vetoes"] or shown["one_household"]
    said = "one customer" if shown["together"] else "two" if alike else "two, with nothing in common"
    ends = [f"{render.hashed(shown[end])}, of {shown[f'{end}_customer_id'] or 'nobody'}" for end in ("one", "other")]
    render.facts(
        [
            ("they are", said),
            ("A", ends[0]),
            ("B", ends[1]),
            ("alike, and told apart", "; ".join(VETOES.get(veto, veto) for veto in shown["vetoes"])),
            (
                "household",
                "of one: the same family name and address, which is no reason for a merge" if shown["one_household"] else "",
            ),
            ("not told in full", _left_out(shown["crowded"])),
            ("proposed to be merged", shown["proposal_ids"]),
            ("not again until one is seen", shown["resting_proposal_ids"]),
            ("by rules of version", str(shown["rules_version"] or "those given")),
        ]
    )
    columns = ("because of", "source", "happened", "known")
    if shown["links"]:
        rows = [(render.hashed(link["from"]), render.hashed(link["to"]), *_ground(link)) for link in shown["links"]]
        render.table("From A to B", ("identifier", "linked with", *columns), rows)
    if shown["obstacles"]:
        rows = [(one["reason"], _obstacle(one), *_ground(one)) for one in shown["obstacles"]]
        render.table("What keeps them apart", ("reason", "what", *columns), rows)
    for owned in (one for one in shown["obstacles"] if one["owned_by"]):
        _show_owners(owned)
    _show_decisions([*shown["links"], *shown["obstacles"]])
    matches = [ground["match"] for ground in (*shown["links"], *shown["obstacles"]) if ground["match"]]
    for number, match in enumerate(matches):
        if match not in matches[:number]:
            _show_match(match)


def _left_out(crowded: list[dict[str, Any]]) -> str:
    values = ", ".join(render.hashed(one) for one in crowded)
    return f"what was seen with {values} later than counts: too many ways" if crowded else ""


def _show_decisions(grounds: list[dict[str, Any]]) -> None:
    made = [decision for one in grounds for name in ("decision", "merge_decision") if (decision := one.get(name))]
    columns = {"decided": "decide_time", "by": "decided_by", "why": "reason"}
    columns |= {"answers proposal": "proposal_id", "decision": "decision_id"}
    if rows := {decision["decision_id"]: [decision[name] for name in columns.values()] for decision in made}:
        render.table("Decided by hand", tuple(columns), sorted(rows.values()))


def _show_owners(obstacle: dict[str, Any]) -> None:
    rows = [(render.hashed(owner["owner"]), *_ground(owner)) for owner in obstacle["owned_by"]]
    counted = sum(obstacle["owners"].values())
    some = f", the first {len(rows)} of {counted}" if counted > len(rows) else ""
    render.table(
        f"Whose {render.hashed(obstacle['identifiers'][0])} is{some}", ("owner", "because of", "source", "happened", "known"), rows
    )


def _show_match(match: dict[str, Any]) -> None:
    if match["comparison"]:
        weights.show(match["comparison"])
    if match["rivals"]:
        rows = [(render.hashed(rival["identifier"]), f"{rival['weight']:+.2f}") for rival in match["rivals"]]
        render.table("Whom else one of the two could be", ("identifier", "bits"), rows)


def _ground(shown: dict[str, Any]) -> tuple[str, ...]:
    """Of a link or an obstacle: the event, decision or match, its source, and both clocks."""
    if shown["evidence"]:
        evidence = shown["evidence"]
        return evidence["event_id"], evidence["source"], evidence["occur_time"], evidence["record_time"]
    if decision := shown.get("merge_decision") or shown["decision"]:
        return decision["decision_id"], "by hand", "", decision["decide_time"]
    if since := shown.get("blocked_since"):
        return f"rules v{since['version']}", "", "", since["activate_time"]
    if shown["match"]:
        compared = shown["match"]["comparison"]
        said = [one["occur_time"] for side in ("one", "other") for one in compared[f"{side}_said_by"]] if compared else []
        return (
            f"alike by {shown['match']['weight']:.1f} bits",
            "match",
            max(said, default=""),
            compared["match_time"] if compared else "",
        )
    return "", "", "", ""


def _obstacle(shown: dict[str, Any]) -> str:
    match shown["reason"]:
        case "LIMIT":
            within = f" first seen within {shown['window_seconds'] / 86_400:g} days" if shown["window_seconds"] else ""
            return f"at most {shown['limit']} of {shown['namespace']} belong to one customer{within}"
        case "CLUSTER_TOO_LARGE":
            return f"at most {shown['limit']} identifiers belong to one customer"
        case "ONE_PER_SOURCE":
            return f"{shown['namespace']} keeps each person once, and has records of both"
        case "LOW_CERTAINTY":
            return f"{' and '.join(render.hashed(one) for one in shown['identifiers'])} are alike: {'; '.join(DOUBTS.get(doubt, doubt) for doubt in shown['doubts'])}"
        case "SHARED" | "CONTESTED" | "BLOCKED" | "CROWDED":
            return f"{' and '.join(render.hashed(one) for one in shown['identifiers'])} {_why_it_links_nobody(shown)}"
    kept_apart = " and ".join(render.hashed(one) for one in shown["identifiers"])
    elsewhere = shown["evidence"] or shown["merge_decision"] or shown["match"]  # what would join them takes the columns that follow
    return f"{kept_apart} are kept apart" + (f", decision {shown['decision']['decision_id']}" if elsewhere else "")


def _why_it_links_nobody(shown: dict[str, Any]) -> str:
    if shown["reason"] == "BLOCKED":
        since = shown["blocked_since"]
        return "names nobody, by the rules" + (
            f" from v{since['version']} on ({since['activated_by']}: {since['reason']})" if since else ""
        )
    if shown["reason"] == "CROWDED":
        return f"was seen in more than {shown['limit']} ways, of which only the earliest count"
    seen_with = ", ".join(f"{count} of {name}" for name, count in shown["owners"].items())
    if shown["reason"] == "CONTESTED":
        return f"is two people's whom nothing else joins{f': seen with {seen_with}' if seen_with else ''}"
    return f"is too many people's, of {shown['limit']} at least: seen with {seen_with}"


def _about(entry: dict[str, Any]) -> str:
    """The other customer, and identifiers: of a decision both, since they may have been one customer's."""
    other = "somebody who was erased" if entry["other_erased"] else entry["other_customer_id"]
    identifiers = " and ".join(render.hashed(one) for one in (entry["identifier"], entry["other_identifier"]) if one)
    return ", ".join(part for part in (other if other != entry["customer_id"] else "", identifiers) if part)


def _how(entry: dict[str, Any]) -> str:
    """By what was seen, by a match, by hand or by other rules; through which identifiers. Of a decision or proposal, who and why."""
    if entry["type"] == "customer.proposal_closed":
        return _how_closed(entry)
    told = []
    if not entry["cause"] and (said := ": ".join(part for part in (entry["decided_by"], entry["reason"]) if part)):
        told.append(f"{said}, {entry['subject_id']}")
    if entry["cause"] == "DECISION":
        who = ", ".join(part for part in ("by hand", entry["decided_by"]) if part)
        told.append(": ".join(part for part in (who, entry["reason"]) if part))
    if entry["cause"] == "RULES":
        told.append(f"by rules v{entry['rules_version']}")
    if entry["match_model"]:
        told.append(f"match of {entry['match_weight']:.1f} bits, model #{entry['match_model'][: render.SHOWN_DIGITS]}")
    if entry["cause"] == "EVENT" and entry["type"] == "customer.merged":
        told.append(f"seen together, rules v{entry['rules_version']}")
    if len(entry["chain"]) > 1:
        told.append("-".join(entry["chain"]))
    return "; ".join(told)


def _how_closed(entry: dict[str, Any]) -> str:
    by_hand = ", ".join(part for part in ("by hand", entry["decided_by"]) if part)
    causes = {
        "DECISION": by_hand,
        "RULES": f"by rules v{entry['rules_version']}",
        "EVENT": "by what was seen",
        "ERASURE": "by an erasure",
    }
    told = f"{entry['reason']}, {entry['subject_id']}"
    return f"{told}; {causes[entry['cause']]}" if entry["cause"] else told

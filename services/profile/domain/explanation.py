"""Why a trait has its value: everything that was said of it, what survived, and why each of the others didn't. Pure."""

from collections.abc import Collection, Sequence

import msgspec

from services.profile.domain.fold import fits
from services.profile.domain.rules import Rules
from services.profile.domain.said import Assertion, Said, cut_middle, sort
from services.profile.domain.survivorship import Chosen, Fields, Reason, judge, latest_removal, misses


class Explanation(msgspec.Struct, frozen=True):
    """`lost` by event id; who isn't in it is chosen. `cut`: not all that was said could be considered, or fits the value. `fields` as of
    `Verdicts`."""

    chosen: Chosen | None
    lost: dict[bytes, Reason]
    cut: bool
    fields: Fields = {}

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.lost)} sealed>"


def explain(said: Sequence[Assertion], trait: str, rules: Rules, verified: Collection[str]) -> Explanation:
    """From the whole history, what a fold with these rules' keeping and a choice by them come to."""
    lost: dict[bytes, Reason] = {one.event_id: "TOO_LARGE" for one in said if not fits(one.value)}
    left = [one for one in said if one.event_id not in lost]
    removed, cut = latest_removal(left), False
    if rules.keeping.keeps_all(trait):
        kept = {one.event_id: _as_kept(one) for one in left if one.value is not None}
        sort(kept)
        cut = cut_middle(kept)
        lost |= {one.event_id: "CUT" for one in left if one.value is not None and one.event_id not in kept}
        left = [one for one in left if one.event_id not in lost]
    verdicts = judge(left, removed, rules.of(trait), verified)
    chosen = verdicts.chosen
    too_large = max((one.rank for one in said if lost.get(one.event_id) == "TOO_LARGE"), default=None)
    cut |= misses(too_large, removed, chosen.by[0].rank if chosen else None, rules.of(trait))
    return Explanation(chosen, lost | verdicts.lost, cut or (chosen is not None and chosen.cut), verdicts.fields)


def not_served(said: Sequence[Assertion]) -> Explanation:
    """Of a computed trait, what sources said under its name."""
    return Explanation(None, {one.event_id: "COMPUTED" for one in said}, cut=False)


def beyond_the_limit(found: Explanation, said: Sequence[Assertion]) -> Explanation:
    """Of a trait that the profile doesn't carry, having more than it can."""
    lost: dict[bytes, Reason] = {one.event_id: found.lost.get(one.event_id, "CUT") for one in said}
    return Explanation(None, lost, cut=True)


def _as_kept(one: Assertion) -> Said:
    return Said(one.source, one.value, one.occurred_at, one.received_at)

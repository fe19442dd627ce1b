"""What a signal means for our own purposes, by a mapping: decisions that are proposed, with their evidence.

More says "no" than "yes", on purpose: an opt-out, an objection and a refusal count wherever they stand; a grant counts only
if the string says all of it, for us, and lacks nothing. A signal that doesn't opt out is no consent: it proposes nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from services.consent.domain.signals.gpp import GppString, UndecodedSection
from services.consent.domain.signals.mapping import DENIALS, Proposals, ProposedDecision, Said, SignalMapping, UsField
from services.consent.domain.signals.plain import CategoryPreferences, GpcHeader, SmsReply, UspString
from services.consent.domain.signals.signal import Evidence
from services.consent.domain.signals.tcf import CanadianTcString, TcString
from services.consent.domain.signals.tcf_held import of_tcf
from services.consent.domain.signals.tcf_policy import defects
from services.consent.domain.signals.us_sections import UsSection

DecodedSection = TcString | CanadianTcString | UspString | UsSection
AnySignal = DecodedSection | GppString | GpcHeader | SmsReply | CategoryPreferences
YES: Final = 1  # of a field of a US section: opted out, or refused
SAID_BY_YES: Final[dict[UsField, Said]] = {
    "sale_opt_out": "opted_out",
    "sharing_opt_out": "opted_out",
    "targeted_advertising_opt_out": "opted_out",
    "sensitive_data_processing": "limited",
    "known_child_sensitive_data_consents": "refused",
    "personal_data_consents": "refused",
    "additional_data_processing_consent": "refused",
}


def propose(signal: AnySignal, mapping: SignalMapping) -> Proposals:
    """A denial wins over a grant of the same purpose, whatever the order of rules and sections."""
    chosen: dict[str, ProposedDecision] = {}
    for decision in _said(signal, mapping):
        held = chosen.get(decision.purpose)
        if held is None or _order(decision) < _order(held):
            chosen[decision.purpose] = decision
    decisions = tuple(chosen[purpose] for purpose in sorted(chosen))
    return Proposals(decisions=decisions, unread=tuple(_unread(signal)), evidence=Evidence.of(signal))


def _order(decision: ProposedDecision) -> tuple[int, str]:
    return DENIALS.index(decision.said) if decision.said in DENIALS else len(DENIALS), decision.because


def _said(signal: AnySignal, mapping: SignalMapping) -> Iterable[ProposedDecision]:
    match signal:
        case GppString():
            return (
                decision
                for section in signal.sections
                if not isinstance(section, UndecodedSection)
                for decision in _of_section(section, mapping)
            )
        case GpcHeader():
            return _each(mapping.gpc if signal.opted_out else (), "opted_out", "gpc")
        case SmsReply():
            return _of_reply(signal, mapping)
        case CategoryPreferences():
            return _of_categories(signal, mapping)
    return _of_section(signal, mapping)


def _of_section(section: DecodedSection, mapping: SignalMapping) -> Iterable[ProposedDecision]:
    match section:
        case TcString():
            return _of_europe(section, mapping)
        case CanadianTcString():
            return filter(None, (of_tcf(section, rule, "tcfca") for rule in mapping.tcf_canada))
        case UspString():
            purposes = mapping.us.get("sale_opt_out", ()) if section.sale_opt_out == "Y" else ()
            return _each(purposes, "opted_out", "usp.sale_opt_out")
    return _of_state(section, mapping)


def _of_europe(tc: TcString, mapping: SignalMapping) -> Iterator[ProposedDecision]:
    """A string that lacks something grants nothing, and still refuses."""
    whole = not defects(tc)
    for rule in mapping.tcf:
        decision = of_tcf(tc, rule, "tcf")
        if decision and (whole or decision.said in DENIALS):
            yield decision


def _of_state(section: UsSection, mapping: SignalMapping) -> Iterator[ProposedDecision]:
    for field, purposes in mapping.us.items():
        value = getattr(section, field)
        if YES in value if isinstance(value, tuple) else value == YES:
            yield from _each(purposes, SAID_BY_YES[field], f"{section.name}.{field}")
    if section.gpc:
        yield from _each(mapping.gpc, "opted_out", f"{section.name}.gpc")


def _of_reply(reply: SmsReply, mapping: SignalMapping) -> Iterable[ProposedDecision]:
    if reply.word == "stop":
        return _each(mapping.stop, "withdrawn", "sms.stop")
    return _each(mapping.start if reply.word == "start" else (), "opted_in", "sms.start")


def _of_categories(preferences: CategoryPreferences, mapping: SignalMapping) -> Iterator[ProposedDecision]:
    for category in preferences.categories:
        said: Said = "granted" if category.consented else "refused"
        yield from _each(mapping.categories.get(category.name, ()), said, "category_preferences")


def _each(purposes: Iterable[str], said: Said, because: str) -> Iterator[ProposedDecision]:
    return (ProposedDecision(purpose=purpose, said=said, because=because) for purpose in purposes)


def _unread(signal: AnySignal) -> Iterator[str]:
    if isinstance(signal, TcString):
        yield from (f"tcf: {defect}" for defect in defects(signal))
    elif isinstance(signal, SmsReply) and signal.unclear:
        yield "sms: UNCLEAR"
    elif isinstance(signal, GppString):
        for section in signal.sections:
            if isinstance(section, UndecodedSection):
                yield f"{section.name}: {section.reason}"
            else:
                yield from _unread(section)

"""Whether a TC string says that one of our purposes is granted, refused or objected to, or nothing of it."""

from services.consent.domain.signals.mapping import ProposedDecision, Said, TcfRule
from services.consent.domain.signals.tcf import TcfChoices, TcString


def of_tcf(tc: TcfChoices, rule: TcfRule, where: str) -> ProposedDecision | None:
    """None: nothing was said. A legitimate interest that stands there isn't a decision: nobody objected."""
    if not _was_asked(tc, rule):
        return None
    said = _of_consent(tc, rule) if rule.basis == "consent" else _of_interest(tc, rule)
    because = f"{where}.{rule.basis}.{'+'.join(map(str, rule.tcf_purposes))}"
    return said and ProposedDecision(purpose=rule.purpose, said=said, because=because)


def _was_asked(tc: TcfChoices, rule: TcfRule) -> bool:
    """Of a publisher without a segment, and of a vendor that wasn't disclosed, the person chose nothing."""
    if rule.whose == "publisher":
        return tc.publisher is not None
    return rule.whose != "vendor" or tc.disclosed_vendors is None or rule.vendor in tc.disclosed_vendors


def _of_consent(tc: TcfChoices, rule: TcfRule) -> Said | None:
    consents = tc.publisher.consents if rule.whose == "publisher" and tc.publisher else tc.consents
    unasked = set[int]() if isinstance(tc, TcString) and not tc.purpose_one_treatment else {1}  # Canada has no purpose 1
    missing = {*rule.tcf_purposes} - {*consents} - unasked or {*rule.special_features} - {*tc.special_features}
    if missing or (rule.whose == "vendor" and rule.vendor not in tc.vendor_consents):
        return "refused"
    return None if unasked & {*rule.tcf_purposes} or _restricted(tc, rule) else "granted"


def _of_interest(tc: TcfChoices, rule: TcfRule) -> Said | None:
    interests = tc.publisher.legitimate_interests if rule.whose == "publisher" and tc.publisher else tc.legitimate_interests
    missing = {*rule.tcf_purposes} - {*interests} or {*rule.special_features} - {*tc.special_features}
    if missing or (rule.whose == "vendor" and rule.vendor not in tc.vendor_legitimate_interests):
        return "objected"
    return None


def _restricted(tc: TcfChoices, rule: TcfRule) -> bool:
    """The publisher forbids us one of the purposes, or consent as its basis: that is no choice of the person."""
    return rule.whose == "vendor" and any(
        one.purpose in rule.tcf_purposes and one.kind in {"not_allowed", "legitimate_interest"} and rule.vendor in one.vendors
        for one in tc.restrictions
    )

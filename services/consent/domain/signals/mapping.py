"""Which of our purposes a signal decides: rules that name both. Data only; `proposing.py` says what follows."""

from typing import Final, Literal

import msgspec

from services.consent.domain.form import NAME
from services.consent.domain.signals.signal import Evidence, Sealed
from services.consent.domain.signals.tcf import PURPOSES, SPECIAL_FEATURES
from shared.errors import InvalidInput

MOST_RULES: Final = 500  # of a mapping, all kinds together

Said = Literal["granted", "opted_in", "refused", "objected", "opted_out", "limited", "withdrawn"]
DENIALS: Final[tuple[Said, ...]] = ("withdrawn", "objected", "opted_out", "refused", "limited")  # the strongest first
UsField = Literal[
    "sale_opt_out",
    "sharing_opt_out",
    "targeted_advertising_opt_out",
    "sensitive_data_processing",
    "known_child_sensitive_data_consents",
    "personal_data_consents",
    "additional_data_processing_consent",
]
NO_LEGITIMATE_INTEREST: Final = frozenset({1, 3, 4, 5, 6})  # TCF 2.2: only consent is a basis for these


class TcfRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Our purpose needs all of these purposes and special features of TCF.

    `whose`: `publisher`, what was chosen for the site itself; `vendor`, what was chosen for the vendor of this id in IAB's
    list, us; `anyone`, the purposes alone. Raises InvalidInput (SIGNAL_MAPPING_INVALID).
    """

    purpose: str
    tcf_purposes: tuple[int, ...]
    special_features: tuple[int, ...] = ()
    basis: Literal["consent", "legitimate_interest"] = "consent"
    whose: Literal["publisher", "vendor", "anyone"]
    vendor: int = 0

    def __post_init__(self) -> None:
        _check(bool(self.tcf_purposes), "a rule names at least one purpose of TCF")
        _check(all(0 < one <= PURPOSES for one in self.tcf_purposes), f"TCF's purposes are 1 to {PURPOSES}")
        _check(all(0 < one <= SPECIAL_FEATURES for one in self.special_features), f"special features are 1 to {SPECIAL_FEATURES}")
        _check(
            (self.whose == "vendor") == (0 < self.vendor < 1 << 16),
            "a vendor's id stands where the vendor is meant, from 1 to 65535",
        )
        _check(
            self.basis == "consent" or not NO_LEGITIMATE_INTEREST.intersection(self.tcf_purposes),
            "TCF has no legitimate interest for its purposes 1 and 3 to 6",
        )


class SignalMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By signal, which of our purposes it decides. Raises InvalidInput (SIGNAL_MAPPING_INVALID)."""

    tcf: tuple[TcfRule, ...] = ()
    tcf_canada: tuple[TcfRule, ...] = ()
    us: dict[UsField, tuple[str, ...]] = {}
    gpc: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()  # what a reply that stops withdraws
    start: tuple[str, ...] = ()  # what a reply that starts takes up again
    categories: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        named = [*self.us.values(), self.gpc, self.stop, self.start, *self.categories.values()]
        rules = (*self.tcf, *self.tcf_canada)
        _check(len(rules) + sum(map(len, named)) <= MOST_RULES, f"a mapping has at most {MOST_RULES} rules")
        purposes = [rule.purpose for rule in rules] + [purpose for some in named for purpose in some]
        _check(all(NAME.fullmatch(purpose) for purpose in purposes), "a purpose is named as it was defined")


class ProposedDecision(Sealed, frozen=True, kw_only=True):
    purpose: str
    said: Said
    because: str  # where in the signal it stands: `tcf.consent.1+3`, `usca.sale_opt_out`, `sms.stop`


class Proposals(Sealed, frozen=True, kw_only=True):
    """`unread` says what of the signal decided nothing, and why: a section that can't be read, a defect of a string."""

    decisions: tuple[ProposedDecision, ...]  # one a purpose, by its name
    unread: tuple[str, ...]
    evidence: Evidence


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise InvalidInput(text, reason="SIGNAL_MAPPING_INVALID")

"""Which of our purposes a signal decides: rules that name both. Data only; `proposing.py` says what follows."""

from typing import Final, Literal

import msgspec

from services.consent.domain.form import NAME
from services.consent.domain.signals.signal import Evidence, Sealed
from services.consent.domain.signals.tcf import PURPOSES, SPECIAL_FEATURES
from shared.errors import InvalidInput

MOST_RULES: Final = 500  # of a mapping, all kinds together
MOST_MAPPING_BYTES: Final = 200_000  # of its document: it is an event of the log

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

    def said(self) -> str:
        asked = "+".join([*map(str, self.tcf_purposes), *(f"feature {one}" for one in self.special_features)])
        whose = f"vendor {self.vendor}" if self.vendor else self.whose
        return f"{self.basis} of {asked}, {whose}: {self.purpose}"


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
        purposes = self.purposes
        _check(len(purposes) <= MOST_RULES, f"a mapping has at most {MOST_RULES} rules")
        _check(all(NAME.fullmatch(purpose) for purpose in purposes), "a purpose is named as it was defined")

    @property
    def purposes(self) -> list[str]:
        """One a rule."""
        named = [*self.us.values(), self.gpc, self.stop, self.start, *self.categories.values()]
        return [rule.purpose for rule in (*self.tcf, *self.tcf_canada)] + [purpose for some in named for purpose in some]

    def said(self) -> dict[str, tuple[str, ...]]:
        """By signal, each rule as a line."""
        rules = {"tcf": self.tcf, "tcf_canada": self.tcf_canada}
        named: dict[str, dict[str, tuple[str, ...]]] = {
            "us": {str(field): some for field, some in self.us.items()},
            "categories": self.categories,
        }
        return {
            **{name: tuple(rule.said() for rule in some) for name, some in rules.items()},
            **{name: tuple(f"{key}: {one}" for key in sorted(some) for one in some[key]) for name, some in named.items()},
            **{name: getattr(self, name) for name in ("gpc", "stop", "start")},
        }


def read_mapping(document: str) -> SignalMapping:
    """Raises InvalidInput (SIGNAL_MAPPING_INVALID). What is wrong is named, and nothing of the document repeated."""
    _check(len(document.encode(errors="replace")) <= MOST_MAPPING_BYTES, f"a mapping is at most {MOST_MAPPING_BYTES} bytes")
    try:
        return _decode(document)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        text = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise InvalidInput(f"a mapping is a JSON object of rules: {text}", reason="SIGNAL_MAPPING_INVALID") from None


_decode = msgspec.json.Decoder(SignalMapping).decode


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

"""The US sections of GPP: which fields each state has, in which order, two bits each.

Source: IAB Tech Lab, Global Privacy Platform, `Sections/US-National` and `Sections/US-States` (github.com/
InteractiveAdvertisingBureau/Global-Privacy-Platform). Maryland, Indiana, Kentucky and Rhode Island are drafts: the
specification announces a header that can't be encoded (a Fibonacci code has no zero), and so IAB's library writes
none; what is read of them is what both have in the same place, up to the opt-outs and consents.
"""

from typing import Any, ClassVar, Final, Self

from services.consent.domain.signals.bits import Bits
from services.consent.domain.signals.signal import Signal, check_length, malformed, unknown_version

Layout = tuple[tuple[str, int], ...]  # fields, and how many values each has
GPC_SEGMENT: Final = 1
UNDEFINED: Final = 3


class UsSection(Signal, frozen=True, kw_only=True):
    """0 doesn't apply, 1 yes, 2 no: 1 is a notice given, an opt-out made, a consent refused. None: the section has no such field."""

    decoder: ClassVar[str] = "gpp_us"
    decoder_version: ClassVar[int] = 1

    id: int
    name: str
    version: int
    sharing_notice: int | None = None
    processing_notice: int | None = None
    sale_opt_out_notice: int | None = None
    sharing_opt_out_notice: int | None = None
    targeted_advertising_opt_out_notice: int | None = None
    sensitive_data_processing_opt_out_notice: int | None = None
    sensitive_data_limit_use_notice: int | None = None
    sale_opt_out: int | None = None
    sharing_opt_out: int | None = None
    targeted_advertising_opt_out: int | None = None
    sensitive_data_processing: tuple[int, ...] = ()
    known_child_sensitive_data_consents: tuple[int, ...] = ()
    personal_data_consents: int | None = None
    additional_data_processing_consent: int | None = None
    mspa_covered_transaction: int | None = None
    mspa_opt_out_option_mode: int | None = None
    mspa_service_provider_mode: int | None = None
    mspa_mode: int | None = None
    gpc: bool | None = None  # None: the section doesn't say
    unknown_segments: tuple[str, ...] = ()

    @classmethod
    def decode(cls, section: int, text: str) -> Self:
        """`section` is one of `US_SECTIONS`.

        Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED, SIGNAL_TRUNCATED, SIGNAL_VERSION_UNKNOWN).
        """
        check_length(text)
        core, *others = text.split(".")
        bits = Bits(core)
        version = bits.number(6)
        fields: dict[str, Any] = {name: _values(bits, name, count) for name, count in _layout(section, version, bits)}
        return cls(raw=text, id=section, name=US_SECTIONS[section], version=version, **fields, **_others(section, others))


US_SECTIONS: Final = {
    **{7: "usnat", 8: "usca", 9: "usva", 10: "usco", 11: "usut", 12: "usct", 13: "usfl", 14: "usmt", 15: "usor", 16: "ustx"},
    **{17: "usde", 18: "usia", 19: "usne", 20: "usnh", 21: "usnj", 22: "ustn", 23: "usmn", 24: "usmd", 25: "usin", 26: "usky"},
    27: "usri",
}
MSPA: Final = ("mspa_covered_transaction", "mspa_opt_out_option_mode", "mspa_service_provider_mode")
SOLD_NOTICES: Final = ("sale_opt_out_notice", "targeted_advertising_opt_out_notice")
SOLD: Final = ("sale_opt_out", "targeted_advertising_opt_out")


def _one_each(*names: str) -> Layout:
    return tuple((name, 1) for name in names)


def _state(*first: str, sensitive: int, child: int, consent: str | None) -> Layout:
    """How nearly all are laid out: notices and opt-outs, two lists of consents, then the agreement between companies."""
    lists = (("sensitive_data_processing", sensitive), ("known_child_sensitive_data_consents", child))
    return (*_one_each(*first), *lists, *_one_each(*([consent] if consent else []), *MSPA))


def _plain_state(notice: str, sensitive: int, child: int, consent: str | None = "additional_data_processing_consent") -> Layout:
    return _state(notice, *SOLD_NOTICES, *SOLD, sensitive=sensitive, child=child, consent=consent)


def _national(sensitive: int, child: int) -> Layout:
    notices = ("sale_opt_out_notice", "sharing_opt_out_notice", "targeted_advertising_opt_out_notice")
    more_notices = ("sensitive_data_processing_opt_out_notice", "sensitive_data_limit_use_notice")
    opt_outs = ("sale_opt_out", "sharing_opt_out", "targeted_advertising_opt_out")
    return _state(
        "sharing_notice", *notices, *more_notices, *opt_outs, sensitive=sensitive, child=child, consent="personal_data_consents"
    )


def _with_opt_out_of_sensitive(notice: str) -> Layout:
    """Utah and Iowa: sensitive data is opted out of, after a notice of its own."""
    notices = (*SOLD_NOTICES, "sensitive_data_processing_opt_out_notice")
    return _state(notice, *notices, *SOLD, sensitive=8, child=1, consent=None)


def _draft(*consents: str) -> Layout:
    return _one_each("mspa_covered_transaction", "mspa_mode", "processing_notice", *SOLD_NOTICES, *SOLD, *consents)


NATIONAL_1: Final = _national(12, 2)
NATIONAL_2: Final = _national(16, 3)
CALIFORNIA: Final = _state(
    *("sale_opt_out_notice", "sharing_opt_out_notice", "sensitive_data_limit_use_notice", "sale_opt_out", "sharing_opt_out"),
    sensitive=9,
    child=2,
    consent="personal_data_consents",
)
OF_DRAFTS: Final = _draft("known_child_sensitive_data_consents", "additional_data_processing_consent")
LAYOUTS: Final[dict[int, Layout]] = {
    8: CALIFORNIA,
    9: _plain_state("sharing_notice", 8, 1, None),
    10: _plain_state("sharing_notice", 7, 1, None),
    11: _with_opt_out_of_sensitive("sharing_notice"),
    12: _plain_state("sharing_notice", 8, 3, None),
    13: _plain_state("processing_notice", 8, 3),
    14: _plain_state("sharing_notice", 8, 3),
    15: _plain_state("processing_notice", 11, 3),
    16: _plain_state("processing_notice", 8, 1),
    17: _plain_state("processing_notice", 9, 5),
    18: _with_opt_out_of_sensitive("processing_notice"),
    19: _plain_state("processing_notice", 8, 1),
    20: _plain_state("processing_notice", 8, 3),
    21: _plain_state("processing_notice", 10, 5),
    22: _plain_state("processing_notice", 8, 1),
    23: _plain_state("processing_notice", 8, 1),
    24: _draft("additional_data_processing_consent"),
    25: OF_DRAFTS,
    26: OF_DRAFTS,
    27: OF_DRAFTS,
}
WITHOUT_GPC: Final = frozenset({25, 26, 27})  # their second segment is consents in one place and GPC in the other
LISTS: Final = frozenset({"sensitive_data_processing", "known_child_sensitive_data_consents"})


def _layout(section: int, version: int, bits: Bits) -> Layout:
    """IAB's library wrote the second version's national fields under the first version's number: they tell by their length."""
    if section != 7 and version == 1:
        return LAYOUTS[section]
    if section == 7 and version in (1, 2):
        return NATIONAL_2 if version == 2 or bits.left >= width(NATIONAL_2) else NATIONAL_1
    raise unknown_version(version)


def width(layout: Layout) -> int:
    """In bits, without the version."""
    return sum(2 * count for _, count in layout)


def _values(bits: Bits, name: str, count: int) -> int | tuple[int, ...]:
    values = tuple(bits.number(2) for _ in range(count))
    if UNDEFINED in values:
        raise malformed("a field of two bits is 0, 1 or 2")
    return values if name in LISTS else values[0]


def _others(section: int, texts: list[str]) -> dict[str, Any]:
    """GPC, if it is there; also in a state that defines none: what somebody says there is an opt-out all the same."""
    fields: dict[str, Any] = {}
    unknown = []
    for text in texts:
        bits = Bits(text)
        if section in WITHOUT_GPC or bits.number(2) != GPC_SEGMENT:
            unknown.append(text)
        elif "gpc" in fields:
            raise malformed("a segment stands there twice")
        else:
            fields["gpc"] = bits.flag()
    return fields | {"unknown_segments": tuple(unknown)}

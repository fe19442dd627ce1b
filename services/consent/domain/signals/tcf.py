"""IAB Europe's TC strings, version 2 (TCF 2.0 to 2.3), and the Canadian section of GPP, which is built alike.

Source: IAB Tech Lab, "Transparency and Consent String with Global Vendor & CMP List Formats", and for Canada "GPP
Extension: IAB TCF Canada Technical Specification". Canada's vendors are read as IAB's own library writes them
(OptimizedIntRange); the specification names another type, which nobody writes.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, Self, TypeVar

from services.consent.domain.signals.bits import Bits, Vendors
from services.consent.domain.signals.signal import Sealed, Signal, check_length, malformed, unknown_version
from shared.instants import SECOND

DECISECOND: Final = SECOND // 10
PURPOSES: Final = 24
SPECIAL_FEATURES: Final = 12
MOST_SEGMENTS: Final = 8  # their type has three bits

RestrictionKind = Literal["not_allowed", "consent", "legitimate_interest", "undefined"]
KINDS: Final[tuple[RestrictionKind, ...]] = ("not_allowed", "consent", "legitimate_interest", "undefined")


class Restriction(Sealed, frozen=True, kw_only=True):
    """What the publisher lets these vendors do for a purpose: nothing, or only on the legal basis named."""

    purpose: int
    kind: RestrictionKind
    vendors: Vendors


class PublisherPurposes(Sealed, frozen=True, kw_only=True):
    """What was chosen for the publisher itself: TCF's purposes, and custom ones that only the publisher knows."""

    consents: tuple[int, ...]
    legitimate_interests: tuple[int, ...]
    custom_consents: tuple[int, ...]
    custom_legitimate_interests: tuple[int, ...]


class TcfChoices(Signal, frozen=True, kw_only=True):
    """Ids are of IAB's lists. `created` and `last_updated` (microseconds) say the day, no more: never order decisions by them.

    A legitimate interest that isn't there was never told, or was objected to. In Canada consent is express consent, and
    legitimate interest is implied consent.
    """

    created: int
    last_updated: int
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    non_standard_stacks: bool
    special_features: tuple[int, ...]
    consents: tuple[int, ...]
    legitimate_interests: tuple[int, ...]
    vendor_consents: Vendors
    vendor_legitimate_interests: Vendors
    restrictions: tuple[Restriction, ...] = ()
    disclosed_vendors: Vendors | None = None  # None: the string doesn't say
    allowed_vendors: Vendors | None = None
    publisher: PublisherPurposes | None = None
    unknown_segments: tuple[str, ...] = ()


class TcString(TcfChoices, frozen=True, kw_only=True):
    decoder: ClassVar[str] = "tcf"
    decoder_version: ClassVar[int] = 1

    service_specific: bool
    purpose_one_treatment: bool
    publisher_country: str

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED, SIGNAL_TRUNCATED, SIGNAL_VERSION_UNKNOWN)."""
        return _decode(cls, text, _core_of_europe)


class CanadianTcString(TcfChoices, frozen=True, kw_only=True):
    decoder: ClassVar[str] = "tcf_canada"
    decoder_version: ClassVar[int] = 1

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED, SIGNAL_TRUNCATED, SIGNAL_VERSION_UNKNOWN)."""
        return _decode(cls, text, _core_of_canada)


T = TypeVar("T", bound=TcfChoices)
Fields = dict[str, Any]


def _decode(kind: type[T], text: str, core: Callable[[Bits], Fields]) -> T:
    check_length(text)
    first, *others = text.split(".", MOST_SEGMENTS)
    if len(others) >= MOST_SEGMENTS:
        raise malformed(f"a string has at most {MOST_SEGMENTS} segments")
    return kind(raw=text, **core(Bits(first)), **_segments(others))


def _core_of_europe(bits: Bits) -> Fields:
    return {
        **_who_and_when(bits, version=2),
        "service_specific": bits.flag(),
        "non_standard_stacks": bits.flag(),
        **_purposes(bits),
        "purpose_one_treatment": bits.flag(),
        "publisher_country": bits.letters(2),
        **_vendors(bits),
        "restrictions": _restrictions(bits),
    }


def _core_of_canada(bits: Bits) -> Fields:
    """Restrictions came with TCF Canada 1.1: earlier strings end, or are padded with zeros, where their number stands."""
    fields = {
        **_who_and_when(bits, version=1),
        "non_standard_stacks": bits.flag(),
        **_purposes(bits),
        **_vendors(bits),
    }
    return fields | {"restrictions": _restrictions(bits) if bits.left >= 12 else ()}


def _who_and_when(bits: Bits, version: int) -> Fields:
    if (given := bits.number(6)) != version:
        raise unknown_version(given)
    return {
        "created": bits.number(36) * DECISECOND,
        "last_updated": bits.number(36) * DECISECOND,
        "cmp_id": bits.number(12),
        "cmp_version": bits.number(12),
        "consent_screen": bits.number(6),
        "consent_language": bits.letters(2),
        "vendor_list_version": bits.number(12),
        "policy_version": bits.number(6),
    }


def _purposes(bits: Bits) -> Fields:
    return {
        "special_features": bits.ids(SPECIAL_FEATURES),
        "consents": bits.ids(PURPOSES),
        "legitimate_interests": bits.ids(PURPOSES),
    }


def _vendors(bits: Bits) -> Fields:
    return {"vendor_consents": bits.vendors(), "vendor_legitimate_interests": bits.vendors()}


def _restrictions(bits: Bits) -> tuple[Restriction, ...]:
    return tuple(
        Restriction(purpose=bits.number(6), kind=KINDS[bits.number(2)], vendors=bits.ranges()) for _ in range(bits.number(12))
    )


def _segments(texts: list[str]) -> Fields:
    """Those after the first, in any order. One of a type that nobody has defined yet is kept as it is."""
    fields: Fields = {}
    unknown = []
    for text in texts:
        bits = Bits(text)
        value: Vendors | PublisherPurposes
        match bits.number(3):
            case 1:
                name, value = "disclosed_vendors", bits.vendors()
            case 2:
                name, value = "allowed_vendors", bits.vendors()
            case 3:
                name, value = "publisher", _publisher(bits)
            case _:
                unknown.append(text)
                continue
        if name in fields:
            raise malformed("a segment stands there twice")
        fields[name] = value
    return fields | {"unknown_segments": tuple(unknown)}


def _publisher(bits: Bits) -> PublisherPurposes:
    consents, legitimate_interests = bits.ids(PURPOSES), bits.ids(PURPOSES)
    custom = bits.number(6)
    return PublisherPurposes(
        consents=consents,
        legitimate_interests=legitimate_interests,
        custom_consents=bits.ids(custom),
        custom_legitimate_interests=bits.ids(custom),
    )

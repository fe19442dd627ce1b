"""IAB's GPP strings, version 1: a header that names the sections, and each as its own specification says.

Source: IAB Tech Lab, "Global Privacy Platform String" and "Section Information" (github.com/InteractiveAdvertisingBureau/
Global-Privacy-Platform).
"""

from typing import ClassVar, Final, Self

from services.consent.domain.signals.bits import Bits
from services.consent.domain.signals.plain import UspString
from services.consent.domain.signals.signal import Sealed, Signal, check_length, malformed, unknown_version
from services.consent.domain.signals.tcf import CanadianTcString, TcString
from services.consent.domain.signals.us_sections import US_SECTIONS, UsSection
from shared.errors import InvalidInput

HEADER_TYPE: Final = 3
VERSION: Final = 1
MOST_SECTIONS: Final = 100  # of a string; fewer than thirty have been defined
SECTIONS: Final = {1: "tcfeuv1", 2: "tcfeuv2", 3: "header", 4: "integrity", 5: "tcfca", 6: "uspv1", **US_SECTIONS}


class UndecodedSection(Sealed, frozen=True, kw_only=True):
    """One that isn't known, or can't be read: it takes nothing from the others."""

    id: int
    name: str  # the id in digits where nobody has named it
    raw: str
    reason: str


Section = TcString | CanadianTcString | UspString | UsSection | UndecodedSection


class GppString(Signal, frozen=True, kw_only=True):
    decoder: ClassVar[str] = "gpp"
    decoder_version: ClassVar[int] = 1

    ids: tuple[int, ...]
    sections: tuple[Section, ...]  # in the order of `ids`

    @classmethod
    def decode(cls, text: str) -> Self:
        """A section that can't be read is kept with its reason.

        Raises InvalidInput (SIGNAL_TOO_LONG, SIGNAL_MALFORMED, SIGNAL_TRUNCATED, SIGNAL_VERSION_UNKNOWN) of its header.
        """
        check_length(text)
        header, *sections = text.split("~", MOST_SECTIONS + 1)
        ids = _ids(Bits(header))
        if len(sections) != len(ids):
            raise malformed("a string has as many sections as its header names")
        return cls(raw=text, ids=ids, sections=tuple(_section(id, raw) for id, raw in zip(ids, sections, strict=True)))


def _ids(bits: Bits) -> tuple[int, ...]:
    """How many (12 bits); of each whether it is a group, how far it is from the last, and how far a group goes on."""
    if bits.number(6) != HEADER_TYPE:
        raise malformed("a GPP string begins with its header")
    if (version := bits.number(6)) != VERSION:
        raise unknown_version(version)
    ids: list[int] = []
    last = 0
    for _ in range(bits.number(12)):
        is_group, first = bits.flag(), last + bits.fibonacci()
        last = first + bits.fibonacci() if is_group else first
        if last - first >= MOST_SECTIONS or len(ids) >= MOST_SECTIONS:
            raise malformed(f"a string has at most {MOST_SECTIONS} sections")
        ids.extend(range(first, last + 1))
    return tuple(ids)


def _section(section: int, raw: str) -> Section:
    try:
        return _decoded(section, raw)
    except InvalidInput as unreadable:
        return UndecodedSection(id=section, name=SECTIONS.get(section, str(section)), raw=raw, reason=unreadable.reason)


def _decoded(section: int, raw: str) -> Section:
    match section:
        case 2:
            return TcString.decode(raw)
        case 5:
            return CanadianTcString.decode(raw)
        case 6:
            return UspString.decode(raw)
        case _ if section in US_SECTIONS:
            return UsSection.decode(section, raw)
    raise InvalidInput("there is no decoder for this section", reason="SIGNAL_SECTION_UNKNOWN", section=section)

"""GPP strings that others published.

HEADERS and the three full strings: IAB Tech Lab's "Global Privacy Platform String", its header and string examples.
ALL_SECTIONS, OLD_NATIONAL, MARYLAND and KENTUCKY: tests of github.com/IABTechLab/iabgpp-es (GppModel, UsNat, UsMd, UsKy).
STATES: tests/data of github.com/noirotm/iabgpp-rs. Fibonacci codes: the table of IAB's specification. Names that begin with
MADE are ours.
"""

import pytest

from services.consent.domain.signals.bits import Bits
from services.consent.domain.signals.gpp import SECTIONS, GppString, UndecodedSection
from services.consent.domain.signals.plain import UspString
from services.consent.domain.signals.signal import MOST_CHARACTERS
from services.consent.domain.signals.tcf import CanadianTcString, TcString
from services.consent.domain.signals.us_sections import US_SECTIONS, UsSection
from shared.errors import InvalidInput
from tests.properties.signal_writer import Writer

HEADERS = {"DBABM": (2,), "DBACNY": (2, 6), "DBABjw": (5, 6), "DBAA": ()}
TC = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"
ALL_SECTIONS = (
    "DBACOdM~CPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAAAA.QAAA.IAAA~BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA.YAAAAAAAAAA~1---"
    "~BAAAAAAAAABA.QA~BAAAAABA.QA~BAAAABA~BAAAAEA.QA~BAAAAAQA~BAAAAAEA.QA~BAAAAABA~BAAAAABA.QA~BAAAAAABAA.QA~BAAAAAQA.QA"
    "~BAAAAAABAA.QA~BAAAAAQA.QA~BAAAAAQA.QA~BAAAAABA.QA~BAAAAAAAQA.QA~BAAAAAQA.QA"
)
OLD_NATIONAL = "BVVVkkkkkpFY.YA"
MARYLAND = "BVVV.Y"
KENTUCKY = "BVVVkkk.YA"


@pytest.mark.parametrize(
    ("bits", "number"), [("11", 1), ("011", 2), ("0011", 3), ("1011", 4), ("00011", 5), ("10011", 6), ("01011", 7)]
)
def test_fibonacci_codes(bits: str, number: int) -> None:
    assert Bits(Writer().put(int(bits, 2), len(bits)).text()).fibonacci() == number


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_names_the_sections(header: str) -> None:
    ids = HEADERS[header]
    assert GppString.decode("~".join([header, *(["?"] * len(ids))])).ids == ids


@pytest.mark.parametrize("header", ["DBABM", "DBABMA"])
def test_a_string_with_a_tc_string_in_it(header: str) -> None:
    assert GppString.decode(f"{header}~{TC}").sections == (TcString.decode(TC),)


def test_a_string_with_two_sections() -> None:
    assert GppString.decode(f"DBACNYA~{TC}~1YNN").sections == (TcString.decode(TC), UspString.decode("1YNN"))


def test_what_can_not_be_read_takes_nothing_from_the_others() -> None:
    """The specification's third example has a European string where a Canadian one belongs."""
    canadian, usp = GppString.decode(f"DBABjw~{TC}~1YNN").sections
    assert canadian == UndecodedSection(id=5, name="tcfca", raw=TC, reason="SIGNAL_VERSION_UNKNOWN")
    assert usp == UspString.decode("1YNN")


def test_all_sections_in_one_string() -> None:
    """Where the agreement's field is 1 and all else is 0, every field stands in its place."""
    gpp = GppString.decode(ALL_SECTIONS)
    assert gpp.ids == (2, *range(5, 23))
    european, canadian, usp, *american = gpp.sections
    assert isinstance(european, TcString)
    assert isinstance(canadian, CanadianTcString)
    assert usp == UspString.decode("1---")
    for section in american:
        assert isinstance(section, UsSection)
        assert section.name == US_SECTIONS[section.id]
        assert (section.version, section.mspa_covered_transaction) == (1, 1)
        assert {section.sale_opt_out, section.mspa_opt_out_option_mode, section.mspa_service_provider_mode} == {0}
        assert set(section.sensitive_data_processing) == {0}
        assert section.gpc is (None if section.name in {"usva", "usut", "usfl"} else False)


STATES = {
    "DBABLA~BVVVVVVVVWA.YA": ((1, 1, 1), (1,) * 12, (1, 1), 1, (1, 1, 2), True),
    "DBABLA~CAAAAAAAAAWA.Q": ((0, 0, 0), (0,) * 16, (0, 0, 1), 1, (2, 0, 0), False),
    "DBABBg~BVqqqqpY.YA": ((2, 2, None), (2,) * 9, (2, 2), 2, (1, 1, 2), True),
    "DBABFg~BVVVVVmA": ((1, None, 1), (1,) * 8, (1,), None, (2, 1, 2), None),
    "DBABRg~BVVVVWY": ((1, None, 1), (1,) * 8, (1,), None, (2, 1, 2), None),
    "DBABVg~BVVVVVVg.YA": ((1, None, 1), (1,) * 8, (1, 1, 1), None, (1, 1, 2), True),
}


@pytest.mark.parametrize("text", STATES)
def test_the_fields_of_a_state(text: str) -> None:
    (section,) = GppString.decode(text).sections
    assert isinstance(section, UsSection)
    opt_outs, sensitive, child, consent, mspa, gpc = STATES[text]
    assert (section.sale_opt_out, section.sharing_opt_out, section.targeted_advertising_opt_out) == opt_outs
    assert (section.sensitive_data_processing, section.known_child_sensitive_data_consents) == (sensitive, child)
    assert section.personal_data_consents == consent
    assert (section.mspa_covered_transaction, section.mspa_opt_out_option_mode, section.mspa_service_provider_mode) == mspa
    assert section.gpc is gpc


def test_national_fields_of_the_second_version_under_the_number_of_the_first() -> None:
    section = UsSection.decode(7, OLD_NATIONAL)
    assert section.sensitive_data_processing == (2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2)
    assert section.known_child_sensitive_data_consents == (2, 1, 0)
    assert (section.mspa_covered_transaction, section.mspa_opt_out_option_mode, section.mspa_service_provider_mode) == (1, 1, 2)
    assert section.gpc


def test_of_drafts_what_is_certain_is_read() -> None:
    maryland, kentucky = UsSection.decode(24, MARYLAND), UsSection.decode(26, KENTUCKY)
    for section in (maryland, kentucky):
        assert (section.sale_opt_out, section.targeted_advertising_opt_out, section.additional_data_processing_consent) == (1, 1, 1)
        assert (section.mspa_mode, section.processing_notice) == (1, 1)
    assert (maryland.gpc, kentucky.gpc) == (True, None)
    assert (kentucky.known_child_sensitive_data_consents, kentucky.unknown_segments) == ((1,), ("YA",))


MADE_UNKNOWN = Writer().put(3, 6).put(1, 6).put(1, 12).put(0, 1).put_fibonacci(90).text() + "~anything.at-all"


def test_a_section_that_nobody_knows_yet_is_kept() -> None:
    (section,) = GppString.decode(MADE_UNKNOWN).sections
    assert section == UndecodedSection(id=90, name="90", raw="anything.at-all", reason="SIGNAL_SECTION_UNKNOWN")
    assert 90 not in SECTIONS


MADE_MANY = Writer().put(3, 6).put(1, 6).put(1, 12).put(1, 1).put_fibonacci(1).put_fibonacci(40_000).text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SIGNAL_TRUNCATED"),
        ("z", "SIGNAL_MALFORMED"),
        ("invalid gpp string", "SIGNAL_MALFORMED"),
        ("DCAA", "SIGNAL_VERSION_UNKNOWN"),
        ("DBAB", "SIGNAL_TRUNCATED"),
        ("DBABM", "SIGNAL_MALFORMED"),
        (f"DBABM~{TC}~1YNN", "SIGNAL_MALFORMED"),
        (MADE_MANY, "SIGNAL_MALFORMED"),
        (Writer().put(3, 6).put(1, 6).put(1, 12).put(0, 60).put(3, 2).text(), "SIGNAL_MALFORMED"),
        ("DBAA" + "A" * MOST_CHARACTERS, "SIGNAL_TOO_LONG"),
    ],
)
def test_what_is_no_gpp_string_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        GppString.decode(text)
    assert refused.value.reason == reason


def test_a_group_of_thousands_is_not_even_counted() -> None:
    with pytest.raises(InvalidInput, match="at most 100 sections"):
        GppString.decode(MADE_MANY)


@pytest.mark.parametrize(
    ("section", "text", "reason"),
    [
        (8, "", "SIGNAL_TRUNCATED"),
        (8, "CVVVVVVVVWA.YA", "SIGNAL_VERSION_UNKNOWN"),
        (7, "gqgkgAAAAEA", "SIGNAL_VERSION_UNKNOWN"),
        (8, "BVqqqqpY.YA.YA", "SIGNAL_MALFORMED"),
        (8, "B_______", "SIGNAL_MALFORMED"),
        (9, "BVVVV", "SIGNAL_TRUNCATED"),
    ],
)
def test_what_is_no_section_is_refused(section: int, text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        UsSection.decode(section, text)
    assert refused.value.reason == reason

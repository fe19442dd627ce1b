"""TC strings that others published, and what each can't be.

From IAB Tech Lab's "Transparency and Consent String with Global Vendor & CMP List Formats" (github.com/InteractiveAdvertisingBureau/
GDPR-Transparency-and-Consent-Framework): OF_2_3 (commit 8930740), ALL_SEGMENTS, WITH_PUBLISHER and DISCLOSED (its examples of
2020). What is in DISCLOSED and PURPOSES is what tests of github.com/noirotm/iabgpp-rs (tcfeuv2.rs) expect of them; CANADIAN is
its tcfcav1_full.json, and OF_GPP the example of IAB's "Global Privacy Platform String". Names that begin with MADE are ours.
"""

import pytest
from msgspec.structs import replace

from services.consent.domain.signals.signal import MOST_CHARACTERS
from services.consent.domain.signals.tcf import CanadianTcString, PublisherPurposes, TcString
from services.consent.domain.signals.tcf_policy import TCF_2_2, TCF_2_3, defects
from shared.errors import InvalidInput
from shared.instants import from_iso
from tests.properties.signal_writer import Writer

OF_2_3 = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA"
WITH_PUBLISHER = "CLcVDxRMWfGmWAVAHCENAXCkAKDAADnAABRgA5mdfCKZuYJez-NQm0TBMYA4oCAAGQYIAAAAAAEAIAEgAA.argAC0gAAAAAAAAAAAA"
CORE = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA"
DISCLOSED = (
    "IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
)
PURPOSES = "ZAAgH9794ulA"
ALL_SEGMENTS = (
    "COw4XqLOw4XqLAAAAAENAXCAAAAAAAAAAAAAAAAAAAAA."
    "IFukWSQgAIQwgI0QEByFAAAAeIAACAIgSAAQAIAgEQACEABAAAgAQFAEAIAAAGBAAgAAAAQAIFAAMCQAAgAAQiRAEQAAAAANAAIAAggAIYQFAAARmggBC3ZCYzU2yIA."
    "QFukWSQgAIQwgI0QEByFAAAAeIAACAIgSAAQAIAgEQACEABAAAgAQFAEAIAAAGBAAgAAAAQAIFAAMCQAAgAAQiRAEQAAAAANAAIAAggAIYQFAAARmggBC3ZCYzU2yIA."
    "YAAAAAAAAAAAAAAAAAA"
)
OF_GPP = "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"
CANADIAN = (
    "BQMC4oAQMC4oAPoABABGB0CYAf8AAf8AAAqdA-AAUABwAFQALQAaABLACgAF0ANoAdwA_QCCAIQARQAnwBWgC3AGUANMAc4A7gCAQElASYAnYBPwDFAGaAM6AZ8A14B_"
    "AEngJyAT-Ao8BUQCpQFvALhAXQAvcBf4DBwGYANNAbUA3EBxoDxAHmgPkAgIBCQCNwEpYJgAmCBNUCa4E5gJ-AUmApYBU4FToHwACgAOAAqABaADQAJYAUAAugBtADuAH6"
    "AQQBCACKAE-AK0AW4AygBpgDnAHcAQCAkoCTAE7AJ-AYoAzQBnQDPgGvAP4Ak8BOQCfwFHgKiAVKAt4BcIC6AF7gL_AYOAzABpoDagG4gONAeIA80B8gEBAISARuAlLBM"
    "AEwQJqgTXAnMBPwCkwFLAKnAAAA.YAAAAAAAAAA"
)


def test_the_example_of_tcf_2_3_names_the_vendors_that_were_disclosed() -> None:
    tc = TcString.decode(OF_2_3)
    assert tc.created == tc.last_updated == from_iso("2025-06-03T00:00:00Z")
    assert (tc.cmp_id, tc.consent_language, tc.vendor_list_version, tc.publisher_country) == (880, "EN", 48, "DE")
    assert tc.service_specific
    assert tc.vendor_consents.ranges == ((1, 4),)
    assert tc.disclosed_vendors is not None
    assert tc.disclosed_vendors.ranges == ((1, 5), (100, 100), (404, 404))


def test_the_example_with_a_publisher_has_what_was_chosen_for_it() -> None:
    tc = TcString.decode(WITH_PUBLISHER)
    assert (tc.cmp_id, tc.cmp_version, tc.consent_screen, tc.policy_version) == (21, 7, 2, 2)
    assert tc.consents == (1, 3, 9, 10)
    assert tc.publisher is not None
    assert tc.publisher.consents == (2, 4, 6, 8, 9, 10)


@pytest.mark.parametrize("text", [f"{CORE}.{DISCLOSED}.{PURPOSES}", f"{CORE}.{PURPOSES}.{DISCLOSED}"])
def test_segments_stand_in_any_order(text: str) -> None:
    tc = TcString.decode(text)
    assert tc.created == from_iso("2020-02-20T23:57:39.300000Z")
    assert (tc.cmp_id, tc.vendor_list_version, tc.consents) == (27, 15, (1, 2, 3))
    assert tc.vendor_consents.ranges == tc.vendor_legitimate_interests.ranges == ((2, 2), (6, 6), (8, 8))
    assert tc.disclosed_vendors is not None
    assert tc.disclosed_vendors.ranges[:4] == ((2, 2), (6, 6), (8, 8), (12, 12))
    assert (720 in tc.disclosed_vendors, 717 in tc.disclosed_vendors, 721 in tc.disclosed_vendors) == (True, False, False)
    assert tc.publisher == PublisherPurposes(
        consents=(3, 16),
        legitimate_interests=(1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 21, 22, 23, 24),
        custom_consents=(1, 2, 4),
        custom_legitimate_interests=(2, 4),
    )


def test_a_string_may_have_all_segments() -> None:
    tc = TcString.decode(ALL_SEGMENTS)
    assert tc.disclosed_vendors == tc.allowed_vendors
    assert tc.publisher is not None
    assert not tc.service_specific


def test_the_example_of_gpp_is_read() -> None:
    tc = TcString.decode(OF_GPP)
    assert tc.created == from_iso("2022-04-20T22:00:00Z")
    assert (tc.cmp_id, tc.cmp_version, tc.vendor_list_version, tc.publisher_country) == (31, 640, 126, "DE")


def test_a_canadian_string_is_built_alike() -> None:
    tc = CanadianTcString.decode(CANADIAN)
    assert tc.created == from_iso("2025-01-30T00:00:00Z")
    assert (tc.cmp_id, tc.consent_language, tc.vendor_list_version) == (1000, "BG", 116)
    assert (tc.special_features, tc.consents, tc.legitimate_interests) == ((1, 2), tuple(range(1, 10)), tuple(range(1, 10)))
    assert tc.vendor_consents == tc.vendor_legitimate_interests
    assert tc.vendor_consents.ranges[:3] == ((10, 10), (28, 28), (42, 42))
    assert tc.vendor_consents.ranges[-1] == (1358, 1358)
    assert sum(last - first + 1 for first, last in tc.vendor_consents.ranges) == 66


MADE_SECRET = "C-1987-" * 9


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SIGNAL_TRUNCATED"),
        ("CPX", "SIGNAL_TRUNCATED"),
        (DISCLOSED, "SIGNAL_VERSION_UNKNOWN"),
        (CANADIAN, "SIGNAL_VERSION_UNKNOWN"),
        (f"{OF_2_3}.", "SIGNAL_TRUNCATED"),
        (f"{OF_2_3}.{DISCLOSED}", "SIGNAL_MALFORMED"),
        (f"{OF_GPP}=", "SIGNAL_MALFORMED"),
        (f"{OF_GPP}\x00", "SIGNAL_MALFORMED"),
        (f"{OF_GPP}\ud800", "SIGNAL_MALFORMED"),
        (OF_GPP + ".oAAA" * 8, "SIGNAL_MALFORMED"),
        (OF_GPP + "A" * MOST_CHARACTERS, "SIGNAL_TOO_LONG"),
        (MADE_SECRET, "SIGNAL_MALFORMED"),
    ],
)
def test_what_can_not_be_read_is_refused_and_not_repeated(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        TcString.decode(text)
    assert refused.value.reason == reason
    assert len(text) < 3 or text not in f"{refused.value.message} {refused.value.facts}"


def made(vendors: Writer) -> str:
    """A core in which only vendors are named, ours."""
    core = Writer().put(2, 6).put(0, 36 + 36 + 12 + 12 + 6 + 12 + 12 + 6 + 2 + 12 + 24 + 24 + 1 + 12)
    core.put(vendors.value, vendors.width)
    return core.put(0, 16 + 1 + 12).text()


@pytest.mark.parametrize(
    "entry",
    [
        Writer().put(9, 16).put(1, 1).put(1, 12).put(0, 1).put(0, 16),
        Writer().put(9, 16).put(1, 1).put(1, 12).put(1, 1).put(0, 16).put(3, 16),
        Writer().put(9, 16).put(1, 1).put(1, 12).put(1, 1).put(5, 16).put(4, 16),
        Writer().put(9, 16).put(1, 1).put(1, 12).put(1, 1).put(5, 16).put(10, 16),
    ],
    ids=["vendor 0", "from vendor 0", "backwards", "above the highest"],
)
def test_ranges_that_contradict_themselves_are_refused(entry: Writer) -> None:
    with pytest.raises(InvalidInput) as refused:
        TcString.decode(made(entry))
    assert refused.value.reason == "SIGNAL_MALFORMED"


def test_a_range_may_be_of_one_and_reach_the_highest() -> None:
    entries = Writer().put(9, 16).put(1, 1).put(2, 12).put(1, 1).put(4, 16).put(4, 16).put(1, 1).put(6, 16).put(9, 16)
    assert TcString.decode(made(entries)).vendor_consents.ranges == ((4, 4), (6, 9))


def test_a_segment_of_a_type_to_come_is_kept_as_it_is() -> None:
    assert TcString.decode(f"{OF_GPP}.oAAA").unknown_segments == ("oAAA",)


def test_a_string_lacks_what_the_policies_of_its_day_ask_for() -> None:
    tc = TcString.decode(OF_GPP)  # of policy 2, without the vendors that were disclosed
    assert defects(tc) == ()
    assert defects(replace(tc, last_updated=TCF_2_2)) == ("POLICY_OUTDATED",)
    of_2_2 = replace(tc, policy_version=4, last_updated=TCF_2_3 - 1)
    assert defects(of_2_2) == ()
    assert defects(replace(of_2_2, last_updated=TCF_2_3)) == ("VENDORS_NOT_DISCLOSED",)
    assert defects(replace(of_2_2, service_specific=False)) == ("SCOPE_GLOBAL",)
    assert defects(replace(of_2_2, created=TCF_2_3)) == ("UPDATED_BEFORE_CREATED",)


def test_nothing_of_a_signal_is_printed() -> None:
    tc = TcString.decode(OF_2_3)
    assert repr(tc) == "<TcString sealed>"
    assert repr(tc.disclosed_vendors) == "<Vendors sealed>"

"""Laws of masks: what is shown tells no more than its class says, and a token is one value's within one purpose."""

import re
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.consent.domain.form import check_form
from services.profile.domain.golden import GoldenRecord, GoldenTrait
from services.profile.domain.masking import generalised, masked, partial, tokenised
from services.profile.domain.state import LinkedIdentifier
from services.profile.enforcement import EVENTS_FIELD, release, release_event
from shared.errors import InvalidInput
from shared.events import customer as events
from shared.events.consent import ALL_TRAITS, MaskClass, PurposeDefined

KEY, STREAM = b"k" * 32, bytes(16)
CLASSES: list[MaskClass] = ["partial", "tokenised", "generalised", "absent"]
NAMES = ["email", "phone", "birthday", "postcode", "score", "city"]
MAILBOXES = st.builds(
    "{}@{}.{}".format,
    st.text("abcxyz.+", min_size=1, max_size=12),
    st.text("abc-", min_size=1, max_size=9),
    st.sampled_from(["com", "co.uk"]),
)
PHONES = st.from_regex(r"\+?[0-9][0-9 ]{5,13}[0-9]", fullmatch=True)
DATES = st.dates().map(date.isoformat)
SCALARS = st.one_of(MAILBOXES, PHONES, DATES, st.text(max_size=12), st.integers(), st.floats(), st.booleans())
TOP_LEVEL_DOMAIN = re.compile(r"@([^@]?\*\*\*)\.[A-Za-z]{2,12}$")
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=3)
MASKS = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(CLASSES), min_size=1)


def a_purpose(masks: dict[str, MaskClass], traits: tuple[str, ...] = (ALL_TRAITS,), name: str = "service") -> PurposeDefined:
    return PurposeDefined(
        request_id="r",
        name=name,
        version=1,
        description="",
        legal_basis="contract",
        traits=traits,
        masks=masks,
        reason="asked",
        defined_by="ops",
    )


def a_record(traits: dict[str, Any], email: str = "", key: bytes = KEY) -> GoldenRecord:
    golden = {name: GoldenTrait(value, "shop", 0, bytes(16)) for name, value in traits.items()}
    identifiers = {b"h": LinkedIdentifier(b"h", "email", email)} if email else {}
    return GoldenRecord([STREAM], golden, identifiers, 0, 0, "", token_key=key)


@given(SCALARS)
def test_a_part_never_holds_the_whole(value: Any) -> None:
    shown = partial(value)
    assert shown is None or value not in shown
    if shown is not None:
        beside_its_end = TOP_LEVEL_DOMAIN.sub(r"@\1.", shown)
        assert len(beside_its_end.replace("***", "")) <= max(len(value) / 2, 6)


def test_what_only_looks_like_a_mailbox_shows_no_end() -> None:
    assert partial("ann@shop.example") == "***@s***.example"
    for text in ("0@.00000", "diary@home.a long secret", "pin@bank.4711", "key@host.abcdefghijklmnop"):
        assert (partial(text) or "").endswith("***.***"), text


@given(st.sampled_from(NAMES), VALUES, VALUES)
def test_equal_values_have_one_token_within_a_purpose_and_none_in_common_with_another(field: str, one: Any, other: Any) -> None:
    token = tokenised(field, one, "service", KEY)
    assert token == tokenised(field, msgspec.json.decode(msgspec.json.encode(one)), "service", KEY) or one != one  # noqa: PLR0124
    assert token != tokenised(field, one, "marketing", KEY)
    assert token != tokenised(field, one, "service", b"another")
    if isinstance(one, str) and isinstance(other, str) and one.casefold().split() != other.casefold().split():
        assume(field not in ("email", "phone"))
        assert token != tokenised(field, other, "service", KEY)


@given(st.integers(-(10**14), 10**14), st.integers(-(10**14), 10**14))
def test_a_range_is_told_alike_for_every_number_in_it(one: int, other: int) -> None:
    shown = generalised(one)
    assert shown is not None
    low, high = map(int, shown.split(" to "))
    assert low <= one <= high
    assert high - low >= 9
    assert (generalised(other) == shown) == (low <= other <= high and (other < 0) == (one < 0))


@given(st.dates(), st.dates())
def test_of_a_date_the_year_is_told(one: date, other: date) -> None:
    assert generalised(one.isoformat()) == f"{one.year:04}"
    assert (generalised(one.isoformat()) == generalised(other.isoformat())) == (one.year == other.year)


@given(MASKS, st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), MAILBOXES, st.sampled_from([KEY, b""]))
def test_what_is_masked_is_shown_as_its_mask_or_not_at_all_and_it_is_said(
    masks: dict[str, MaskClass], traits: dict[str, Any], email: str, key: bytes
) -> None:
    purpose = a_purpose(masks)
    released = release(a_record(traits, email, key), purpose)
    reasons = {one.field: one.reason for one in released.withheld}
    for name, how in masks.items():
        assert not purpose.may_see(name)
        wanted = masked(how, name, traits[name], "service", key)
        shown = released.traits.get(name)
        assert (shown.value if shown else None) == wanted
        assert reasons[name] == ("MASKED_ABSENT" if wanted is None else f"MASKED_{how.upper()}")
        if how == "tokenised" and not key:
            assert shown is None
    for name in traits.keys() - masks.keys():
        assert released.traits[name].value is traits[name]
    assert ("email" in masks) == (email not in {one.value for one in released.identifiers})
    assert not purpose.may_see(ALL_TRAITS)


@given(MASKS, st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_what_a_purpose_may_not_see_it_sees_no_mask_of(masks: dict[str, MaskClass], traits: dict[str, Any]) -> None:
    released = release(a_record(traits), a_purpose(masks, ("city",)))
    assert released.traits.keys() <= {"city"}


@given(MASKS)
def test_an_event_shows_nothing_of_what_is_masked(masks: dict[str, MaskClass]) -> None:
    said = dict.fromkeys(NAMES, "said")
    personal = events.Tracked(name="Bought", properties=said, context={"traits": said}, raw={})
    shown = release_event(None, personal, a_purpose(masks))
    assert shown.name == "Bought"
    assert shown.context is None
    assert shown.properties is not None
    assert shown.properties.keys() == said.keys() - masks.keys()
    aliased = release_event(None, events.Aliased(previous_id="ada@example.com", context={}), a_purpose(masks))
    assert aliased.target_id is None


@given(st.sampled_from([ALL_TRAITS, EVENTS_FIELD, "email", "other"]), st.booleans())
def test_a_mask_that_would_not_be_is_refused(field: str, contact_point: bool) -> None:
    purpose = a_purpose({field: "partial"}, ("email", "events"))
    if contact_point:
        purpose = msgspec.structs.replace(purpose, scope="contact_point", contact_points=("email",), legal_basis="consent")
    if field == "email" and not contact_point:
        check_form(purpose)
        return
    with pytest.raises(InvalidInput) as refused:
        check_form(purpose)
    assert refused.value.facts["field"] == "masks"

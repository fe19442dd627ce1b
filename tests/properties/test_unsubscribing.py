"""Laws of links that end what comes to an address: nobody else makes one, nobody reads one, and a click denies once."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.consent.domain.unsubscribing import LEAST_DAYS, MOST_DAYS, Link, LinkKey, expiry, withdrawal
from services.consent.http.forms import fields_of
from services.consent.http.pages import TEXTS, page
from shared.consent_conditions import GRANTS
from shared.consent_rule import DENIALS, Case, judge
from shared.errors import InvalidInput, WrongState
from shared.events.consent import DecisionRecorded, Outcome, PurposeDefined
from shared.instants import DAY

KEY, OTHER = LinkKey(b"k" * 32), LinkKey(b"o" * 32)
NOW = 1_750_000_000_000_000
LINKS = st.builds(
    Link,
    st.binary(min_size=16, max_size=16),
    st.sampled_from(["email", "phone", "user_id"]),
    st.text("abcdefgh_", min_size=1, max_size=64),
    st.integers(0, 2**62),
)
LINK = Link(b"h" * 16, "email", "marketing", NOW + DAY)
OUTCOMES: list[Outcome] = [*GRANTS, *DENIALS]


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as refused:
        call()
    return refused.value.reason


@given(LINKS)
def test_a_token_says_its_link_to_us_alone(link: Link) -> None:
    token = KEY.token_of(link)
    assert (KEY.link_of(token), KEY.token_of(link)) == (link, token), "and the same link has the same"
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token), "it needs no escaping in an address"
    assert reason_of(lambda: OTHER.link_of(token)) == "UNSUBSCRIBE_TOKEN_INVALID"
    assert "sealed" in repr(link)


@given(LINKS, st.data())
def test_one_changed_character_is_no_token(link: Link, data: st.DataObject) -> None:
    token = KEY.token_of(link)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc019-_=+/ é\0").filter(lambda one: one != token[place]))
    for altered in (token[:place] + other + token[place + 1 :], token[:place], token + other):
        assert reason_of(partial(KEY.link_of, altered)) == "UNSUBSCRIBE_TOKEN_INVALID"


@given(st.text(max_size=600) | st.text("ABCDEFabcdef0123-_", max_size=600))
@example("\ud800")
@example("A" * 513)
def test_any_text_is_no_token(text: str) -> None:
    assert reason_of(lambda: KEY.link_of(text)) == "UNSUBSCRIBE_TOKEN_INVALID"


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.integers(0, 9)), max_size=5))
def test_after_a_click_nothing_is_permitted_and_another_click_changes_nothing(decided: list[tuple[Outcome, int]]) -> None:
    since = [a_decision(outcome, NOW - 10 + at, number) for number, (outcome, at) in enumerate(decided)]
    command = withdrawal(LINK, since, "r", "one-click", NOW)
    if command is not None:
        since.append(a_decision(command.outcome, NOW, 99))
    purpose = PurposeDefined(
        request_id="p", name="marketing", version=1, description="", legal_basis="legitimate_interest", traits=()
    )
    assert not judge(Case(purpose, since, NOW)).permitted
    assert withdrawal(LINK, since, "s", "one-click", NOW) is None


def test_a_link_ends_when_it_says() -> None:
    assert withdrawal(LINK, [], "r", "one-click", LINK.expires_at) is not None
    with pytest.raises(WrongState) as refused:
        withdrawal(LINK, [], "r", "one-click", LINK.expires_at + 1)
    assert refused.value.reason == "UNSUBSCRIBE_TOKEN_EXPIRED"
    assert expiry(NOW, LEAST_DAYS) == NOW + 30 * DAY
    for days in (0, LEAST_DAYS - 1, MOST_DAYS + 1):
        assert reason_of(partial(expiry, NOW, days)) == "UNSUBSCRIBE_DAYS_INVALID"


@given(
    st.sampled_from(
        ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x"]
    ),
    st.binary(max_size=300) | st.sampled_from([b"--x\r\n\r\n--x--", b"a=%ff&b", b"&" * 20]),
)
def test_any_body_is_read_as_fields(content_type: str, body: bytes) -> None:
    fields_of(content_type, body)


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_both_forms_of_the_standard_say_the_same(newline: bytes) -> None:
    parts = [b"--x", b'content-disposition: form-data; name="List-Unsubscribe"', b"", b"One-Click", b"--x--", b""]
    told = {"List-Unsubscribe": "One-Click"}
    assert fields_of("multipart/form-data; boundary=x", newline.join(parts)) == told
    assert fields_of("Application/X-WWW-Form-Urlencoded; charset=utf-8", b"List-Unsubscribe=One-Click") == told


@given(st.sampled_from(sorted(TEXTS)), st.text(max_size=20))
def test_a_page_speaks_german_to_who_reads_it_first_and_else_english(name: str, accept: str) -> None:
    assert b'lang="de"' in bytes(page(name, 200, "de-AT,en;q=0.5").body)
    assert b"<form" not in bytes(page(name, 200, accept).body) or name == "ask"


def a_decision(outcome: Outcome, at: int, number: int) -> DecisionRecorded:
    return DecisionRecorded(
        request_id=str(number),
        decision_id=bytes([number]) * 16,
        identifier_hash=LINK.identifier_hash,
        namespace="email",
        purpose="marketing",
        purpose_version=1,
        outcome=outcome,
        decided_at=at,
    )

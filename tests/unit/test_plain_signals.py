"""Signals that are read as they stand. US Privacy strings: the four examples of IAB's "U.S. Privacy String" 1.0.

Words: 47 CFR 64.1200(a)(10) and CTIA's Messaging Principles. Preferences: the example of Segment's Consent Management.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.signals.plain import Category, CategoryPreferences, GpcHeader, SmsReply, UspString
from services.consent.domain.signals.signal import MOST_CHARACTERS, Signal
from shared.errors import InvalidInput
from tests.properties.signal_writer import read_or_refused


@pytest.mark.parametrize(
    ("text", "values"),
    [("1YNN", ("Y", "N", "N")), ("1NYY", ("N", "Y", "Y")), ("1---", ("-", "-", "-")), ("1-Y-", ("-", "Y", "-"))],
)
def test_us_privacy_strings(text: str, values: tuple[str, str, str]) -> None:
    usp = UspString.decode(text)
    assert (usp.notice, usp.sale_opt_out, usp.lspa_covered) == values


def test_an_opt_out_is_not_lost_by_small_letters() -> None:
    usp = UspString.decode("1yyn")
    assert (usp.sale_opt_out, usp.raw) == ("Y", "1yyn")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SIGNAL_MALFORMED"),
        ("1YN", "SIGNAL_MALFORMED"),
        ("1YNX", "SIGNAL_MALFORMED"),
        ("1YNNN", "SIGNAL_MALFORMED"),
        ("1YNN\n", "SIGNAL_MALFORMED"),
        ("2YNN", "SIGNAL_VERSION_UNKNOWN"),
    ],
)
def test_what_is_no_us_privacy_string_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        UspString.decode(text)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("text", "opted_out"), [("1", True), (" 1 ", True), ("0", False), ("", False), ("true", False), ("1, 1", False), ("11", False)]
)
def test_only_a_one_opts_out(text: str, opted_out: bool) -> None:
    assert GpcHeader.decode(text).opted_out is opted_out


@pytest.mark.parametrize(
    "text",
    [
        *("STOP", "stop", " Stop! ", "«STOP»", "STOPALL", "STOP ALL", "Stop-all", "END", "CANCEL", "UNSUBSCRIBE", "QUIT", "REVOKE"),
        *("opt out", "OPT-OUT", "optout", "remove"),
        "\uff33\uff34\uff2f\uff30",  # in full-width letters
    ],
)
def test_words_that_stop(text: str) -> None:
    reply = SmsReply.decode(text)
    assert (reply.word, reply.unclear) == ("stop", False)


@pytest.mark.parametrize(
    ("text", "word", "unclear"),
    [
        ("START", "start", False),
        ("Unstop.", "start", False),
        ("HELP", "help", False),
        ("Please stop texting me", None, True),
        ("I want to opt-out", None, True),
        ("The bus stops here", None, False),
        ("Thanks!", None, False),
        ("", None, False),
    ],
)
def test_other_replies(text: str, word: str | None, unclear: bool) -> None:
    reply = SmsReply.decode(text)
    assert (reply.word, reply.unclear) == (word, unclear)


def test_preferences_are_read_in_one_order() -> None:
    sent = {"Advertising": True, "Analytics": False, "Functional": True, "DataSharing": False}
    preferences = CategoryPreferences.decode(sent)
    assert preferences.categories == tuple(Category(name=name, consented=sent[name]) for name in sorted(sent))
    assert msgspec.json.decode(preferences.raw) == sent
    assert CategoryPreferences.decode(dict(reversed(sent.items()))) == preferences


@pytest.mark.parametrize(
    "value",
    [
        *(None, "x", [], {"a": 1}, {"a": None}, {"": True}, {"a" * 129: True}, {"a\x00": True}, {1: True}, {"\ud800": True}),
        {str(number): True for number in range(101)},
    ],
)
def test_what_are_no_preferences_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        CategoryPreferences.decode(value)
    assert refused.value.reason == "SIGNAL_MALFORMED"


@given(st.sampled_from([UspString, GpcHeader, SmsReply]), st.text() | st.text("1YNyn-", max_size=5))
def test_whatever_is_sent_is_read_or_refused(kind: Any, text: str) -> None:
    read_or_refused(kind.decode, text)


JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(JSON | st.dictionaries(st.text(max_size=3), st.booleans()))
def test_preferences_are_read_or_refused(value: object) -> None:
    try:
        read: Signal = CategoryPreferences.decode(value)
    except InvalidInput:
        return
    assert CategoryPreferences.decode(msgspec.json.decode(read.raw)) == read


@pytest.mark.parametrize("kind", [GpcHeader, SmsReply])
def test_the_length_is_bounded(kind: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        kind.decode("1" * (MOST_CHARACTERS + 1))
    assert refused.value.reason == "SIGNAL_TOO_LONG"

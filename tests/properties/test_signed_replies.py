"""Laws of requests that are signed with a secret, and of the replies in them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.http.replies import command_of
from services.consent.http.signatures import TOLERANCE_S, SecretFile, check, signature_of
from shared.errors import InvalidInput, NotAuthenticated, Unavailable
from shared.instants import SECOND

NOW_S = 1_750_000_000
SECRET, OLDER, OTHER = "s" * 32, "o" * 32, "x" * 32
KEY = b"k" * 32


def reason(presented: str, timestamp: str, body: bytes, *secrets: str) -> str:
    try:
        check(presented, timestamp, body, secrets, NOW_S * SECOND)
    except NotAuthenticated as refused:
        return refused.reason
    return ""


def outcome_of(content_type: str, body: bytes) -> str:
    try:
        return command_of(content_type, body, KEY).kind
    except InvalidInput as refused:
        return refused.reason


@given(st.binary(max_size=60), st.integers(-TOLERANCE_S, TOLERANCE_S))
def test_what_is_signed_with_any_of_our_secrets_in_time_is_taken_as_it_is(body: bytes, off: int) -> None:
    timestamp = str(NOW_S + off)
    for secret in (SECRET, OLDER):
        signature = signature_of(secret, timestamp, body)
        assert reason(signature, timestamp, body, SECRET, OLDER) == ""
        assert reason(signature.upper(), timestamp, body, SECRET, OLDER) == ""
        assert reason(signature, timestamp, body + b" ", SECRET, OLDER) == "SIGNATURE_INVALID"
        assert reason(signature, str(NOW_S + off + (1 if off < 0 else -1)), body, SECRET, OLDER) == "SIGNATURE_INVALID"
        assert reason(signature, timestamp, body, OTHER) == reason(signature, timestamp, body) == "SIGNATURE_INVALID"


@given(st.integers(TOLERANCE_S + 1, 10**9), st.sampled_from([1, -1]))
def test_what_was_signed_at_another_time_is_refused(off: int, side: int) -> None:
    timestamp = str(NOW_S + side * off)
    assert reason(signature_of(SECRET, timestamp, b""), timestamp, b"", SECRET) == "SIGNATURE_TOO_OLD"


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_two_headers_are_refused(presented: str, timestamp: str) -> None:
    assert reason(presented, timestamp, b"", SECRET).startswith("SIGNATURE_")


@given(
    st.sampled_from(["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]),
    st.binary(max_size=80)
    | st.dictionaries(st.sampled_from(["From", "body", "ID"]), st.integers() | st.text(max_size=9)).map(
        lambda one: json.dumps(one).encode()
    ),
)
def test_any_body_is_a_reply_or_refused(content_type: str, body: bytes) -> None:
    assert outcome_of(content_type, body) in {"sms", "REPLY_INVALID", "IDENTIFIER_INVALID"}


def test_the_same_reply_in_both_forms_and_any_letters_is_one() -> None:
    form = b"From=%2B4930901820&Body=Stop%21&MessageSid=m-1&NumMedia=0"
    as_form = command_of("application/x-www-form-urlencoded", form, KEY)
    as_json = command_of("application/json", b'{"from": "+49 30 901820", "BODY": "Stop!", "id": "m-1"}', KEY)
    assert as_form == as_json
    assert (as_form.text, as_form.request_id, as_form.namespace) == ("Stop!", "sms:m-1", "phone")
    long = json.dumps({"from": "+4930901820", "body": "STOP", "id": "m" * 200}).encode()
    assert command_of("application/json", long, KEY).request_id.startswith("sms:")
    unnamed = json.dumps({"From": "+4930901820", "Body": "STOP"}).encode()
    one, other = (command_of("application/json", unnamed, key).request_id for key in (KEY, bytes(32)))
    assert one != other, "nobody without the key finds by trying who replied"
    assert one == command_of("application/json", unnamed, KEY).request_id


def test_secrets_are_those_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    secrets = SecretFile(path)
    assert (secrets.all(), SecretFile(None).all()) == ([], [])
    path.write_text(f"{SECRET}\n\n{OLDER}\n")
    assert secrets.all() == [SECRET, OLDER]
    path.write_text("short\n")
    with pytest.raises(Unavailable) as refused:
        secrets.all()
    assert refused.value.reason == "SECRETS_UNREADABLE"
    assert "short" not in str(refused.value)

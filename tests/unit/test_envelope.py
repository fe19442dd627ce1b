"""Envelopes open with the one key they were sealed with, where they belong, and unaltered."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.privacy import REDACTED
from shared.telemetry import ENVELOPES_BROKEN
from shared.vault import DataKey, EnvelopeBroken, FileKeyring

KEY = DataKey(b"k" * 32)


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_was_sealed_is_what_opens(plaintext: bytes, associated: bytes) -> None:
    assert KEY.open(KEY.seal(plaintext, associated), associated) == plaintext


@given(st.data())
def test_one_changed_bit_anywhere_is_noticed(data: st.DataObject) -> None:
    envelope = bytearray(KEY.seal(b"Ann", b"here"))
    envelope[data.draw(st.integers(0, len(envelope) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    alarms = ENVELOPES_BROKEN._value.get()
    with pytest.raises(EnvelopeBroken):
        KEY.open(bytes(envelope), b"here")
    assert ENVELOPES_BROKEN._value.get() == alarms + 1, "whoever catches it can't silence it"


def test_an_envelope_opens_nowhere_else_and_with_no_other_key() -> None:
    envelope = KEY.seal(b"Ann", b"here")
    with pytest.raises(EnvelopeBroken):
        KEY.open(envelope, b"elsewhere")
    with pytest.raises(EnvelopeBroken):
        DataKey(b"x" * 32).open(envelope, b"here")


def test_a_truncated_envelope_is_broken_not_a_crash() -> None:
    envelope = KEY.seal(b"Ann", b"here")
    for length in range(len(envelope)):
        with pytest.raises(EnvelopeBroken):
            KEY.open(envelope[:length], b"here")


def test_keys_and_what_is_left_of_erased_data_show_nothing() -> None:
    assert "k" * 8 not in repr(KEY)
    assert repr(REDACTED) == "<redacted>"


def test_a_keyring_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    FileKeyring.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        FileKeyring.create(path)

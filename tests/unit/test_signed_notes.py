"""Signed notes verify with their key and nothing else, and as the specification's own example does."""

import pytest

from shared.notes import NoteBroken, sign_note, verifier_key, verify_note
from tests.properties.audited_log import SIGNER

VERIFIER = verifier_key("example.com/ours", SIGNER.public_key)
NOTE = sign_note("first line\n\nlast line\n", "example.com/ours", SIGNER)

# The example of golang.org/x/mod/sumdb/note, which the specification was made from.
THEIR_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
THEIR_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_verifies_with_the_key_that_signed_it() -> None:
    assert verify_note(NOTE, VERIFIER) == "first line\n\nlast line\n"


def test_the_note_of_another_implementation_verifies() -> None:
    assert verify_note(THEIR_NOTE, THEIR_VERIFIER).startswith("If you think")


def test_signatures_of_others_are_ignored() -> None:
    assert verify_note(NOTE + "\u2014 example.com/theirs AAAAAAAA\n", VERIFIER)


@pytest.mark.parametrize(
    "broken",
    [NOTE.replace("first", "First"), NOTE[:-1], NOTE.replace("\u2014", "-"), NOTE.replace("ours", "hers"), "", "text\n"],
)
def test_what_was_changed_does_not_verify(broken: str) -> None:
    with pytest.raises(NoteBroken):
        verify_note(broken, VERIFIER)


@pytest.mark.parametrize("key", ["", "name+12345678+AAAA", VERIFIER.replace("+", "*"), VERIFIER[:-4] + "AAA="])
def test_a_broken_key_verifies_nothing(key: str) -> None:
    with pytest.raises(NoteBroken):
        verify_note(NOTE, key)

"""Checkpoints and heads of streams as signed notes, and what is refused."""

import pytest

from shared.log import notes
from shared.log.notes import Checkpoint, StreamHead
from shared.notes import NoteBroken
from tests.properties.audited_log import SIGNER, TestSigner

TREE = Checkpoint("customer360/0011223344556677/profile/2", 20852163, bytes(range(32)))


def test_a_checkpoint_is_three_lines_and_a_signature_under_its_origin() -> None:
    note = notes.signed(TREE.text(), SIGNER)
    lines = note.split("\n")
    assert lines[:4] == [TREE.origin, "20852163", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert lines[4].startswith(f"\N{EM DASH} {TREE.origin} ")
    assert notes.open_checkpoint(note, TREE.origin, SIGNER.public_key) == TREE


def test_a_witness_may_sign_beside_us() -> None:
    witness = "\N{EM DASH} witness.example/w1 jWbPPwAAAABkGFDL\n"
    note = notes.signed(TREE.text(), SIGNER)
    assert notes.open_checkpoint(note + witness, TREE.origin, SIGNER.public_key) == TREE


@pytest.mark.parametrize("origin", [TREE.origin[:-1] + "3", "customer360/0011223344556677/identity/2"])
def test_it_means_nothing_elsewhere(origin: str) -> None:
    with pytest.raises(NoteBroken):
        notes.open_checkpoint(notes.signed(TREE.text(), SIGNER), origin, SIGNER.public_key)


def test_another_key_is_refused() -> None:
    with pytest.raises(NoteBroken):
        notes.open_checkpoint(notes.signed(TREE.text(), SIGNER), TREE.origin, TestSigner(b"1" * 32).public_key)


def test_a_head_of_a_stream_is_no_checkpoint() -> None:
    head = StreamHead(TREE, bytes(16), 3, 17, 4).text()
    assert head.split("\n")[0] == f"{TREE.origin}/stream/00000000-0000-0000-0000-000000000000"
    assert head.split("\n")[3:] == ["3", "17", "4", ""]
    with pytest.raises(NoteBroken):
        notes.open_checkpoint(notes.signed(head, SIGNER), TREE.origin, SIGNER.public_key)


def test_every_changed_character_is_refused() -> None:
    note = notes.signed(TREE.text(), SIGNER)
    for at in range(len(note)):
        changed = note[:at] + chr(ord(note[at]) ^ 1) + note[at + 1 :]
        with pytest.raises(NoteBroken):
            notes.open_checkpoint(changed, TREE.origin, SIGNER.public_key)

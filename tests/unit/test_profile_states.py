"""What profile keeps of a stream belongs to its place."""

import pytest

from services.profile.domain.rules import PLAIN, Keeping, fold_digest
from services.profile.domain.state import Held, State
from services.profile.tables import states
from shared.vault import DataKey, EnvelopeBroken

STREAM = bytes(16)
FOLD = fold_digest(PLAIN)


@pytest.mark.parametrize("change", [{"version": 4}, {"pos": 8}, {"fold": fold_digest(Keeping(others=True))}, {"stream": b"1" * 16}])
def test_an_older_state_in_the_place_of_a_newer_one_does_not_open(change: dict[str, object]) -> None:
    key = DataKey(bytes(32))
    sealed = states._seal(Held(State(founding_number=1), 3, 7), STREAM, key, FOLD)
    row = {"stream": STREAM, "version": 3, "pos": 7, "fold": FOLD, "envelope": sealed}
    assert states._open(row, key) == State(founding_number=1)
    with pytest.raises(EnvelopeBroken):
        states._open(row | change, key)

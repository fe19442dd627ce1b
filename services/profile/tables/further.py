"""Brings streams from one point of their past to a later one: for whoever asks for both, so that what counts at both is folded once."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from services.profile.domain.clocks import Instant
from services.profile.domain.rules import Keeping
from services.profile.domain.state import fork
from services.profile.tables.folding import add
from services.profile.tables.snapshots import Past
from shared.log import Record
from shared.pieces import AT_ONCE, Pieces
from shared.vault import Vault

FURTHER_BY: Final = 500  # events of a stream, some ten milliseconds; where more lie between, snapshots are nearer


def is_further(one: Instant, other: Instant) -> bool:
    """Whether all that counts at the one counts at the other."""
    return one.valid_at <= other.valid_at and one.known_at <= other.known_at


async def further(
    vault: Vault, keeping: Keeping, past: Mapping[bytes, Past], between: Mapping[bytes, Sequence[Record]]
) -> dict[bytes, Past]:
    """As `History.past` would give those streams at a further point between which and this not too much lies: by stream in the order of
    versions all that counts there and not yet here. Nothing of what is given changes."""
    found = {stream: one for stream, one in past.items() if len(between[stream]) <= FURTHER_BY}
    keys, turns = await vault.keys({stream for stream in found if between[stream]}), Pieces(AT_ONCE)
    for stream, one in found.items():
        if records := between[stream]:
            held = msgspec.structs.replace(one.held, state=fork(one.held.state))
            found[stream] = msgspec.structs.replace(one, held=held)
            add(found[stream], records, keys.get(stream), keeping)
            await turns.done(len(records))
    return found

"""What profile has copied of consent's log for judging a read, by hashes: whoever alters a row of that copy deceives a read and its re-derivation alike,
so it is held against the log itself by somebody else.
"""

from typing import NamedTuple

from services.profile.judging_again import Then
from services.profile.tables.consents import Consents
from shared.consent_copies import copy_hash, purpose_hash
from shared.events.consent import decisions_stream, definition_stream


class Copied(NamedTuple):
    """Of a stream of consent's log, sorted. `erased_at`: what was granted by its identifier until then is forgotten."""

    stream: bytes
    hashes: list[bytes]
    erased_at: int | None = None


async def copied(consents: Consents, then: Then) -> list[Copied]:
    """Of the purpose all that was known of it, also what a read ought to have gone by instead; of each identifier all that was decided, about
    other purposes, too: what is in a stream is in it whatever it is about."""
    purpose, known = then.purpose.name, then.read.given.consent_known
    versions = sorted(map(purpose_hash, await consents.versions(purpose, known)))
    erased = await consents.erased(then.decided.keys())
    decided = [
        Copied(decisions_stream(bound), sorted(copy_hash(one, one.recorded_at) for one in made), erased.get(bound))
        for bound, made in sorted(then.decided.items())
    ]
    return [Copied(definition_stream("purpose", purpose), versions), *decided]

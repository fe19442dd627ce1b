"""Links that end what comes to an address: made for a campaign's messages, and used."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from services.consent.app import Consent
from services.consent.domain.definitions import check_name, unknown
from services.consent.domain.unsubscribing import Link, LinkKey, expiry
from services.consent.views import Definitions
from shared.consent_rule import ALLOWED_BY_LAW
from shared.errors import CustomerError, InvalidInput
from shared.events.consent import PurposeDefined
from shared.instants import Clock


class Addressed(NamedTuple):
    namespace: str
    identifier_hash: bytes


class Made(msgspec.Struct, frozen=True):
    url: str
    expires_at: int

    def __repr__(self) -> str:
        return "<Made sealed>"


class Unsubscribing:
    """`address` is where the door is reached from outside, without a slash at its end."""

    def __init__(self, consent: Consent, definitions: Definitions, key: LinkKey, address: str, clock: Clock) -> None:
        self._consent = consent
        self._definitions = definitions
        self._key = key
        self._address = address
        self._clock = clock

    async def links(self, purpose: str, asked: Sequence[Addressed | CustomerError], days: int) -> list[Made | CustomerError]:
        """In their order. Raises InvalidInput (PURPOSE_UNKNOWN, NOTHING_TO_DECIDE, UNSUBSCRIBE_DAYS_INVALID)."""
        check_name("purpose", purpose)
        placed = await self._definitions.newest_of("purpose", purpose)
        if placed is None or not isinstance(placed.event, PurposeDefined):
            raise unknown("purpose")
        if placed.event.legal_basis in ALLOWED_BY_LAW:
            raise InvalidInput("nobody can end what stands on a contract or the law", reason="NOTHING_TO_DECIDE", purpose=purpose)
        expires_at = expiry(self._clock(), days)
        return [one if isinstance(one, CustomerError) else self._made(purpose, one, expires_at) for one in asked]

    def find(self, token: str) -> Link:
        """Raises InvalidInput (UNSUBSCRIBE_TOKEN_INVALID)."""
        return self._key.link_of(token)

    async def use(self, token: str, method: str, timeout_s: float) -> None:
        """However often: it is withdrawn then. Raises what `find` does, WrongState (UNSUBSCRIBE_TOKEN_EXPIRED), DeadlineExceeded
        (NOT_YET_ENFORCED)."""
        await self._consent.unsubscribe(self.find(token), method, timeout_s)

    def _made(self, purpose: str, one: Addressed, expires_at: int) -> Made:
        link = Link(one.identifier_hash, one.namespace, purpose, expires_at)
        return Made(f"{self._address}/u/{self._key.token_of(link)}", expires_at)

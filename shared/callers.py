"""Who may call, as a service knows it: every caller in its newest version, by what proves it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from shared.errors import NotAuthenticated, Unavailable
from shared.events.callers import CallerDefined

WAIT_S: Final = 5.0  # of a call that comes while a service starts, for what it doesn't know yet


class Callers:
    """Knows nobody until it is told."""

    def __init__(self) -> None:
        self._by_subject: dict[tuple[str, str], CallerDefined] = {}
        self._by_certificate: dict[str, CallerDefined] = {}
        self._told = asyncio.Event()

    @property
    def known(self) -> bool:
        return self._told.is_set()

    def learn(self, callers: Iterable[CallerDefined]) -> None:
        """All there are."""
        self._by_subject, self._by_certificate = {}, {}
        for caller in callers:
            if caller.subject:
                self._by_subject[caller.issuer, caller.subject] = caller
            self._by_certificate |= dict.fromkeys(caller.certificate_names, caller)
        self._told.set()

    def forget(self) -> None:
        self._by_subject, self._by_certificate = {}, {}
        self._told.clear()

    async def wait_known(self) -> None:
        """Raises Unavailable (CALLERS_UNKNOWN)."""
        try:
            async with asyncio.timeout(WAIT_S):
                await self._told.wait()
        except TimeoutError:
            raise Unavailable("this service doesn't know yet who may call; try again", reason="CALLERS_UNKNOWN") from None

    def find(self, issuer: str, subject: str) -> CallerDefined | None:
        return self._by_subject.get((issuer, subject))

    def by_subject(self, issuer: str, subject: str) -> CallerDefined:
        """Raises NotAuthenticated (CREDENTIAL_UNKNOWN)."""
        if (found := self.find(issuer, subject)) is None:
            raise _nobody()
        return found

    def by_certificate(self, names: Sequence[str]) -> CallerDefined:
        """Raises NotAuthenticated (CREDENTIAL_UNKNOWN): also for a certificate of several callers."""
        found = {caller.name: caller for name in names if (caller := self._by_certificate.get(name))}
        if len(found) != 1:
            raise _nobody()
        return next(iter(found.values()))


def _nobody() -> NotAuthenticated:
    return NotAuthenticated("no caller is defined that proves itself by this", reason="CREDENTIAL_UNKNOWN")

"""Who may call, as a service knows it: every caller in its newest version, by what proves it."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from shared.errors import NotAuthenticated, Unavailable
from shared.events.callers import CallerDefined, OverrideDefined

WAIT_S: Final = 5.0  # of a call that comes while a service starts, for what it doesn't know yet


class Told(msgspec.Struct, frozen=True):
    """All callers, and the overrides that were open when this was told."""

    callers: list[CallerDefined]
    overrides: list[OverrideDefined] = []


class Callers:
    """Knows nobody until it is told."""

    def __init__(self) -> None:
        self._by_subject: dict[tuple[str, str], CallerDefined] = {}
        self._by_certificate: dict[str, CallerDefined] = {}
        self._overrides: dict[tuple[str, str], OverrideDefined] = {}
        self._told = asyncio.Event()

    @property
    def known(self) -> bool:
        return self._told.is_set()

    def learn(self, callers: Iterable[CallerDefined], overrides: Iterable[OverrideDefined] = ()) -> None:
        """All there are."""
        self._overrides = {(one.caller, one.purpose): one for one in sorted(overrides, key=lambda one: one.ends_at)}
        self._by_subject, self._by_certificate = {}, {}
        for caller in callers:
            if caller.subject:
                self._by_subject[caller.issuer, caller.subject] = caller
            self._by_certificate |= dict.fromkeys(caller.certificate_names, caller)
        self._told.set()

    def forget(self) -> None:
        self._by_subject, self._by_certificate, self._overrides = {}, {}, {}
        self._told.clear()

    def override(self, caller: str, purpose: str, now: int) -> str:
        """By which a caller may declare a purpose that isn't its own; empty: by none."""
        found = self._overrides.get((caller, purpose))
        return found.name if found is not None and now < found.ends_at else ""

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

    def certified(self, names: Sequence[str]) -> CallerDefined | None:
        found = {caller.name: caller for name in names if (caller := self._by_certificate.get(name))}
        return next(iter(found.values())) if len(found) == 1 else None

    def by_certificate(self, names: Sequence[str]) -> CallerDefined:
        """Raises NotAuthenticated (CREDENTIAL_UNKNOWN): also for a certificate of several callers."""
        if (found := self.certified(names)) is None:
            raise _nobody()
        return found


def _nobody() -> NotAuthenticated:
    return NotAuthenticated("no caller is defined that proves itself by this", reason="CREDENTIAL_UNKNOWN")

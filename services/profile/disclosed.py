"""Every read for a purpose leaves a record before it is answered, and so does one that is refused: who, for what, about whom, and which
fields. What can't be written down isn't answered.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec

from services.profile.disclosing import Call, Disclosing
from services.profile.domain.clocks import NOW, Instant
from services.profile.domain.disclosure import Given, plain, withheld_names
from services.profile.reading import Moment, Reading, noted
from services.profile.steady import Steady
from shared.errors import CustomerError, NotPermitted, Unavailable, WrongState
from shared.events.catalogue import encode
from shared.events.consent import PurposeDefined
from shared.events.disclosures import Outcome, Terms
from shared.ids import partition_of
from shared.pieces import Pieces

GIVEN_AT_ONCE: Final = 20  # customers of one answer, a millisecond or two
T = TypeVar("T")
Positions = tuple[tuple[int, int], ...]  # by partition


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer has of a customer, by names alone: fields, and (field, reason) of what was withheld; and what it was made from."""

    members: Sequence[bytes]
    fields: Collection[str]
    withheld: Iterable[tuple[str, str]] = ()
    positions: Mapping[int, int] = {}
    rules_version: int = 0
    instant: Instant = NOW
    tag: str = ""
    mask: Collection[str] = ()


class Disclosed:
    """`permit` raises what a read of the customer for the purpose is refused with at this moment; `changes` counts what could change
    that, `overtook` says whether it changed any of some keys. `consent_known`: up to where decisions are known."""

    def __init__(
        self,
        disclosing: Disclosing,
        permit: Callable[[bytes, PurposeDefined], Awaitable[Any]],
        changes: Callable[[], int],
        overtook: Callable[[int, Collection[bytes]], bool],
        consent_known: Callable[[], int],
        partitions: int,
    ) -> None:
        self._disclosing = disclosing
        self._permit = permit
        self._changes = changes
        self._consent_known = consent_known
        self._steady = Steady(changes, overtook, consent_known)
        self._partitions = partitions
        self._policies: dict[tuple[str, int], bytes] = {}

    @asynccontextmanager
    async def read(self, call: Call) -> AsyncIterator[Reading]:
        """Around a call about one customer: a refusal is written down before it is told, once the reading knows whom it is about."""
        with noted() as reading:
            try:
                yield reading
            except (NotPermitted, WrongState, Unavailable) as refusal:
                refusal.facts.update(verdict_fact(refusal))
                if reading.purpose is not None:
                    members = [reading.customer, *sorted(reading.evidence.keys() - {reading.customer})]
                    await self.refuse(call, reading, reading.purpose, members, refusal)
                raise

    def confirm_by(self, confirm: Callable[[], Awaitable[None]]) -> None:
        """By whom it is known, once an answer is made, whether something that it was made from has changed."""
        self._steady.confirm = confirm

    async def steady(self, work: Callable[[], Awaitable[T]]) -> T:
        """As `Steady.of`; whether it is permitted is asked again of what was overtaken each time."""
        return await self._steady.of(work)

    async def give(self, call: Call, reading: Reading, shown: Shown) -> None:
        """What a call about one customer answers. Raises what is raised when it is not permitted any more once it is written down."""
        assert reading.purpose is not None, "the call has said what it is for"
        await self.write(call, reading, self.given(call, reading, reading.purpose, shown))

    async def write(self, call: Call, reading: Reading, given: Given) -> None:
        assert reading.purpose is not None, "the call has said what it is for"
        since = self._changes()
        await self._disclosing.one(given, call)
        if self._changes() != since or reading.unsteady:
            reading.begin_again()
            whom, purpose = reading.customer, reading.purpose
            await self.steady(lambda: self._permit(whom, purpose))

    async def give_all(self, call: Call, reading: Reading, purpose: PurposeDefined, shown: Iterable[Shown]) -> None:
        """As `give`, of several customers; whoever gives them looks once more whether they may be, if that may have changed."""
        given, pieces = list[Given](), Pieces(GIVEN_AT_ONCE)
        for one in shown:
            given.append(self.given(call, reading, purpose, one))
            await pieces.done(1)
        await self._disclosing.all(given, call)

    async def refuse(
        self, call: Call, reading: Reading, purpose: PurposeDefined, members: Sequence[bytes], refusal: CustomerError
    ) -> None:
        if outcome_of(refusal) is not None:
            await self._disclosing.one(self.refused(call, reading, purpose, members, refusal), call)

    async def refuse_all(
        self, call: Call, reading: Reading, purpose: PurposeDefined, refused: Iterable[tuple[Sequence[bytes], CustomerError]]
    ) -> None:
        """As `refuse`, of several."""
        written = [self.refused(call, reading, purpose, *one) for one in refused if outcome_of(one[1]) is not None]
        await self._disclosing.all(written, call)

    def given(self, call: Call, reading: Reading, purpose: PurposeDefined, shown: Shown) -> Given:
        withheld = withheld_names(shown.withheld)
        terms = self._terms(call, purpose, "partial" if withheld else "permit")
        terms = msgspec.structs.replace(
            terms, fields=plain(shown.fields), withheld=withheld, rules_version=shown.rules_version, mask=plain(shown.mask)
        )
        positions = tuple(sorted((partition, pos) for partition, pos in shown.positions.items() if pos >= 0))
        moment = reading.moment_of(shown.members)
        return Given(
            terms,
            tuple(shown.members),
            reading.evidence_of(shown.members),
            self._known_to(moment),
            positions,
            shown.instant.valid_at,
            shown.instant.known_at,
            shown.tag,
            joined=self._joined(moment, positions if shown.tag and shown.instant.is_now else ()),
        )

    def refused(
        self, call: Call, reading: Reading, purpose: PurposeDefined, members: Sequence[bytes], refusal: CustomerError
    ) -> Given:
        """Of one of whom nothing is told; `refusal` has an outcome. Who was one by then is known by the newest events of each."""
        terms = self._terms(call, purpose, outcome_of(refusal) or "deny", refusal.reason)
        moment = reading.moment_of(members)
        newest = newest_by_partition({one: moment.newest[one] for one in members if one in moment.newest}, self._partitions)
        positions = tuple(sorted(newest.items()))
        joined = self._joined(moment, positions)
        return Given(terms, tuple(members), reading.evidence_of(members), self._known_to(moment), positions, joined=joined)

    def _joined(self, moment: Moment, positions: Positions) -> Positions:
        """None, where it is told by these already."""
        newest = tuple(sorted(newest_by_partition(moment.newest, self._partitions).items()))
        return () if newest == positions else newest

    def _known_to(self, moment: Moment) -> int:
        return self._consent_known() if moment.consent_known is None else moment.consent_known

    def _terms(self, call: Call, purpose: PurposeDefined, outcome: Outcome, reason: str = "") -> Terms:
        policy = (purpose.name, purpose.version)
        if policy not in self._policies:
            self._policies[policy] = hashlib.sha256(encode(purpose)).digest()
        return Terms(call.name, *policy, self._policies[policy], purpose.legal_basis, outcome, reason)


def newest_by_partition(newest: Mapping[bytes, int], partitions: int) -> dict[int, int]:
    """Of positions by stream."""
    found: dict[int, int] = {}
    for stream, position in newest.items():
        partition = partition_of(stream, partitions)
        found[partition] = max(found.get(partition, position), position)
    return found


def outcome_of(refusal: CustomerError) -> Outcome | None:
    """None: nobody was asked for a permission, or there is nobody."""
    if isinstance(refusal, NotPermitted) or refusal.reason == "CUSTOMER_ERASED":
        return "deny"
    return "gap" if refusal.reason == "CONSENT_NOT_CONFIRMED" else None


def verdict_fact(refusal: CustomerError) -> dict[str, str]:
    """What the refusal says of it, if anything."""
    outcome = outcome_of(refusal)
    return {} if outcome is None else {"verdict": outcome.upper()}

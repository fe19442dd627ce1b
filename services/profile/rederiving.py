"""Whether a read that was disclosed comes out the same from what it was made from: permitted or refused for the same reason; what was given
out with the same fields, and by the keyed hash the same answer.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from services.profile.app import Instant, Profiles
from services.profile.clusters import Cluster, bonds_of, case_of
from services.profile.copied import Copied, copied
from services.profile.domain.disclosure import Disclosure, Given
from services.profile.found_again import FoundAgain
from services.profile.judging_again import GIVEN, UNCONFIRMED, JudgingAgain, Then, judged, untrue
from services.profile.profile import Profile
from services.profile.tables.consents import Consents
from shared.consent_rule import judge_point
from shared.errors import InvalidInput, NotFound, WrongState
from shared.events.consent import PurposeDefined
from shared.events.disclosures import Outcome
from shared.instants import END_OF_TIME
from shared.log import LogReader


class Answered(NamedTuple):
    """Names of fields, the tag, and what was withheld, as a record has it."""

    fields: tuple[str, ...]
    tag: str
    withheld: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Remade(NamedTuple):
    """What an answer is made of: the profile as it was known, its cluster, the traits that were verified, and what was asked of it. `at`: when
    it is told what it amounts to."""

    given: Given
    purpose: PurposeDefined
    profile: Profile
    cluster: Cluster
    verified: frozenset[str]
    instant: Instant
    at: int


Answer = Callable[[Remade], Awaitable[Answered]]


NOTHING: Final = Answered((), "")
COMPARED: Final = ("verdict", "reason", "fields", "withheld", "tag")
OVER_HTTP: Final = "HTTP "  # what the names of calls over the other edge begin with


class Rederived(NamedTuple):
    """`reason` of a refusal; empty: it is permitted, or can't be told. `redacted`: events that it was made from and can't be read any more.
    `positions` of those that it was made from; `untrue`: what the record says of the judgement that doesn't follow from it. `judged_by`: what was
    copied of consent's log for it. `judged_only`: what was given out isn't made again."""

    answered: Answered
    redacted: int = 0
    reason: str = ""
    positions: Mapping[int, int] = {}
    untrue: tuple[str, ...] = ()
    judged_by: Sequence[Copied] = ()
    judged_only: bool = False

    def agrees(self, given: Given) -> bool:
        return not self._differing(given)

    def differences(self, given: Given) -> list[str]:
        """What of the record doesn't follow, by the names of its parts. Where some of what it went by is gone, none can be told."""
        return [] if self.redacted else self._differing(given)

    def _differing(self, given: Given) -> list[str]:
        terms, (fields, tag, withheld) = given.terms, self.answered
        then = (outcome_by(self.reason, withheld), self.reason, fields, withheld, tag)
        noted = (terms.outcome, terms.reason, terms.fields, terms.withheld, given.tag)
        found = [name for name, one, other in zip(COMPARED, then, noted, strict=True) if one != other]
        return [*found, *self.untrue, *([] if self._made_from(given) else ["positions"])]

    def _made_from(self, given: Given) -> bool:
        """An answer of the past follows from the instants that were asked for."""
        if self.judged_only:
            return set(given.positions) == set(self.positions.items())
        if not given.tag or self.reason or given.valid_at != END_OF_TIME or given.known_at != END_OF_TIME:
            return True
        noted = dict(given.positions)
        return noted == self.positions


def outcome_by(reason: str, withheld: Collection[object]) -> Outcome:
    if reason:
        return "gap" if reason == UNCONFIRMED else "deny"
    return "partial" if withheld else "permit"


class Rederiving:
    """`answer` makes what is sent of a profile, as gRPC's edge does, `over_http` as the other."""

    def __init__(
        self,
        profiles: Profiles,
        consents: Consents,
        found_again: FoundAgain,
        reader: LogReader,
        judging: JudgingAgain,
        answer: Answer,
        over_http: Answer,
    ) -> None:
        self._profiles = profiles
        self._consents = consents
        self._found_again = found_again
        self._reader = reader
        self._judging = judging
        self._answer = answer
        self._over_http = over_http

    async def again(self, disclosure: Disclosure) -> Rederived:
        """By who was one when it was read and what was known then, as the record names it: of each partition, and of what was decided.

        Raises WrongState (NOT_DERIVABLE), InvalidInput (PURPOSE_UNKNOWN) and what a read of the past does.
        """
        [then] = await self._judging.of([disclosure])
        found = await self._again(disclosure, then)
        return found if then is None else found._replace(judged_by=await copied(self._consents, then))

    async def _again(self, disclosure: Disclosure, then: Then | None) -> Rederived:
        given = disclosure.given
        if given.terms.outcome not in GIVEN:
            if then is None:
                raise _not_derivable()
            reason = "" if judged(then).permitted else judged(then).reason
            return await self._unless_gone(disclosure, Rederived(NOTHING, reason=reason, untrue=untrue(then)))
        if not given.tag or "*" in given.terms.mask:
            return await self._judged_only(disclosure, then)
        purpose = await self._consents.purpose(given.terms.purpose, given.terms.purpose_version)
        if purpose is None:
            raise InvalidInput("no such version of the purpose is known", reason="PURPOSE_UNKNOWN")
        if then is not None and not (found := judged(then)).permitted:
            return await self._unless_gone(disclosure, Rederived(NOTHING, reason=found.reason))
        made = await self._given(disclosure, purpose, then)
        return made if then is None else made._replace(untrue=untrue(then))

    async def _judged_only(self, disclosure: Disclosure, then: Then | None) -> Rederived:
        """Of what no tag was written down, as of a page of a timeline: whether it was permitted, and whether the events that it names are there, and are
        theirs. Raises WrongState (NOT_DERIVABLE)."""
        if then is None:
            raise _not_derivable()
        given, terms, reason = disclosure.given, disclosure.given.terms, "" if judged(then).permitted else judged(then).reason
        answered = NOTHING if reason else Answered(terms.fields, given.tag, terms.withheld)
        positions = {
            partition: position for partition, position in given.positions if await self._is_theirs(partition, position, given)
        }
        return await self._unless_gone(
            disclosure, Rederived(answered, reason=reason, positions=positions, untrue=untrue(then), judged_only=True)
        )

    async def _is_theirs(self, partition: int, position: int, given: Given) -> bool:
        records = await self._reader.partition(partition, position, 1)
        return bool(records) and records[0].pos == position and records[0].entry.stream in given.members

    async def _unless_gone(self, disclosure: Disclosure, found: Rederived) -> Rederived:
        """With an erasure grants are gone too: what is judged without them says nothing of the read."""
        given = disclosure.given
        if found.agrees(given) or (found.reason == given.terms.reason and not found.untrue):
            return found
        instant = Instant(given.valid_at, min(given.known_at, disclosure.at))
        cluster = await self._profiles.cluster_as_of(given.members[0], instant)
        return Rederived(NOTHING, cluster.redacted) if cluster.redacted else found

    async def _given(self, disclosure: Disclosure, purpose: PurposeDefined, then: Then | None) -> Rederived:
        given = disclosure.given
        try:
            found = await self._found_again.of(disclosure)
        except NotFound as refusal:
            if refusal.reason != "CUSTOMER_UNKNOWN":
                raise
            return Rederived(NOTHING)  # she wasn't there yet: the answer isn't made from what the record names
        profile = self._pointed(found.profile, then, purpose)
        remade = Remade(given, purpose, profile, found.cluster, found.verified, found.instant, found.at)
        answer = self._over_http if given.terms.call.startswith(OVER_HTTP) else self._answer
        positions = {partition: position for partition, position in profile.positions.items() if position >= 0}
        return Rederived(await answer(remade), found.cluster.redacted, positions=positions)

    def _pointed(self, profile: Profile, then: Then | None, purpose: PurposeDefined) -> Profile:
        """With the contact points that permitted the purpose by what was decided and known then."""
        if not purpose.contact_points or then is None:
            return profile
        bonds = bonds_of(then.held)
        case = case_of(purpose, bonds, then.decided, then.read.at)
        identifiers = profile.record.identifiers
        bound = [h for h, one in identifiers.items() if one.namespace in purpose.contact_points and h in bonds]
        points = frozenset(point for point in bound if judge_point(case, point).permitted)
        return msgspec.structs.replace(profile, record=msgspec.structs.replace(profile.record, permitted_points=points))


def _not_derivable() -> WrongState:
    return WrongState("of this read no answer can be made again", reason="NOT_DERIVABLE")

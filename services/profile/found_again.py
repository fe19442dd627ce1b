"""What a read found, found again: of each partition what was known up to the position that its record names, of consent's log what was known up to
the position that it names. Nothing follows from the clocks of logs, as what was recorded may not have been applied yet.
"""

from functools import partial
from typing import NamedTuple

import msgspec

from services.profile.app import Profiles
from services.profile.cache import LoadingCache
from services.profile.clusters import Cluster
from services.profile.domain.clocks import Instant
from services.profile.domain.disclosure import Disclosure
from services.profile.domain.rules import Rules
from services.profile.failures import made
from services.profile.profile import Profile, profile_of
from services.profile.tables.consents import Consents
from services.profile.tables.snapshots import Past
from shared.ids import partition_of
from shared.instants import END_OF_TIME
from shared.log import LogReader


class Found(NamedTuple):
    """The profile, without contact points; whom it is made of, and the traits that were verified. `instant` as it was asked for; `at`: when it is told
    what it amounts to."""

    profile: Profile
    cluster: Cluster
    verified: frozenset[str]
    instant: Instant
    at: int


class FoundAgain:
    def __init__(self, profiles: Profiles, consents: Consents, reader: LogReader, partitions: int) -> None:
        self._profiles = profiles
        self._consents = consents
        self._reader = reader
        self._partitions = partitions

    async def of(self, disclosure: Disclosure) -> Found:
        """Raises NotFound (CUSTOMER_UNKNOWN, RULES_UNKNOWN)."""
        given, customer = disclosure.given, disclosure.given.members[0]
        instant = Instant(given.valid_at, given.known_at if given.known_at == END_OF_TIME else min(given.known_at, disclosure.at))
        at = disclosure.at if instant.earlier == END_OF_TIME else instant.earlier
        rules = self._profiles.chooser.rules(given.terms.rules_version, END_OF_TIME)
        cluster = Cluster(instant, rules, await self._past(disclosure, instant, rules))
        held = cluster.held(customer)
        decisions = LoadingCache(partial(self._consents.known, last=given.consent_known), 0)
        chooser = self._profiles.chooser.knowing(decisions, disclosure.at)
        record = cluster.told(made((await chooser.records({customer: held}, rules, instant)).get(customer)))
        unnamed = await self._profiles.unnamed(customer, cluster.past)
        record = msgspec.structs.replace(record, members=[member for member in record.members if member not in unnamed])
        profile = profile_of(held, record, rules, self._partitions)
        if not instant.is_now:  # a read of now doesn't count them
            profile = msgspec.structs.replace(profile, redacted=cluster.redacted)
        [verified] = await chooser.verified([profile.record], instant)
        return Found(profile, cluster, verified, instant, at)

    async def _past(self, disclosure: Disclosure, instant: Instant, rules: Rules) -> dict[bytes, Past]:
        history, past = self._profiles.history.of(rules.keeping), dict[bytes, Past]()
        for known_at, streams in (await self._by_cut(disclosure, instant)).items():
            past |= await history.past(streams, instant.valid_at, known_at)
        return {member: past[member] for member in disclosure.given.members if member in past}

    async def _by_cut(self, disclosure: Disclosure, instant: Instant) -> dict[int, list[bytes]]:
        """The members, by the instant up to which their partition was known."""
        found, noted = dict[int, list[bytes]](), dict(disclosure.given.positions)
        for member in disclosure.given.members:
            known_at, partition = instant.known_at, partition_of(member, self._partitions)
            if known_at == END_OF_TIME:
                known_at = await self._recorded_at(partition, noted.get(partition, -1), disclosure.at)
            found.setdefault(known_at, []).append(member)
        return found

    async def _recorded_at(self, partition: int, position: int, otherwise: int) -> int:
        """Where it names none, whatever is there was known when it was told, or its record is false."""
        records = await self._reader.partition(partition, position, 1) if position >= 0 else []
        return records[0].recorded_at if records and records[0].pos == position else otherwise

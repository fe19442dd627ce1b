"""Makes and wires what writes down what is read, and what tells of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.profile.all_reads import AllReads
from services.profile.cache import LoadingCache
from services.profile.composition import Parts, ProfileSettings
from services.profile.disclosed import Disclosed
from services.profile.disclosing import Disclosing
from services.profile.exposures import Exposures, Source
from services.profile.found_again import FoundAgain
from services.profile.judging_again import JudgingAgain
from services.profile.permission import Permission
from services.profile.policies import Policies
from services.profile.rederiving import Answer, Rederiving
from services.profile.tables.consents import Consents
from services.profile.tables.disclosures import DisclosureLog
from services.profile.trails import Trails
from services.profile.who_read import WhoRead
from shared.ids import id_maker
from shared.instants import now_us
from shared.log import LogReader


@dataclass(frozen=True, slots=True)
class Disclosures:
    """What writes down what is read, and its log."""

    disclosing: Disclosing
    disclosed: Disclosed
    log: DisclosureLog
    who_read: WhoRead
    exposures: Exposures
    policies: Policies
    rederive: Callable[[Answer, Answer], Rederiving]  # with what makes answers at the edges, gRPC's first


def compose_disclosures(settings: ProfileSettings, parts: Parts, pool: Any, disclosed: Any) -> Disclosures:
    """`disclosed` is a pool whose search path names the schema of disclosures."""
    log, decisions = DisclosureLog(disclosed, now_us, id_maker(now_us)), parts.profiles.permission.decisions
    disclosing = Disclosing(log.write, now_us)

    def consent_known() -> int:
        return parts.progress.applied("consent")

    who_read, consents, reader = WhoRead(log, parts.held), Consents(pool, settings.partitions), LogReader(pool)
    all_reads = AllReads(log, LogReader(disclosed))
    found_again = FoundAgain(parts.profiles, consents, reader, settings.partitions)
    judging = JudgingAgain(Trails(reader, settings.partitions), consents)
    unkept = Permission(LoadingCache(consents.decisions, 0), parts.profiles.permission.lease_holds, now_us)
    everybody = Source(LoadingCache(parts.states.load, 0), unkept.decisions)
    return Disclosures(
        disclosing=disclosing,
        disclosed=Disclosed(
            disclosing,
            parts.profiles.still_permits,
            lambda: parts.ready.changes,
            parts.ready.overtook,
            consent_known,
            settings.partitions,
        ),
        log=log,
        who_read=who_read,
        exposures=Exposures(who_read, judging.purpose, Source(parts.held, decisions), all_reads, everybody),
        policies=Policies(all_reads, judging, consents),
        rederive=partial(Rederiving, parts.profiles, consents, found_again, reader, judging),
    )

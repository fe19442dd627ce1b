"""What a purpose may see of many customers at once: each is asked as at any other read; the caches that serve profiles are left alone."""

from collections.abc import Collection, Mapping

import msgspec

from services.profile.app import Profiles
from services.profile.clusters import bonds_of, cluster_of
from services.profile.domain.state import Held, LinkedIdentifier, linked
from services.profile.enforcement import asks_the_person
from services.profile.reading import judged_by, looked_up
from services.profile.steady import Steady
from services.profile.tables.states import States
from shared.errors import NotPermitted, WrongState
from shared.events.consent import PurposeDefined


class Visible(msgspec.Struct, frozen=True):
    """Of a customer, the identifiers that the purpose may see; whether it was erased, so that nothing personal is left."""

    identifiers: Mapping[bytes, LinkedIdentifier]
    erased: bool = False

    def __repr__(self) -> str:
        return f"<Visible {len(self.identifiers)} sealed>"


class Visibility:
    def __init__(self, profiles: Profiles, states: States, steady: Steady) -> None:
        self._profiles = profiles
        self._states = states
        self._steady = steady

    async def of(self, streams: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, Visible | None]:
        """As things are now, by stream; None where the customer doesn't permit the purpose, or was erased and the purpose
        asks the person. Each is asked at a moment of its own. Raises Unavailable."""
        return await self._steady.each(streams, lambda some: self._of(some, purpose))

    async def refused(self, customers: Collection[bytes], purpose: PurposeDefined) -> set[bytes]:
        """Of whom nothing may be seen now, whether they don't permit it, are gone, or never were. Raises Unavailable."""
        known = await self._states.load(customers) if customers else {}
        seen = await self.of(known, purpose)
        return {customer for customer in customers if (visible := seen.get(customer)) is None or visible.erased}

    async def _of(self, streams: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, Visible | None]:
        looked_up(streams)
        held, found = dict(await self._states.load(streams)) if streams else {}, dict[bytes, Visible | None]()
        for stream in streams:
            found[stream] = await self._visible(stream, purpose, held)
            cluster = cluster_of(stream, held)
            judged_by(stream, {stream, *cluster, *bonds_of(cluster)})
        return found

    async def _visible(self, stream: bytes, purpose: PurposeDefined, held: dict[bytes, Held]) -> Visible | None:
        """`held` is the states loaded so far, and grows."""

        async def load(streams: Collection[bytes]) -> dict[bytes, Held]:
            if missing := [other for other in streams if other not in held]:
                looked_up(missing)
                held.update(await self._states.load(missing))
            return {other: held[other] for other in streams if other in held}

        try:
            cluster = await self._profiles.permit_cluster(stream, purpose, load)
        except NotPermitted:
            return None
        except WrongState as gone:
            if gone.reason != "CUSTOMER_ERASED":
                raise
            return None if asks_the_person(purpose) else Visible({}, erased=True)
        found = {bound: value for one in cluster.values() for bound, value in linked(one.state).items() if value.value is not None}
        points = await self._profiles.permission.points(found, cluster_of(stream, held), purpose)
        return Visible({bound: value for bound, value in found.items() if purpose.may_see(value.namespace) or bound in points})

"""Who of a page of members may be shown, and whether that is judged by less than all: by states as they are kept.

After other rules come into force, states are folded anew behind the views. What is asked here of those that aren't yet follows from
them all the same, where the segment is the same by the rules that they are of: so no history is folded while a page waits.
"""

from collections.abc import Collection, Mapping, Sequence

from services.profile.batches import Batches, Refused
from services.profile.cache import LoadingCache
from services.profile.choosing import Chooser
from services.profile.clusters import cluster_of, joined
from services.profile.domain.clocks import NOW
from services.profile.domain.membership import is_the_same, judged_by_less
from services.profile.domain.rules import Rules, fold_digest
from services.profile.domain.state import Held, is_kept_for
from services.profile.profile import Profile
from services.profile.steady import Steady
from services.profile.tables.rulebook import Rulebook
from services.profile.tables.states import States
from shared.errors import ProfileFailed
from shared.events.consent import PurposeDefined


class Listed:
    def __init__(
        self,
        batches: Batches,
        chooser: Chooser,
        rulebook: Rulebook,
        states: States,
        cache: LoadingCache[bytes, Held],
        steady: Steady,
    ) -> None:
        self._batches = batches
        self._chooser = chooser
        self._rulebook = rulebook
        self._states = states
        self._cache = cache
        self._steady = steady

    async def judged(self, segment: str, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, bool]:
        """Of those who permit the purpose: whether it is by less than all that they are judged, as they are now. So it is said of one
        of whom it can't be told: she stays where she was, and whether she should isn't known. Each is judged at a moment of their own.

        Raises Unavailable (CONSENT_NOT_CONFIRMED).
        """
        return await self._steady.each(customers, lambda some: self._judged(segment, some, purpose))

    async def _judged(self, segment: str, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, bool]:
        if self._rulebook.in_force.settled:
            return await self._by_profiles(segment, customers, purpose)
        while True:
            rules = self._rulebook.rules
            judged = await self._by_what_is_kept(segment, customers, purpose)
            if rules is self._rulebook.rules:  # else some of the states may be folded for others
                return judged

    async def permitted(self, customers: Collection[bytes], purpose: PurposeDefined) -> set[bytes]:
        """Each at a moment of their own. Raises Unavailable (CONSENT_NOT_CONFIRMED)."""
        return set(await self._steady.each(customers, lambda some: self._permitted(some, purpose)))

    async def _permitted(self, customers: Collection[bytes], purpose: PurposeDefined) -> Mapping[bytes, object]:
        return (await self._clusters(customers, purpose, [one.rules for one in self._rulebook.activations]))[0]

    async def _by_profiles(self, segment: str, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, bool]:
        found = await self._batches.profiles(customers, purpose)
        failed = [c for c, one in found.items() if isinstance(one, Refused) and isinstance(one.refusal, ProfileFailed)]
        return dict.fromkeys(failed, True) | {
            customer: segment in judged_by_less(one.record, one.rules)
            for customer, one in found.items()
            if isinstance(one, Profile)
        }

    async def _by_what_is_kept(self, segment: str, customers: Collection[bytes], purpose: PurposeDefined) -> dict[bytes, bool]:
        alike = self._alike(segment)
        permitted, folds = await self._clusters(customers, purpose, alike)
        by_rules: dict[int, dict[bytes, Mapping[bytes, Held]]] = {}
        for customer, cluster in permitted.items():
            if (rules := _made_for(cluster, folds, alike)) is not None:
                by_rules.setdefault(rules.version, {})[customer] = cluster
        judged = dict.fromkeys(permitted, True)
        for version, clusters in by_rules.items():
            rules = self._rulebook.version(version).rules
            records = await self._chooser.records(clusters, rules, NOW)
            judged |= {customer: segment in judged_by_less(record, rules) for customer, record in records.items()}
        return judged

    async def _clusters(
        self, customers: Collection[bytes], purpose: PurposeDefined, alike: Sequence[Rules]
    ) -> tuple[dict[bytes, dict[bytes, Held]], dict[bytes, bytes]]:
        """The states of those who permit the purpose, and of which fold each is: what isn't kept of one of these rules is folded."""
        kept_by, folds = {fold_digest(rules.keeping) for rules in alike}, dict[bytes, bytes]()
        in_force = fold_digest(self._rulebook.rules.keeping)

        async def load(ring: Collection[bytes]) -> dict[bytes, Held]:
            found = self._cache.at_hand(ring)  # which notes all of them, wherever they come from
            kept = await self._states.kept([stream for stream in ring if stream not in found], kept_by)
            found |= {stream: held for stream, (held, _) in kept.items()}
            found |= await self._cache.get([stream for stream in ring if stream not in found])
            folds.update((stream, kept[stream][1] if stream in kept else in_force) for stream in found)
            return found

        held = await joined(customers, load) if customers else {}
        found = await self._batches.permitted({customer: cluster_of(customer, held) for customer in customers}, purpose)
        return {customer: one for customer, one in found.items() if not isinstance(one, Refused)}, folds

    def _alike(self, segment: str) -> list[Rules]:
        """By which the segment is what it is by the rules in force: the newest first."""
        rules = self._rulebook.rules
        return [one.rules for one in reversed(self._rulebook.activations) if is_the_same(segment, one.rules, rules)]


def _made_for(cluster: Mapping[bytes, Held], folds: Mapping[bytes, bytes], alike: Sequence[Rules]) -> Rules | None:
    """The rules for which all of these states are folded; None: some for these and some for those."""
    for rules in alike:
        fold = fold_digest(rules.keeping)
        if all(folds[stream] == fold and is_kept_for(held.state, rules.keeping) for stream, held in cluster.items()):
            return rules
    return None

"""The rules of linking, by namespace; versioned, and the same for every order of facts. Pure."""

from collections.abc import Collection
from functools import cached_property
from typing import Literal

import msgspec

from shared.identifiers import HARDWARE

MAX_CLUSTER_IDENTIFIERS = 200  # a customer that grows past it is a kiosk or a bug, not a person
MAX_SIGHTINGS = 1_000  # of a value: a person with a new browser every week has some hundreds in ten years
LINK_WEIGHT = 12.0  # bits, of the shipped model: its calibration for 12,000 people, and a bit for each doubling up to 1.6 million
REVIEW_WEIGHT = 4.0  # bits: sixteen to one


class Namespace(msgspec.Struct, frozen=True, kw_only=True):
    """How identifiers of one kind link.

    `limit` values at most belong to one customer (1: unique); with `window_us`, that many first seen within so long.
    A value seen with `shared_after` owners stops linking; of a stronger namespace that isn't unique, `values_an_owner` values
    are one owner. A `device` that would join two people says nothing about them; anything else that would is proposed.
    `owned_by` are the namespaces that tell whose a value is: seen with two people that they name, it links neither (`ownership`).
    """

    name: str
    limit: int | None = None
    window_us: int | None = None
    shared_after: int | None = None
    values_an_owner: int = 2
    device: bool = False
    owned_by: tuple[str, ...] = ()

    @property
    def is_of_one(self) -> bool:
        """Everybody has one of it, at any time, and it is never shared: two of them are two known people."""
        return self.limit == 1 and self.window_us is None and self.shared_after is None


class Matching(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows from a match: how much speaks for it, in bits (`matching/score`), says whether two are one.

    From `link_weight` on they are linked, from `review_weight` on people are asked. `witness`: unasked only those are linked
    for whom more speaks than who knows somebody could say (`records/likeness`). A source of `one_per_source` keeps each
    person once: no match joins two that it has records of.
    """

    on: bool = True
    link_weight: float = LINK_WEIGHT
    review_weight: float = REVIEW_WEIGHT
    witness: bool = True
    one_per_source: tuple[str, ...] = ()

    def band(self, weight: float, witnessed_weight: float) -> Literal["link", "review"] | None:
        """As in `Match`."""
        if not self.on or weight < self.review_weight:
            return None
        return "link" if self.linking(weight, witnessed_weight) >= self.link_weight else "review"

    @property
    def exclusive(self) -> frozenset[str]:
        """Sources of which each has a person once, so that a record of one is nobody's, or one's, in another. Who asks for a witness
        links by no such conclusion.
        """
        return frozenset() if self.witness or not self.on or len(self.one_per_source) < 2 else frozenset(self.one_per_source)

    def linking(self, weight: float, witnessed_weight: float) -> float:
        """What counts for a link, in bits."""
        return witnessed_weight if self.witness else weight


class Rules(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """`namespaces` strongest first; `others` is how a namespace that isn't listed links, and stands at `others_rank`.

    `blocked` are keyed hashes of values that name nobody: kept in facts like a shared one, they link nothing, own nothing, and
    no event resolves by them. So a value can be blocked and given back without looking at any event again.
    A value takes part in the `max_sightings` earliest sightings of it (`crowding`).
    """

    version: int = 1
    namespaces: tuple[Namespace, ...]
    others: Namespace
    others_rank: int
    max_cluster: int = MAX_CLUSTER_IDENTIFIERS
    max_sightings: int = MAX_SIGHTINGS
    matching: Matching = Matching()
    blocked: frozenset[bytes] = frozenset()

    def of(self, name: str) -> Namespace:
        return self._listed.get(name, (0, self.others))[1]

    def rank(self, name: str) -> tuple[int, int]:
        """Smaller is stronger."""
        found = self._listed.get(name)
        return (self.others_rank, 0) if found is None else (found[0], 1)

    @cached_property
    def _listed(self) -> dict[str, tuple[int, Namespace]]:
        """By name, with the place. Every identifier of every event is asked about."""
        places = enumerate(self.namespaces)
        return {namespace.name: (place, namespace) for place, namespace in places}

    def is_shared(self, name: str, owners: Collection[tuple[str, int]]) -> bool:
        """`owners` is how many different values of each stronger namespace a value was seen with.

        A namespace without a limit counts no owners.
        """
        namespace = self.of(name)
        if namespace.shared_after is None:
            return False
        return any(
            seen >= namespace.shared_after * (1 if limit == 1 else namespace.values_an_owner)
            for owner, seen in owners
            if (limit := self.of(owner).limit) is not None
        )


def breaks_limit(namespace: Namespace, mine: list[int], theirs: list[int]) -> bool:
    """Of two sides, by when each of their values was first seen, in any order: whether values of both are too many.

    What is too much of one side alone was joined by people, and is no reason to keep from it what is of another time.
    """
    limit = namespace.limit
    if limit is None or len(mine) + len(theirs) <= limit:
        return False
    if namespace.window_us is None:
        return True
    times = sorted([(at, True) for at in mine] + [(at, False) for at in theirs])
    runs = (times[first : first + limit + 1] for first in range(len(times) - limit))
    return any(run[-1][0] - run[0][0] <= namespace.window_us and len({side for _, side in run}) > 1 for run in runs)


_PEOPLE = ("user_id", "email", "phone")
# Of a phone or tablet itself: a till or a tablet in a shop keeps its own through all its visitors.
_HARDWARE = tuple(
    Namespace(name=name, limit=10, shared_after=2, values_an_owner=1, device=True, owned_by=_PEOPLE) for name in sorted(HARDWARE)
)

DEFAULT_RULES = Rules(
    namespaces=(
        Namespace(name="user_id", limit=1),
        Namespace(name="email", limit=5, shared_after=3, owned_by=("user_id", "phone")),
        Namespace(name="phone", limit=5, shared_after=3, owned_by=("user_id", "email")),
        Namespace(name="anonymous_id", limit=100, shared_after=2, device=True, owned_by=_PEOPLE),
        *_HARDWARE,
    ),
    others=Namespace(name="*", limit=5, shared_after=3, owned_by=("user_id",)),
    others_rank=3,
)

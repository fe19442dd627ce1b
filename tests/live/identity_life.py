"""A life of identity: all that it does, in no order."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from random import Random
from typing import Any

import msgspec

from services.identity.activating import ActivateRules, Activator
from services.identity.composition import Parts
from services.identity.domain.erasure import EraseCustomer
from services.identity.domain.rules_document import NamespaceRule, RulesDocument, read
from services.identity.graph.rules import Matching
from services.identity.model_activating import ActivateModel, ModelActivator
from services.identity.simulating import Progress
from services.identity.tables import modelbook, rulebook
from shared.errors import CustomerError
from shared.events.wire import RawEvent
from shared.identifiers import hash_of, normalise
from shared.ids import id_maker
from shared.instants import DAY, now_us
from tests.live import test_matching
from tests.live.test_identity import Store, decide_something, in_units, traffic
from tests.live.test_identity_rules import OPEN, STRICT
from tests.live.test_matching import CAP
from tests.live.test_matching_models import shifted

Act = Callable[[Parts], Awaitable[None]]
NAMES = ["user_id", "email", "phone", "card", "anonymous_id"]
BLOCKABLE = [
    ("email", "family@shop.example"),
    ("anonymous_id", "family-tablet"),
    ("user_id", "user-1"),
    ("anonymous_id", "device-2-0"),
]


class Died(Exception):
    """The process, before or after what it wrote was committed."""


class Life:
    """`ruled`: rules and models change too, and processes die; else each act is of a process that has just started.

    `waits`: some of what events bring is settled behind them.
    """

    def __init__(self, store: Store, random: Random, *, ruled: bool = False, waits: bool = False) -> None:
        self.store = store
        self.random = random
        self.ruled = ruled
        self.waits = waits
        self.units = in_units(random, self.traffic())
        self.number = 0
        self.log: list[str] = []  # what was done, for whoever looks for a fault

    def traffic(self) -> list[RawEvent]:
        people = test_matching.traffic(self.random, 60)
        browsers = [msgspec.structs.replace(event, message_id=f"b-{event.message_id}") for event in traffic(self.random, 120)]
        both = [event for two in zip(browsers, people + browsers[60:], strict=False) for event in two]
        return [self.some_later(event, now_us() + DAY) for event in both]

    def some_later(self, event: RawEvent, at: int) -> RawEvent:
        """So that who starts clean comes back."""
        late = at + event.occurred_at if self.random.random() < 0.7 else event.occurred_at
        return msgspec.structs.replace(event, occurred_at=late, received_at=at + DAY)

    async def live(self) -> None:
        await self.unit(parts := await self.store.parts(CAP))
        while self.units:
            if not self.ruled or self.random.random() < 0.5:
                parts = await self.store.parts(CAP)
            parts = await self.some(parts)
        for _ in range(2):
            await self.some(await self.store.parts(CAP), [self.erase])
        await self.settled()

    async def some(self, parts: Parts, acts: Sequence[Act] | None = None) -> Parts:
        """The parts to go on with."""
        self.number += 1
        act = self.random.choice(acts or self.acts())
        dies = self.ruled and self.random.random() < 0.05
        self.log.append(f"{self.number} {act.__name__}{' dies' if dies else ''}")
        try:
            with contextlib.suppress(CustomerError):  # what was drawn may not be possible
                await act(dying(parts, after=self.random.random() < 0.5) if dies else parts)
        except Died:
            return await self.store.parts(CAP)
        return parts

    def acts(self) -> list[Act]:
        often: list[Act] = [*[self.unit] * 8, *[self.decide] * 6, *[self.behind, self.beside] * (2 if self.waits else 0)]
        usual: list[Act] = [*often, self.erase, self.hold, self.release, self.expire, self.match]
        followed: list[Act] = [self.rules, self.rules, self.model, self.left, self.match, *[self.page] * 5]
        return usual + followed if self.ruled else usual

    async def settled(self) -> None:
        parts = await self.store.parts(CAP)
        graph = parts.unifier.graph
        while (
            await parts.activator._resettle_page()
            or await parts.settler.step()
            or await parts.matcher.step()
            or await graph.settle_left()
        ):
            pass

    async def unit(self, parts: Parts) -> None:
        """It comes again until it is through."""
        await parts.unifier.unify(self.units[-1], self.number, [])
        self.units.pop()

    async def decide(self, parts: Parts) -> None:
        await decide_something(parts.decider, self.store.pool, self.random, self.number)

    async def erase(self, parts: Parts) -> None:
        if not (customers := await self.customers()):
            return
        one, nobody = self.random.choice(customers), self.random.randbytes(32)
        asked: dict[str, Any] = {"customer": one} if self.random.random() < 0.8 else {"customer": b"", "identifier": nobody}
        policy: Any = self.random.choice(["refuse", "start_clean", "start_clean"])
        command = EraseCustomer(request_id=f"e{self.number}", policy=policy, reason="asked", requested_by="desk", **asked)
        erasure = await parts.eraser.erase(command)
        erasure = await parts.eraser._begin(erasure)
        if erasure.stage == "begun":
            await parts.eraser._destroy_keys(erasure)

    async def hold(self, parts: Parts) -> None:
        for customer in (await self.customers())[:1]:
            await parts.holds.place(f"h{self.number}", customer, "case 1", "desk")

    async def release(self, parts: Parts) -> None:
        for row in await self.store.pool.fetch("SELECT hold_id FROM holds WHERE released_at IS NULL"):
            await parts.holds.release(f"r{self.number}", row["hold_id"], "desk")

    async def expire(self, parts: Parts) -> None:
        await self.store.expiry(parts).expire()

    async def match(self, parts: Parts) -> None:
        await parts.matcher.step()

    async def left(self, parts: Parts) -> None:
        await parts.unifier.graph.settle_left()

    async def behind(self, parts: Parts) -> None:
        await parts.settler.step()

    async def beside(self, parts: Parts) -> None:
        """Something else comes while it is settled."""
        other = self.random.choice([self.unit, self.unit, self.unit, self.decide, self.erase, self.match, self.left])
        work = self.random.choice([parts.settler.step, parts.activator._resettle_page]) if self.ruled else parts.settler.step
        if self.units:
            await asyncio.gather(work(), other(parts))

    async def page(self, parts: Parts) -> None:
        await parts.activator._resettle_page()

    async def rules(self, parts: Parts) -> None:
        """They aren't checked first: a check writes nothing."""
        key = self.store.vault.lookup_key
        known = [read(OPEN, key), read(STRICT, key), rulebook.SHIPPED.document]
        document = self.random.choice([*known, *(some_rules(self.random, key) for _ in range(3))])
        one = Activator(self.store.pool, parts.ledger, parts.unifier.graph, _unchecked, now_us, id_maker(now_us))
        command = ActivateRules(request_id=f"rules{self.number}", document=document, reason="to try", activated_by="test")
        async for _ in one.activate(command):
            pass

    async def model(self, parts: Parts) -> None:
        document = self.random.choice([modelbook.shipped().document, shifted(-14), shifted(-4), shifted(6)])
        one = ModelActivator(parts.ledger, _unchecked, now_us, id_maker(now_us), parts.matcher.tell)
        command = ActivateModel(request_id=f"model{self.number}", document=document, reason="to try", activated_by="test")
        async for _ in one.activate(command):
            pass

    async def customers(self) -> Sequence[bytes]:
        rows = await self.store.pool.fetch("SELECT customer FROM customers WHERE erased_by IS NULL ORDER BY founding_number")
        return [row["customer"] for row in rows]


async def _unchecked(*_: object) -> AsyncGenerator[Progress, None]:
    nothing: Sequence[Progress] = ()
    for none in nothing:
        yield none


def dying(parts: Parts, *, after: bool) -> Parts:
    """Dies with the next thing that it commits, before it is in the database or after."""
    writer: Any = parts.ledger._writer
    commit = writer._commit

    async def die(*arguments: Any) -> None:
        if after:
            await commit(*arguments)
        raise Died

    writer._commit = die
    return parts


def some_rules(random: Random, key: bytes) -> RulesDocument:
    names = random.sample(NAMES, k=random.randrange(1, len(NAMES) + 1))
    blocked = {name: hash_of(normalise(name, value), key).hex() for name, value in random.sample(BLOCKABLE, k=random.randrange(3))}
    rules = [_some_rule(random, name, (blocked[name],) if name in blocked else ()) for name in names]
    rules.insert(random.randrange(len(rules) + 1), _some_rule(random, "*", ()))
    link = random.choice([2.0, 8.0, 12.0, 20.0])
    sources = tuple(random.sample(["web", "till", "desk"], k=random.choice([0, 0, 1, 2])))
    return RulesDocument(
        namespaces=tuple(rules),
        max_cluster=random.choice([3, 8, 200]),
        max_sightings=random.choice([2, 5, 1000]),
        matching=Matching(
            on=random.random() < 0.8,
            link_weight=link,
            review_weight=random.choice([0.0, 2.0, link]),
            witness=random.random() < 0.5,
            one_per_source=sources,
        ),
    )


def _some_rule(random: Random, name: str, blocked: tuple[str, ...]) -> NamespaceRule:
    limit = random.choice([None, 1, 1, 2, 5, 100])
    owners = [other for other in NAMES if other != name]
    return NamespaceRule(
        name=name,
        limit=limit,
        window_days=random.choice([None, None, 1]) if limit else None,
        shared_after=random.choice([None, 1, 2, 3]),
        values_an_owner=random.choice([1, 2]),
        device=random.random() < 0.3,
        owned_by=tuple(random.sample(owners, k=random.randrange(len(owners)))),
        blocked_hashes=blocked,
    )

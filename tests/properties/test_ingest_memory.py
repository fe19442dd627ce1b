"""Laws of the door's memory: whatever fails and restarts in between, what is answered is true.

The door, the broker, identity and the receipts in one small model: the production memory and backlog, the I/O taken away.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.backlog import Backlog, Limits
from services.ingest.memory import Memory, Taken
from shared.errors import LimitExceeded, Unavailable

Outcome = Literal["taken", "refused", "unanswered"]  # the last: the broker has it, and the answer got lost
EVENTS = [b"a", b"b", b"c", b"d"]


@dataclass
class World:
    messages: list[list[bytes]] = field(default_factory=list)
    consumed: int = 0
    applied: Counter[bytes] = field(default_factory=Counter)
    receipts: set[bytes] = field(default_factory=set)
    receipts_include: int = 0
    database_is_down: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    said: set[bytes] = field(default_factory=set)  # answered 200
    memory: Memory = field(init=False)
    backlog: Backlog = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The process knows what the tables say, and claims what stands in the stream behind it."""
        self.backlog = Backlog(Limits(), lambda: 0)
        self.backlog.was_consumed(self.receipts_include)
        for number, message in enumerate(self.messages[self.receipts_include :], self.receipts_include + 1):
            claim, _ = self.backlog.claim(message)
            self.backlog.became_durable(claim, number)
        clock = iter(range(1_000_000))
        self.memory = Memory(self.backlog, list, self.look_up, self, lambda: next(clock) * 10)

    async def look_up(self, event_ids: Collection[bytes]) -> set[bytes]:
        await asyncio.sleep(0)
        if self.database_is_down:
            raise ConnectionError
        return self.receipts & set(event_ids)

    async def submit(self, events: list[bytes]) -> int:
        """The broker."""
        outcome = self.outcomes.pop() if self.outcomes else "taken"
        await asyncio.sleep(0)
        if outcome != "refused":
            self.messages.append(events)
            number = len(self.messages)
        await asyncio.sleep(0)
        if outcome != "taken":
            raise Unavailable("down", reason="BROKER_DOWN")
        return number

    def identity_consumes(self) -> None:
        for message in self.messages[self.consumed : self.consumed + 1]:
            self.applied.update(event for event in set(message) if not self.applied[event])
            self.consumed += 1

    def receipts_follow(self) -> None:
        self.receipts |= {event for message in self.messages[: self.consumed] for event in message}
        self.receipts_include = self.consumed
        self.backlog.was_consumed(self.consumed)

    async def send(self, batches: list[set[bytes]]) -> None:
        said_before, goes_well = set(self.said), not self.outcomes
        answers = await asyncio.gather(
            *(self.memory.submit({event: event for event in sorted(batch)}) for batch in batches), return_exceptions=True
        )
        fresh: Counter[bytes] = Counter()
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, Unavailable):
                assert not goes_well, "nobody is refused for no reason"
                continue
            assert isinstance(answer, Taken)
            assert batch <= {event for message in self.messages for event in message}, "what is answered 200 is durable"
            self.said |= batch
            fresh.update(batch - set(answer.duplicates))
        if not self.database_is_down:
            assert not said_before & fresh.keys(), "what was answered 200 is a duplicate from then on"
        assert not fresh or max(fresh.values()) == 1, "of two at a time, one is the duplicate"


actions = st.one_of(
    st.tuples(st.just("send"), st.lists(st.sets(st.sampled_from(EVENTS), min_size=1), min_size=1, max_size=3)),
    st.tuples(st.just("outcome"), st.sampled_from(["refused", "unanswered"])),
    st.tuples(st.sampled_from(["consume", "follow", "restart", "database"]), st.none()),
)


@given(st.lists(actions, max_size=30))
def test_an_answer_is_never_taken_back_and_nothing_is_new_twice(history: list[tuple[str, object]]) -> None:
    async def play() -> World:
        world = World()
        for what, detail in history:
            match what, detail:
                case "send", list():
                    await world.send(detail)
                case "outcome", "refused" | "unanswered":
                    world.outcomes.append(detail)
                case "consume", _:
                    world.identity_consumes()
                case "follow", _:
                    world.receipts_follow()
                case "restart", _:
                    world.restart()
                case "database", _:
                    world.database_is_down = not world.database_is_down
        return world

    world = asyncio.run(play())
    while world.consumed < len(world.messages):
        world.identity_consumes()
    assert world.said <= world.applied.keys()
    assert not world.applied or max(world.applied.values()) == 1
    world.receipts_follow()
    assert len(world.backlog) == 0, "what is consumed leaves the backlog"


def has_room(backlog: Backlog, events: int) -> bool:
    try:
        backlog.require_room(events)
    except LimitExceeded:
        return False
    return True


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40), st.integers(5, 10))
def test_the_backlog_never_holds_more_than_its_limit_and_opens_again(requests: list[tuple[int, bool]], limit: int) -> None:
    backlog = Backlog(Limits(events=limit, age_s=10), lambda: 0)
    for number, (size, consume) in enumerate(requests, 1):
        ids = [b"%d/%d" % (number, n) for n in range(size)]
        if has_room(backlog, size):
            backlog.became_durable(backlog.claim(ids)[0], number)
        else:
            assert len(backlog) + size > limit
        assert len(backlog) <= limit
        if consume:
            backlog.was_consumed(number)
            backlog.require_room(limit)


def test_a_backlog_that_is_too_old_closes_the_door_however_short_it_is() -> None:
    now = 0
    backlog = Backlog(Limits(events=100, age_s=10), lambda: now)
    backlog.became_durable(backlog.claim([b"a"])[0], 1)
    now = 10_000_000
    assert has_room(backlog, 1)
    now += 1
    assert not has_room(backlog, 1)
    backlog.was_consumed(1)
    assert has_room(backlog, 1)

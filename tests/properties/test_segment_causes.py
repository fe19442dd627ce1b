"""The law of the cause: of what came together, a move is due to an event that its condition looks at."""

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.profile.causes import Cause, because
from services.profile.domain.membership import moves
from shared.events import customer as events
from shared.instants import SECOND
from tests.properties.pasts import CUSTOMERS, Teller, activity
from tests.properties.purchases import START
from tests.properties.test_beginnings import WITHOUT_CONFIRMING, Kept

LOOKED_AT = {"kiel": "city", "nowhere": "city", "many": "order", "listed": "tier"}
DOCUMENT: dict[str, Any] = {
    "traits": {"tier": {"rule": "most_frequent"}},
    "computed": {"orders": WITHOUT_CONFIRMING["computed"]["orders"]},
    "segments": {name: one for name, one in WITHOUT_CONFIRMING["segments"].items() if name in LOOKED_AT}
    | {"listed": {"when": "traits.tier == 'gold'"}},
}
said = st.one_of(
    st.just(("order", None)),
    st.just(("page", None)),
    st.tuples(st.just("city"), st.sampled_from(["Kiel", "Bremen", None])),
    st.tuples(st.just("tier"), st.sampled_from(["gold", "iron"])),
)
batches = st.lists(st.lists(st.tuples(said, st.integers(0, 9)), min_size=1, max_size=5), min_size=1, max_size=5)


class Causes(Kept):
    """Notes of which kind the event was that each move is due to."""

    def __init__(self) -> None:
        super().__init__(DOCUMENT, 500)
        self.kinds: dict[bytes, str] = {}
        self.found: list[tuple[str, str]] = []  # (what the segment looks at, kind of the event)

    def say(self, teller: Teller, kind: str, value: Any, at: int) -> None:
        match kind:
            case "order":
                event_id = teller._event(0, at, events.TRACKED, activity("web", at), events.Tracked(name="Order Completed"))
            case "page":
                event_id = teller._event(0, at, events.PAGE_VIEWED, activity("web", at), events.Viewed(name="Home"))
            case _:
                event_id = teller._event(0, at, events.IDENTIFIED, activity("web", at), events.Identified(traits={kind: value}))
        self.kinds[event_id] = kind

    async def look(self, causes: Mapping[bytes, Cause]) -> list[tuple[bytes, str, bool, int]]:
        held, customer = await self.held(), CUSTOMERS[0]
        standing = await self.standing(held, self.past.log.now)
        for move in moves(self.written, held, customer, standing.segments):
            cause = because(causes[customer], move.segment, self.rules, held)
            self.found.append((LOOKED_AT[move.segment], self.kinds.get(cause.event_id, "order")))  # who is founded orders
        self.written[customer] = set(standing.segments)
        return []


@example([[(("order", None), 1), (("order", None), 2), (("city", "Kiel"), 3), (("page", None), 4), (("page", None), 5)]])
@example([[(("tier", "gold"), 1), (("page", None), 2)]])
@given(batches)
def test_a_move_is_due_to_an_event_that_its_condition_looks_at(life: list[list[tuple[tuple[str, Any], int]]]) -> None:
    kept = Causes()
    teller = Teller(kept.past)
    for batch in life:
        for (kind, value), second in batch:
            kept.say(teller, kind, value, START + second * SECOND)
        teller.commit()
        asyncio.run(kept.follow())
        kinds = {kind for (kind, _), _ in batch}
        assert all(looked_at == kind for looked_at, kind in kept.found if looked_at in kinds)
        kept.found.clear()

"""A question that expired, on a real PostgreSQL: it rests until one of its two is seen again, and nothing else brings it back."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from services.identity.activating import ActivateRules, Activator
from services.identity.composition import Parts
from services.identity.domain.decision import Act
from services.identity.graph.facts import Node
from services.identity.graph_writer import GraphWriter
from services.identity.rebuild import rebuild, told
from services.identity.recall import NOW, Instants
from services.identity.reviewing import Expiry
from services.identity.tables import rulebook
from shared.events.wire import RawEvent
from shared.ids import id_maker
from shared.instants import DAY, now_us
from tests.live.identity_life import _unchecked
from tests.live.test_identity import Store, event_of, store
from tests.live.test_identity_questions import asked, decide

__all__ = ["store"]  # the fixture

ASKED = [("TWO_KNOWN_PEOPLE", ["u1", "u2"])]


def names(message_id: str, user: str, mailbox: str = "", **named: str) -> RawEvent:
    return event_of(message_id, user_id=user, traits={"email": f"{mailbox}@shop.example"} if mailbox else {}, **named)


async def expired(store: Store) -> Parts:
    """Two people of one mailbox, of whom it was asked; each is remembered, too."""
    parts = await store.parts()
    await parts.unifier.unify([names("1", "u1", "both"), names("2", "u2", "both"), names("3", "u1", "own")], 1, [])
    await parts.unifier.unify([names("4", "u1", "both"), names("5", "u1"), names("6", "u2")], 2, [])
    assert await asked(store, "u1", "u2") == ASKED
    assert await Expiry(store.pool, parts.ledger, 90, lambda: now_us() + 91 * DAY, id_maker(now_us)).expire() == 1
    assert await asked(store, "u1", "u2") == []
    return parts


@pytest.mark.parametrize("again", [("u1", "both"), ("u2", "both"), ("u1", ""), ("u2", "new")])
@pytest.mark.parametrize("restarted", [False, True])
async def test_it_is_asked_again_as_soon_as_one_of_the_two_is_seen(store: Store, again: tuple[str, str], restarted: bool) -> None:
    parts = await expired(store)
    await parts.unifier.unify([names("4", "u1", "both")], 3, [])
    assert await asked(store, "u1", "u2") == [], "that was sent again, and is the same event"
    if restarted:
        parts = await store.parts()
    await parts.unifier.unify([names("7", *again)], 4, [])
    assert await asked(store, "u1", "u2") == ASKED
    await parts.unifier.unify([names("8", *again)], 5, [])
    states = "SELECT state FROM proposals ORDER BY pos"
    assert [row["state"] for row in await store.pool.fetch(states)] == ["expired", "open"]
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))


async def other_rules(store: Store, parts: Parts) -> None:
    document = msgspec.structs.replace(rulebook.SHIPPED.document, max_cluster=199)
    one = Activator(store.pool, parts.ledger, parts.unifier.graph, _unchecked, now_us, id_maker(now_us))
    async for _ in one.activate(ActivateRules(request_id="r", document=document, reason="to try", activated_by="desk")):
        pass
    while await one._resettle_page():
        pass


async def decided_and_taken_back(store: Store, parts: Parts) -> None:
    acts: list[Act] = ["merge", "forbid"]
    for act in acts:
        made = await decide(parts.decider, store, act, "u1", "u2")
        await parts.decider.withdraw(f"back {act}", made, "desk", "a mistake")


async def somebody_else(store: Store, parts: Parts) -> None:
    await parts.unifier.unify([names("9", "u9", "own")], 3, [])


@pytest.mark.parametrize("settled", [other_rules, decided_and_taken_back, somebody_else])
async def test_what_else_settles_them_leaves_it_at_rest(store: Store, settled: Callable[[Store, Parts], Awaitable[None]]) -> None:
    parts = await expired(store)
    await settled(store, parts)
    assert ASKED[0] not in await asked(store, "u1", "u2")
    await parts.unifier.unify([names("10", "u1", "both")], 4, [])
    assert ASKED[0] in await asked(store, "u1", "u2")


async def test_why_names_what_rests_and_what_rested_by_what_was_known(store: Store) -> None:
    parts = await store.parts()
    one, other = (Node("user_id", store.hash_of("user_id", user)) for user in ("u1", "u2"))
    await parts.unifier.unify([names("1", "u1", "both"), names("2", "u2", "both")], 1, [])
    at = [parts.ledger.recording]
    assert await Expiry(store.pool, parts.ledger, 0, now_us, id_maker(now_us)).expire() == 1
    at.append(parts.ledger.recording)
    await parts.unifier.unify([names("3", "u3")], 2, [])
    at.append(parts.ledger.recording)
    await parts.unifier.unify([names("4", "u2")], 3, [])
    at.append(parts.ledger.recording)
    first, second = [row["proposal_id"] for row in await store.pool.fetch("SELECT proposal_id FROM proposals ORDER BY pos")]
    whys = [
        await parts.explanations.why(one, other, instants) for instants in (*(Instants(known_at=instant) for instant in at), NOW)
    ]
    assert [why.proposals for why in whys] == [[first], [], [], [second], [second]]
    assert [why.resting for why in whys] == [[], [first], [first], [], []]


async def test_who_hangs_together_with_too_much_is_asked_again_behind_the_events(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = await expired(store)
    monkeypatch.setattr(GraphWriter, "most", 1)
    await parts.unifier.unify([names("7", "u1")], 3, [])
    assert await asked(store, "u1", "u2") == []
    while await parts.settler.step():
        pass
    assert await asked(store, "u1", "u2") == ASKED

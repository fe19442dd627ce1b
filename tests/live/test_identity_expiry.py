"""A question that expired, on a real PostgreSQL: it rests until one of its two is seen again, and nothing else brings it back."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from services.identity.activating import ActivateRules, Activator
from services.identity.composition import Parts
from services.identity.domain.decision import Act, Decide, Party
from services.identity.graph.facts import Node
from services.identity.graph_writer import GraphWriter
from services.identity.rebuild import rebuild, told
from services.identity.recall import NOW, Instants
from services.identity.tables import rulebook
from shared.events.wire import RawEvent
from shared.ids import id_maker
from shared.instants import now_us
from tests.live.identity_life import _unchecked
from tests.live.test_identity import Store, event_of, settle_behind, store
from tests.live.test_identity_questions import asked, decide, open_now, seen

__all__ = ["store"]  # the fixture

ASKED = [("TWO_KNOWN_PEOPLE", ["u1", "u2"])]


def names(message_id: str, user: str, mailbox: str = "", **named: str) -> RawEvent:
    return event_of(message_id, user_id=user, traits={"email": f"{mailbox}@shop.example"} if mailbox else {}, **named)


async def expire(store: Store, parts: Parts) -> int:
    """How many did, with what is settled behind them."""
    found = await store.expiry(parts).expire()
    await settle_behind(parts)
    return found


async def expired(store: Store) -> Parts:
    """Two people of one mailbox, of whom it was asked; each is remembered, too."""
    parts = await store.parts()
    await parts.unifier.unify([names("1", "u1", "both"), names("2", "u2", "both"), names("3", "u1", "own")], 1, [])
    await parts.unifier.unify([names("4", "u1", "both"), names("5", "u1"), names("6", "u2")], 2, [])
    assert await asked(store, "u1", "u2") == ASKED
    assert await expire(store, parts) == 1
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


def of_too_many_addresses(user_first: bool) -> list[RawEvent]:
    """Whose customer the card is linked to hangs on what came first."""
    first = seen(2, "first", anonymous_id="a2", traits={"email": "e1@shop.example"}, card="c0")
    rest = [seen(1, "user", user_id="u0", card="c0")]
    rest += [seen(2 + n, f"has {n}", user_id="u0", traits={"email": f"e{n}@shop.example"}) for n in (1, 2, 3, 4, 5, 7)]
    return [*rest, first] if user_first else [first, *rest]


@pytest.mark.parametrize("user_first", [True, False])
async def test_split_by_hand_with_nobody_seen_it_rests_for_those_of_whom_it_was_asked(store: Store, user_first: bool) -> None:
    parts = await store.parts()
    sixth = seen(9, "last", anonymous_id="a9", traits={"email": "e6@shop.example"}, card="c0")
    for sequence, one in enumerate([*of_too_many_addresses(user_first), sixth], 1):
        await parts.unifier.unify([one], sequence, [])
    assert len(await open_now(store)) == 2
    assert await expire(store, parts) == 2
    ends = [Party(value_hash=store.hash_of(*named)) for named in (("user_id", "u0"), ("email", "e1@shop.example"))]
    split = Decide(request_id="apart", act="split", one=ends[0], other=ends[1], decided_by="desk", reason="a mistake")
    await parts.decider.decide(split)
    assert await open_now(store) == []
    await parts.unifier.unify([seen(20, "again", user_id="u0")], 20, [])
    assert await open_now(store) != []
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))


async def test_what_is_open_stays_open_when_one_of_its_two_is_joined_to_somebody_whose_question_rests(store: Store) -> None:
    parts = await store.parts()
    await parts.unifier.unify(
        [names("1", "u1", "both"), names("2", "u2", "both"), names("3", "u2", "hers"), names("4", "u3")], 1, []
    )
    assert await expire(store, parts) == 1
    await parts.unifier.unify([names("5", "u3", "hers")], 2, [])
    before = await open_now(store)
    assert await asked(store, "u1", "u2", "u3") == [("TWO_KNOWN_PEOPLE", ["u2", "u3"])]
    made = await decide(parts.decider, store, "merge", "u1", "u3")
    assert await open_now(store) == before
    await parts.decider.withdraw("back", made, "desk", "a mistake")
    assert await open_now(store) == before


async def test_what_else_speaks_for_the_same_two_is_asked_behind_the_expiry(store: Store) -> None:
    """Of who was joined by hand there are two who have an address in common with her."""
    parts = await store.parts()
    shown = [names("1", "u1", "both"), names("2", "u2", "both"), names("3", "u2", "hers"), names("4", "u3", "hers")]
    await parts.unifier.unify(shown, 1, [])
    await decide(parts.decider, store, "merge", "u1", "u3")
    [first] = await open_now(store)
    assert await store.expiry(parts).expire() == 1
    assert await open_now(store) == []
    await settle_behind(parts)
    [second] = await open_now(store)
    hashes = [store.hash_of("user_id", user) for user in ("u1", "u2", "u3")]
    assert {first.end_hash, first.other_end_hash} == {*hashes[:2]}
    assert {second.end_hash, second.other_end_hash} == {*hashes[1:]}
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))
    assert await expire(store, parts) == 1
    assert await open_now(store) == []
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))


async def test_why_names_what_rests_and_what_rested_by_what_was_known(store: Store) -> None:
    parts = await store.parts()
    one, other = (Node("user_id", store.hash_of("user_id", user)) for user in ("u1", "u2"))
    await parts.unifier.unify([names("1", "u1", "both"), names("2", "u2", "both")], 1, [])
    at = [parts.ledger.recording]
    assert await expire(store, parts) == 1
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
    await settle_behind(parts)
    assert await asked(store, "u1", "u2") == ASKED

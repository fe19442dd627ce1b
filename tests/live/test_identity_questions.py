"""The review queue on a real PostgreSQL: what is asked doesn't depend on what came first."""

from itertools import permutations
from typing import Any

import msgspec
import pytest

from services.identity.deciding import Decider
from services.identity.domain.decision import Act, Decide, Party
from services.identity.domain.sighting import Suppression
from services.identity.rebuild import rebuild, told
from services.identity.tables import bounds, views
from services.identity.tables.views import ProposalRow
from shared.events.wire import RawEvent
from tests.live.test_identity import Store, erase, event_of, store
from tests.live.test_matching import settled, writers

__all__ = ["store"]  # the fixture


async def open_now(store: Store) -> list[ProposalRow]:
    return await views.proposals(store.pool, "open", (-1, b""), 1_000)


async def asked(store: Store, *users: str) -> list[tuple[str, list[str]]]:
    """Of the open questions about some of these users: the reason, and whom each is about."""
    who: dict[bytes, str] = {}
    for user in users:
        for member in await store.members("user_id", user):
            who[member] = f"{who.get(member, '')}{user}"
    mine = [one for one in await open_now(store) if {one.customer, one.other} & who.keys()]
    return sorted((one.reason, sorted(who.get(end, "nobody") for end in (one.customer, one.other))) for one in mine)


async def decide(decider: Decider, store: Store, act: Act, one: str, other: str) -> bytes:
    ends = [Party(value_hash=store.hash_of("user_id", user)) for user in (one, other)]
    made = Decide(request_id=f"{act} {one} {other}", act=act, one=ends[0], other=ends[1], decided_by="desk", reason="looked at it")
    return (await decider.decide(made))[0].decision_id


def seen(at: int, message_id: str, card: str = "", **named: Any) -> RawEvent:
    external_ids = [("card", card)] if card else []
    return msgspec.structs.replace(event_of(str(at), **named), message_id=message_id, external_ids=external_ids)


def of_four(n: int) -> list[RawEvent]:
    return [
        seen(1, f"{n}-1", anonymous_id=f"a{n}", traits={"email": f"e{n}@shop.example"}, card=f"c{n}"),
        seen(2, f"{n}-2", user_id=f"u2-{n}", card=f"c{n}"),
        seen(3, f"{n}-3", user_id=f"u4-{n}", card=f"c{n}"),
        seen(4, f"{n}-4", user_id=f"u1-{n}", traits={"email": f"e{n}@shop.example"}),
    ]


async def test_whatever_was_seen_first_the_same_is_asked(store: Store) -> None:
    unifier = await store.unifier()
    orders = list(permutations(range(4)))
    for step in range(4):
        await unifier.unify([of_four(n)[order[step]] for n, order in enumerate(orders)], step + 1, [])
    for n in range(len(orders)):
        users = [f"u1-{n}", f"u2-{n}", f"u4-{n}"]
        assert await asked(store, *users) == [("TWO_KNOWN_PEOPLE", users[1:])]


async def test_who_may_be_one_is_asked_in_whatever_order_it_was_decided_otherwise_and_taken_back(store: Store) -> None:
    unifier, decider, _ = await store.started()
    for n, (order, back) in enumerate((order, back) for order in (1, -1) for back in (1, -1)):
        users = [f"u{i}-{n}" for i in range(3)]
        phone = f"+4930123450{n}"
        events = [seen(1, f"{n}-1", user_id=users[0]), *(seen(2, u, user_id=u, traits={"phone": phone}) for u in users[1:])]
        await unifier.unify(events, n + 1, [])
        assert await asked(store, *users) == [("TWO_KNOWN_PEOPLE", users[1:])]
        acts: list[tuple[Act, str]] = [("merge", users[2]), ("forbid", users[1])]
        made = [await decide(decider, store, act, users[0], other) for act, other in acts[::order]]
        assert await asked(store, *users) == [], "they are forbidden"
        for number, decision_id in enumerate(made[::back]):
            await decider.withdraw(f"back {n} {number}", decision_id, "desk", "a mistake")
        assert await asked(store, *users) == [("TWO_KNOWN_PEOPLE", users[1:])]


async def test_two_customers_are_asked_about_once_when_people_joined_two_of_three(store: Store) -> None:
    unifier, decider, _ = await store.started()
    shown = [("u0", "e0"), ("u1", "e0"), ("u2", "e1"), ("u1", "e1")]
    raw = [event_of(str(at), user_id=u, traits={"email": f"{e}@shop.example"}) for at, (u, e) in enumerate(shown)]
    await unifier.unify(raw, 1, [])
    [earliest] = [one for one in await open_now(store) if store.hash_of("user_id", "u0") in (one.end_hash, one.other_end_hash)]
    await decide(decider, store, "merge", "u0", "u2")
    assert [one.proposal_id for one in await open_now(store)] == [earliest.proposal_id]
    accepted, *_ = await decider.decide_proposal("yes", earliest.proposal_id, True, "desk", "the same person")
    assert accepted.kind == "merge"
    assert not await open_now(store)


async def test_accepting_joins_those_whom_the_strongest_evidence_speaks_for_whatever_came_first(store: Store) -> None:
    """One of the two is u0 and u2, joined by hand; once that is taken back, u1 is whom it was asked of, and with nobody else."""
    unifier, decider, _ = await store.started()
    for n, order in enumerate((1, -1)):
        users = [f"u{i}-{n}" for i in range(3)]
        await unifier.unify([seen(i, user, user_id=user) for i, user in enumerate(users)], 3 * n + 1, [])
        merged = await decide(decider, store, "merge", users[0], users[2])
        shown = [[(users[2], f"a{n}", 20), (users[1], f"a{n}", 21)], [(users[0], f"b{n}", 10), (users[1], f"b{n}", 11)]]
        for step, both in enumerate(shown[::order]):
            raw = [seen(at, f"{n}-{at}", user_id=user, traits={"email": f"{name}@shop.example"}) for user, name, at in both]
            await unifier.unify(raw, 3 * n + step + 2, [])
        [question] = await open_now(store)
        assert {question.end_hash, question.other_end_hash} == {store.hash_of("user_id", user) for user in users[:2]}
        await decider.decide_proposal(f"yes {n}", question.proposal_id, True, "desk", "the same person")
        await decider.withdraw(f"back {n}", merged, "desk", "a mistake")
        zero, one, two = [await store.members("user_id", user) for user in users]
        assert zero == one != two
        assert await asked(store, *users) == [("TWO_KNOWN_PEOPLE", [f"{users[0]}{users[1]}", users[2]])]
        [left] = await open_now(store)
        await decider.decide_proposal(f"no {n}", left.proposal_id, False, "desk", "another one")
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))


async def test_what_a_decision_keeps_apart_is_no_question_whatever_raised_it_and_is_one_again_without(store: Store) -> None:
    """A sixth address is a limit's question; seen with a card that isn't theirs, it is the decision's."""
    unifier, decider, _ = await store.started()
    mails = [seen(at, f"m{at}", user_id="u1", traits={"email": f"e{at}@shop.example"}) for at in range(1, 7)]
    await unifier.unify([*mails, seen(8, "c", anonymous_id="a", card="c1")], 1, [])
    assert [one.reason for one in await open_now(store)] == ["LIMIT_REACHED"]
    ends = [Party(value_hash=store.hash_of(*end)) for end in (("user_id", "u1"), ("card", "c1"))]
    made = Decide(request_id="no", act="forbid", one=ends[0], other=ends[1], decided_by="desk", reason="another's card")
    forbidden, *_ = await decider.decide(made)
    await unifier.unify([seen(10, "both", card="c1", traits={"email": "e6@shop.example"})], 2, [])
    assert await open_now(store) == []
    await decider.withdraw("back", forbidden.decision_id, "desk", "a mistake")
    [question] = await open_now(store)
    await decider.decide_proposal("yes", question.proposal_id, True, "desk", "theirs after all")
    assert await store.members("user_id", "u1") == await store.members("card", "c1")


async def test_a_question_says_what_speaks_for_it_now_whatever_was_noticed_first(store: Store) -> None:
    """A likeness and then a phone, and the other way around; then the phone is two others' too, and says nothing of anybody."""
    unifier, matcher = await writers(store)
    told_of, people = [], [("Annegret", "Zwetschgenreuther", "1950-01-10"), ("Tjark", "Oldenhuis", "1983-11-27")]
    for n, (order, (given, family, born)) in enumerate(zip((1, -1), people, strict=True)):
        same: dict[str, Any] = {"firstName": given, "last_name": family, "birthday": born}
        traits = [same, {"phone": ("+49301234500", "+498955667788")[n]}]
        for step, said in enumerate(traits[::order]):
            both = [seen(10 * step + end, f"{n}-{step}-{end}", user_id=f"u{n}{end}", traits=said) for end in (0, 1)]
            await unifier.unify(both, 2 * n + step + 1, [])
            await settled(unifier, matcher)
        [hers] = await store.members("user_id", f"u{n}0")
        [one] = [one for one in await open_now(store) if hers in (one.customer, one.other)]
        told_of.append((one.reason, one.weight, list(one.doubts)))
    assert told_of == [("TWO_KNOWN_PEOPLE", None, [])] * 2
    await unifier.unify([seen(30, "late", user_id="u09", traits={"phone": "+49301234500"})], 9, [])
    await settled(unifier, matcher)
    [hers] = await store.members("user_id", "u00")
    [one] = [one for one in await open_now(store) if hers in (one.customer, one.other)]
    assert one.weight is not None, "no value links them any more, and they are alike"
    found = await rebuild(store.settings, mend=False)
    assert found.same, "\n".join(told(found))


async def test_a_question_ends_when_what_spoke_for_it_is_erased_though_the_two_are_settled_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "PAGE_UNSETTLED", 1)
    unifier = await store.unifier()
    phone = {"phone": "+49301234500"}
    raw = [event_of("1", traits=phone), event_of("2", user_id="u1", traits=phone), event_of("3", user_id="u2", traits=phone)]
    await unifier.unify(raw, 1, [])
    assert await asked(store, "u1", "u2") == [("TWO_KNOWN_PEOPLE", ["u1", "u2"])]
    await erase(store, await store.members("phone", phone["phone"]), Suppression(b"e", "refuse", 1_000))
    unifier.forget()
    while await unifier.graph.settle_left():
        pass
    assert await asked(store, "u1", "u2") == []

"""Laws of double opt-in: what is confirmed was asked for, once, in time, and not after the person decided otherwise."""

from collections.abc import Iterator
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.confirming import (
    Confirm,
    RequestConfirmation,
    confirmation,
    decision_named,
    request_confirmation,
    token_of,
)
from services.consent.domain.ledger import RecordDecision, fold, record_decision
from shared.consent_rule import Case, judge
from shared.errors import Conflict, CustomerError, InvalidInput, WrongState
from shared.events.consent import DecisionRecorded, PurposeDefined
from shared.instants import DAY

KEY = b"k" * 32
PURPOSE = PurposeDefined(
    request_id="p", name="offers", version=1, description="", legal_basis="consent", traits=(), double_opt_in=True
)


class Desk:
    """One identifier's decisions, as the use cases would record them."""

    def __init__(self) -> None:
        self.recorded: list[DecisionRecorded] = []
        self.tokens: list[str] = []
        self.now = DAY
        self._ids: Iterator[int] = count(1)

    def new_id(self) -> bytes:
        return next(self._ids).to_bytes(16)

    def decision(self, request_id: str, outcome: str = "granted") -> RecordDecision:
        return RecordDecision(
            request_id=request_id,
            identifier_hash=b"i" * 16,
            namespace="email",
            purpose="offers",
            outcome=outcome,  # type: ignore[arg-type]
        )

    def ask(self, request_id: str, wait_days: int) -> str:
        command = RequestConfirmation(decision=self.decision(request_id), wait_days=wait_days)
        self.recorded += request_confirmation(fold([PURPOSE, *self.recorded]), command, self.now, self.new_id, KEY)
        [waiting] = [one for one in self.recorded if one.request_id == request_id]
        return token_of(waiting.decision_id, waiting.confirm_by, KEY)

    def confirm(self, request_id: str, token: str, erased_at: int = -1) -> None:
        named = decision_named(token, KEY)
        [waiting] = [one for one in self.recorded if one.decision_id == named]
        command = Confirm(request_id=request_id, token=token)
        decision = confirmation(waiting, self.recorded, erased_at, command, self.now)
        self.recorded += record_decision(fold([PURPOSE, *self.recorded]), decision, self.now, self.new_id)

    def deny(self, request_id: str) -> None:
        command = self.decision(request_id, "withdrawn")
        self.recorded += record_decision(fold([PURPOSE, *self.recorded]), command, self.now, self.new_id)


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "confirm", "confirm", "deny"]), st.integers(0, 3), st.integers(1, 3 * DAY)), max_size=12
)


@given(STEPS)
def test_whatever_happens_a_confirmed_grant_was_asked_for_in_time_once_and_not_overtaken(steps: list[tuple[str, int, int]]) -> None:
    desk, asked = Desk(), dict[int, tuple[int, int]]()  # by place of the token: when asked, and until when it waits
    denied, used = -1, set[int]()
    for number, (what, which, later) in enumerate(steps):
        desk.now += later
        if what == "ask":
            asked[len(desk.tokens)] = (desk.now, desk.now + (which + 1) * DAY)
            desk.tokens.append(desk.ask(f"ask-{number}", which + 1))
        elif what == "deny":
            desk.deny(f"deny-{number}")
            denied = desk.now
        elif which < len(desk.tokens):
            began, ends = asked[which]
            if which not in used and desk.now <= ends and denied < began:
                desk.confirm(f"confirm-{number}", desk.tokens[which])
                used.add(which)
            else:
                with pytest.raises(WrongState):
                    desk.confirm(f"confirm-{number}", desk.tokens[which])
    confirmed = [one for one in desk.recorded if one.confirmed]
    assert len({one.confirms for one in confirmed}) == len(confirmed) == len(used)
    by_id = {one.decision_id: one for one in desk.recorded}
    assert all(by_id[one.confirms].decided_at <= one.decided_at <= by_id[one.confirms].confirm_by for one in confirmed)


@given(st.integers(1, 90), st.integers(0, 300 * DAY))
def test_what_is_repeated_is_done_once_whenever(wait_days: int, later: int) -> None:
    desk = Desk()
    token = desk.ask("ask", wait_days)
    desk.confirm("confirm", token)
    desk.now += later
    assert desk.ask("ask", wait_days) == token
    desk.confirm("confirm", token)
    assert [one.confirmed for one in desk.recorded] == [False, True]
    with pytest.raises(Conflict):
        desk.ask("ask", wait_days % 90 + 1)


@given(st.data())
def test_a_changed_token_is_none(data: st.DataObject) -> None:
    token = Desk().ask("ask", 7)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != token[place]))
    changed = token[:place] + other + token[place + 1 :]
    with pytest.raises(InvalidInput) as refused:
        assert decision_named(changed, KEY) != decision_named(token, KEY)
    assert refused.value.reason == "CONFIRMATION_UNKNOWN"


def test_of_texts_that_decode_alike_only_ours_is_a_token() -> None:
    token = Desk().ask("ask", 7)
    for last in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") - {token[-1]}:
        with pytest.raises(InvalidInput):
            decision_named(token[:-1] + last, KEY)


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        decision_named(text, KEY)


@given(st.integers(1, 90), st.integers(-2, 2))
def test_a_grant_waits_until_its_end_and_then_has_lapsed(wait_days: int, beside: int) -> None:
    desk = Desk()
    desk.ask("ask", wait_days)
    [waiting] = desk.recorded
    now = waiting.confirm_by + beside
    verdict = judge(Case(PURPOSE, [waiting], now))
    assert not verdict.permitted
    assert verdict.state == ("PENDING" if now <= waiting.confirm_by else "LAPSED")
    assert judge(Case(PURPOSE, [waiting], waiting.confirm_by + 1)).state == "LAPSED"
    assert verdict.state == "LAPSED" or verdict.until == waiting.confirm_by + 1


def test_who_was_erased_meanwhile_is_asked_anew() -> None:
    desk = Desk()
    token = desk.ask("ask", 7)
    with pytest.raises(WrongState) as refused:
        desk.confirm("confirm", token, erased_at=desk.now)
    assert refused.value.reason == "CONFIRMATION_OVERTAKEN"


def test_a_purpose_that_asks_for_no_confirmation_is_not_confirmed() -> None:
    desk, without = Desk(), msgspec.structs.replace(PURPOSE, double_opt_in=False)
    command = RequestConfirmation(decision=desk.decision("ask"))
    with pytest.raises(CustomerError) as refused:
        request_confirmation(fold([without]), command, desk.now, desk.new_id, KEY)
    assert refused.value.reason == "NO_DOUBLE_OPT_IN"

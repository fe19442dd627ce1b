"""Laws of what events say again and again: whatever the order in which they come, the same stands in the end."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.consent.domain.standing import Instant, Run, hear, hear_all
from shared.events.said import FIELDS, seal, signals_of, unseal
from shared.events.wire import RawEvent, Statement
from shared.evidence_key import EvidenceKey

KEY = EvidenceKey(b"k" * 32).data_key
SAID = st.builds(Instant, st.integers(0, 12), st.sampled_from("abc"))
MANY = st.lists(SAID, min_size=1, max_size=12)


def heard(instants: list[Instant]) -> tuple[Run, list[Instant]]:
    run, news = hear_all(None, instants)
    assert run is not None
    return run, news


def changes(instants: list[Instant]) -> list[Instant]:
    """The choices: what is said first, and what is said differently from what was said before it."""
    ordered = sorted(set(instants))
    return [one for n, one in enumerate(ordered) if n == 0 or ordered[n - 1].text != one.text]


@given(MANY, st.randoms())
def test_in_any_order_the_newest_that_was_said_is_the_newest_that_is_kept(instants: list[Instant], chance: random.Random) -> None:
    shuffled = sorted(instants, key=lambda _: chance.random())
    run, news = heard(shuffled)
    assert run.last == max(instants)
    assert max(news).text == max(instants).text, "what stands in the end"
    assert set(news) <= set(instants), "and each counts from an instant at which it was said"
    assert {one.text for one in news} == {one.text for one in instants}, "nothing that anybody said is lost"


@given(MANY)
def test_in_order_every_choice_is_kept_once_from_when_it_was_made(instants: list[Instant]) -> None:
    assert heard(sorted(instants))[1] == changes(instants)


@given(MANY)
def test_what_is_said_again_is_no_news(instants: list[Instant]) -> None:
    run, _ = heard(instants)
    assert hear(run, run.last) == (run, [])
    later = Instant(run.last_at + 1, run.text)
    assert hear(run, later) == (Run(run.text, run.first_at, later.at), [])


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.sampled_from([*FIELDS]), inner, max_size=4)
    ),
)


@given(JSON | st.dictionaries(st.sampled_from([*FIELDS]), JSON), st.booleans())
def test_whatever_a_context_holds_is_read_and_sealed(consent: Any, gpc: bool) -> None:
    event = RawEvent(kind="track", message_id="m", source="s", occurred_at=0, received_at=0, context={"consent": consent}, gpc=gpc)
    signals = signals_of(event)
    said = Statement(event_id=b"e" * 16, identifier_hash=b"h" * 16, namespace="user_id", source="s", happened_at=0, signals=signals)
    sealed = seal([said] * 3, KEY)
    assert unseal(sealed, KEY) == [said] * 3
    assert len(signals) == len({kind for kind, _ in signals}), "one of a kind"
    assert not any(text.encode() in part for part in sealed for _, text in signals if len(text) > 5)


def test_a_choice_prints_nothing() -> None:
    assert "advertising" not in repr(Run("advertising", 0, 0))

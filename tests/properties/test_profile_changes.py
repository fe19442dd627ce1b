"""Laws of what changed: what is told, done one by one, leads from answer to answer, whatever changed it; and the causes are real."""

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from services.profile.app import Instant
from services.profile.choosing import THEN, RulesChoice
from services.profile.domain.clocks import Order
from services.profile.domain.decided import KnownDecision
from services.profile.domain.diff import (
    ByDecision,
    ByEvent,
    ByRules,
    ByTime,
    Change,
    ConsentChange,
    IdentifierChange,
    MemberChange,
    SegmentChange,
    TraitChange,
)
from services.profile.domain.golden import NO_EVENT, golden_record
from services.profile.domain.happening import COUNTED_AT_MOST
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import SHIPPED_RULES, read, to_json
from services.profile.tables.rulebook import RULES_STREAM
from shared.events import customer as events
from shared.events.catalogue import make_entry
from shared.events.consent import Outcome
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, ProfileRulesActivated, ProfileRulesDiffer
from shared.identifiers import hash_of, normalise
from shared.ids import derived_id, partition_of
from shared.instants import SECOND
from shared.log import Record
from shared.privacy import Redacted
from tests.properties.past_store import AUDIT, PARTITIONS, Past
from tests.properties.pasts import CUSTOMERS, Teller, activity, own
from tests.properties.plain_replay import plain_events, plain_refusal
from tests.properties.test_profile_time import orders, walked

RULES = read("""{
 "traits": {"email": {"verified_first": true}},
 "computed": {"orders": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "5s"},
              "spent": {"of": "event.name == 'Order Completed'", "aggregate": "sum", "value": "event.properties.total"},
              "since": {"of": "event.name == 'Order Completed'", "aggregate": "time_since"}},
 "segments": {"frequent": {"when": "computed.orders >= 2"},
              "silent": {"when": "computed.since > duration('7s')"},
              "kielers": {"when": "traits.city == 'Kiel'"},
              "reached": {"when": "traits.email == 'a@shop.example'"}}}""")
ADDRESSES = ["a@shop.example", "b@shop.example"]
LATER = 1_000 * SECOND  # events are received then, so that they count when they happened
Answer = dict[tuple[str, Any], Any]

who = st.sampled_from([0, 0, 0, 1, 2])  # mostly one, so that there is much of her
when = st.integers(1, 30).map(lambda seconds: seconds * SECOND)
late = st.sampled_from([0, 0, -2, 6, 15]).map(
    lambda seconds: seconds * SECOND
)  # how long after it was taken a decision is recorded
said = st.fixed_dictionaries({}, optional={"city": st.sampled_from(["Kiel", "Ulm", None]), "email": st.sampled_from(ADDRESSES)})
deeds = st.one_of(
    st.tuples(st.just("identify"), who, when, st.sampled_from(["app", "web"]), said),
    st.tuples(st.just("order"), who, when, st.integers(1, 3)),
    st.tuples(st.just("link"), who, when, st.sampled_from("ab")),
    st.tuples(st.just("unlink"), st.integers(0, 9), when),
    st.tuples(st.just("merge"), who, who, when),
    st.tuples(st.just("split"), st.integers(0, 9), when),
    st.tuples(st.just("identify"), who, when, st.just("web"), st.builds(lambda email: {"email": email}, st.sampled_from(ADDRESSES))),
    st.tuples(st.just("confirm"), st.sampled_from(ADDRESSES), when, late),
    st.tuples(st.just("order"), who, when, st.integers(1, 3)),
    st.tuples(
        st.just("decide"), st.sampled_from([b"a", b"b", b"u0", b"u1"]), when, st.sampled_from(["letters", "ads"]),
        st.sampled_from(["granted", "withdrawn"]), late,
    ),
    st.tuples(st.just("erase"), who, when),
)  # fmt: skip
stories = st.lists(st.tuples(st.booleans(), deeds), min_size=1, max_size=14)  # whether a transaction goes on
instants = st.tuples(st.integers(0, 35), st.integers(0, 35)).map(lambda at: Instant(at[0] * SECOND, at[1] * SECOND))


class Story(Teller):
    """Events of shops and what people decided; and from when on the rules above are in force."""

    def __init__(self, steps: list[tuple[bool, Any]], ruled_at: int) -> None:
        super().__init__(Past(2))
        self.past.log.now, self.past.log.step_us, self._orders = SECOND // 2, SECOND, 0
        for goes_on, (kind, *arguments) in steps:
            if kind in ("order", "confirm", "decide"):
                getattr(self, kind)(*arguments)
            else:
                self.play((kind, *arguments))
            if not goes_on:
                self.commit()
        self.commit()
        self.past.log.now = 40 * SECOND
        self.past.rulebook.committed([_activation(ruled_at)])
        self.past.history = self.past.history.of(self.past.rulebook.rules.keeping)

    def order(self, one: int, at: int, total: int) -> None:
        public = activity("shop", LATER, *own(one))
        self._event(one, at, events.TRACKED, public, events.Tracked(name="Order Completed", properties={"total": total}))

    def confirm(self, address: str, at: int, late: int) -> None:
        bound = hash_of(normalise("email", address), self.past.keys.lookup_key)
        self.decide(bound, at, "letters", "granted", late, confirmed=True)

    def decide(self, bound: bytes, at: int, purpose: str, outcome: Outcome, late: int, confirmed: bool = False) -> None:
        made = self.past.decisions.setdefault(bound, [])
        decision_id = derived_id(b"decision", bound + len(made).to_bytes(4))
        made.append(
            KnownDecision(
                request_id=str(len(made)), decision_id=decision_id, identifier_hash=bound, namespace="email", purpose=purpose,
                purpose_version=1, outcome=outcome, decided_at=at, recorded_at=at + late, confirmed=confirmed,
            )
        )  # fmt: skip

    def rules(self, choice: RulesChoice, known_at: int) -> Rules:
        rulebook = self.past.rulebook
        return rulebook.known_at(known_at) if choice == THEN else rulebook.rules if choice == "now" else SHIPPED_RULES

    @property
    def told_of(self) -> list[bytes]:
        return [one for one in CUSTOMERS[:3] if plain_refusal(self.past, one, AUDIT, now=False) is None]

    def confirmed(self, at: Instant) -> set[tuple[str, str]]:
        bound = {one: hash_of(normalise("email", one), self.past.keys.lookup_key) for one in ADDRESSES}
        return {
            ("email", one)
            for one in ADDRESSES
            if any(d.confirmed and _counts(d, at) for d in self.past.decisions.get(bound[one], []))
        }

    async def plain(self, customer: bytes, at: Instant, choice: RulesChoice = THEN) -> Answer:
        """By what, what: from a replay of the log, and what was decided."""
        _, counted = plain_events(self.past, customer, at.valid_at, at.known_at)
        if all(record.entry.type_id in events.TIMELESS_IDS for record in counted):
            return {}
        rules = self.rules(choice, at.known_at)
        held = await self.past.history.of(rules.keeping).fold(counted)
        clock = at.earlier
        record = golden_record({stream: one.state for stream, one in held.items()}, rules, self.confirmed(at), clock)
        found: Answer = {("trait", name): (trait.value, trait.event_id, trait.cut) for name, trait in record.traits.items()}
        found |= {("member", member): True for member in record.members}
        found |= {("identifier", value_hash): (linked.value,) for value_hash, linked in record.identifiers.items()}
        erased = any(
            isinstance(r.entry.public(), events.CustomerErased) and r.entry.stream == customer for r in self.past.log.records
        )
        redacted = erased or any(isinstance(r.entry.personal(self.past.keys.held.get(r.entry.stream)), Redacted) for r in counted)
        if redacted and rules.computed is not None:
            found = {what: told for what, told in found.items() if what[0] != "trait" or what[1] not in rules.computed.all}
        if erased:
            return found
        for bound in record.identifiers:
            for decision in self.past.decisions.get(bound, []):
                holds = found.get(("decided", decision.purpose))
                if _counts(decision, at) and (holds is None or _precedence(decision) > _precedence(holds)):
                    found["decided", decision.purpose] = decision
        return found | {("segment", name): True for name in _segments(record.traits, clock) if rules.segments and not redacted}


def _activation(at: int) -> Record:
    public = ProfileRulesActivated(
        request_id="r", activated_by="", reason="", version=2, document=to_json(RULES), expected=ProfileRulesDiffer()
    )
    entry = make_entry(PROFILE_RULES_ACTIVATED, RULES_STREAM, derived_id(b"rules"), at, public)
    return Record(partition_of(RULES_STREAM, PARTITIONS), 0, 1, at, entry)


def _counts(decision: KnownDecision, at: Instant) -> bool:
    """Taken by then, by a clock that may be ahead, and recorded by then."""
    return min(decision.decided_at, decision.recorded_at) <= at.valid_at and decision.recorded_at <= at.known_at


def _precedence(decision: KnownDecision) -> tuple[int, bool, bytes]:
    return decision.decided_at, decision.outcome != "granted", decision.decision_id


def _segments(traits: Any, clock: int) -> set[str]:
    held = {
        "frequent": "orders" in traits and traits["orders"].value >= 2,
        "silent": "since" in traits and clock - traits["since"].occurred_at > 7 * SECOND,
        "kielers": "city" in traits and traits["city"].value == "Kiel",
        "reached": "email" in traits and traits["email"].value == "a@shop.example",
    }
    return {name for name, is_in in held.items() if is_in}


def applied(changes: list[Change], answer: Answer) -> Answer:
    """What was there is what is said to have been there."""
    answer = dict(answer)
    for change in changes:
        what, old, new = _told(change)
        assert answer.get(what) == old or what == ("trait", "since")
        answer.pop(what, None)
        answer |= {} if new is None else {what: new}
    return answer


def _told(change: Change) -> tuple[tuple[str, Any], Any, Any]:
    match change:
        case TraitChange(old=old, new=new):
            return ("trait", change.name), old and (old.value, old.event_id, old.cut), new and (new.value, new.event_id, new.cut)
        case IdentifierChange(old=was, new=now):
            return ("identifier", change.value_hash), was and (was.value,), now and (now.value,)
        case MemberChange(joined=is_there):
            return ("member", change.customer), None if is_there else True, is_there or None
        case SegmentChange(entered=is_there):
            return ("segment", change.name), None if is_there else True, is_there or None
        case ConsentChange():
            return ("decided", change.purpose), change.old, change.new


def without_clocks(answer: Answer) -> Answer:
    return {what: told for what, told in answer.items() if what != ("trait", "since")}


def require_timed(change: Change) -> None:
    assert isinstance(change, TraitChange | SegmentChange)
    assert change.name in ("orders", "since", "frequent", "silent")


def require_real(story: Story, change: Change, old: Instant, new: Instant) -> None:
    """An event or a decision that one of the two instants has and the other hasn't; of time and rules what they can change."""
    match change.cause:
        case ByEvent(entry=entry, recorded_at=recorded_at):
            [record] = [one for one in story.past.log.records if one.entry.event_id == entry.event_id]
            timeless = entry.type_id in events.TIMELESS_IDS
            counted = [record.recorded_at <= at.known_at and (timeless or entry.occurred_at <= at.valid_at) for at in (old, new)]
            assert record.recorded_at == recorded_at
            assert counted == [change.cause.undone, not change.cause.undone]
        case ByDecision(decision=decision):
            assert decision in story.past.decisions[decision.identifier_hash]
            assert [_counts(decision, at) for at in (old, new)] == [change.cause.undone, not change.cause.undone]
        case ByTime():
            require_timed(change)
            assert change.cause.undone == (new.earlier < old.earlier)
        case ByRules():
            assert isinstance(change, TraitChange | SegmentChange)
        case None:
            raise AssertionError("nothing here is beyond a limit")
    if isinstance(change, TraitChange):
        assert (change.old is None) != (change.new is None) or _news(change), "a value that isn't of any event is no other one"
        assert len(change.counted) <= COUNTED_AT_MOST
        assert set(change.counted) <= {record.entry.event_id for record in story.past.log.records}


def _news(change: TraitChange) -> bool:
    of_events = any(one is not None and one.event_id != NO_EVENT for one in (change.old, change.new))
    return of_events and (change.old != change.new or change.old_verified != change.new_verified)


@given(stories, orders, when)
async def test_a_history_leads_through_every_answer_to_the_last(steps: list[Any], order: Order, asked_at: int) -> None:
    story = Story(steps, ruled_at=0)
    until = Instant(known_at=40 * SECOND) if order == "known" else Instant(asked_at + 20 * SECOND, 40 * SECOND)
    for customer in story.told_of:
        last = await story.plain(customer, until)
        if not last:
            continue
        told = await walked(story.past, customer, order, until, 1_000)
        assert told == await walked(story.past, customer, order, until, 2), "whatever the pages"
        assert applied([one.change for one in told], {}) == last
        for instant in {one.at for one in told} | {asked_at, asked_at + 1}:
            point = Instant(until.valid_at, instant) if order == "known" else Instant(instant, until.known_at)
            if point.earlier < until.earlier:
                by_then = applied([one.change for one in told if one.at <= instant], {})
                assert without_clocks(by_then) == without_clocks(await story.plain(customer, point))
        for one in told:
            before, then = (
                Instant(until.valid_at, at) if order == "known" else Instant(at, until.known_at) for at in (one.at - 1, one.at)
            )
            if isinstance(one.change.cause, ByTime):
                require_timed(one.change)  # clocks are read at the end, where no time has passed
            else:
                require_real(story, one.change, before, then)


MERGED: list[Any] = [
    (False, ("identify", 0, 2 * SECOND, "web", {})),
    (False, ("identify", 1, SECOND, "web", {})),
    (False, ("merge", 0, 1, SECOND)),
]


@example(MERGED, Instant(35 * SECOND, 5 * SECOND // 2), Instant(35 * SECOND, 35 * SECOND), 0, "now")
@given(stories, instants, instants, when, st.sampled_from([THEN, "now", 1]))
async def test_a_difference_of_two_points_is_told_with_its_causes(
    steps: list[Any], old: Instant, new: Instant, ruled_at: int, choice: RulesChoice
) -> None:
    story = Story(steps, ruled_at)
    for customer in story.told_of:
        before, after = await story.plain(customer, old, choice), await story.plain(customer, new, choice)
        if not (before or after):
            continue
        compared = await story.past.differences.between(customer, AUDIT, old, new, choice)
        assert applied(compared.difference.all, before) == after
        by_rules = [change for change in compared.difference.all if isinstance(change.cause, ByRules)]
        assert not by_rules or (choice == THEN and compared.old.rules.version != compared.new.rules.version)
        for consent in compared.difference.decided:
            taken = [one for one in (consent.old, consent.new) if one and _counts(one, old) != _counts(one, new)]
            assert not taken or isinstance(consent.cause, ByDecision)
        for change in compared.difference.all:
            require_real(story, change, old, new)


class _States:
    """As they are now."""

    def __init__(self, past: Past) -> None:
        self.load = past._states


@given(stories, st.integers(0, 38), st.integers(0, 38))
async def test_a_lapse_is_told_where_time_or_a_confirmation_changed_anything_and_is_what_was_known_then(
    steps: list[Any], since_s: int, through_s: int
) -> None:
    story = Story(steps, ruled_at=0)
    past = story.past
    since, through = sorted((since_s * SECOND, through_s * SECOND))
    told = {lapse.members[0]: lapse for lapse in (await past.lapses().between(CUSTOMERS, AUDIT, since, through)).lapses}
    erased = {r.entry.stream for r in past.log.records if isinstance(r.entry.public(), events.CustomerErased)}
    for customer in CUSTOMERS:
        members = {record.entry.stream for record in plain_events(past, customer, 2**62, 2**62)[1]}
        newest = max((record.recorded_at for record in past.log.records if record.entry.stream in members), default=0)
        if lapse := told.get(customer):
            assert since < lapse.changed_at <= through
            assert lapse.at == max(lapse.changed_at, newest + 1)
            assert not lapse.decision_id or any(
                lapse.decision_id == d.decision_id for made in past.decisions.values() for d in made
            )
            assert set(lapse.members) == members
            assert lapse.traits == values_of(await story.plain(customer, Instant(known_at=lapse.at), "now"))
        assert customer not in told or not erased & members
        if members and not erased & members and newest <= since:
            before, after = [without_clocks(await story.plain(customer, Instant(known_at=at), "now")) for at in (since, through)]
            if lapse is None and min(members, key=CUSTOMERS.index) == customer:
                assert values_of(before) == values_of(after)
            elif lapse is not None:
                assert values_of(after) == {name: value for name, value in lapse.traits.items() if name != "since"}


def values_of(answer: Answer) -> dict[str, Any]:
    return {name: told[0] for (kind, name), told in answer.items() if kind == "trait"}

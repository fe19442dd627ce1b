"""The law of a lake: its newest rows say of every customer what a read as known then says, whatever rules came into force meanwhile,
wherever it was interrupted; and it is told once."""

from typing import Any
from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from services.profile import instants as reading
from services.profile import new_rules as looking
from services.profile.app import Instant
from services.profile.changes import Because, Erased
from services.profile.choosing import THEN, RulesChoice
from services.profile.domain.rules import Rules
from services.profile.domain.rules_document import RulesDocument, read, to_json
from services.profile.domain.state import MAX_TRAITS
from services.profile.lapses import Lapse
from services.profile.new_rules import Place
from services.profile.sweep import Traits
from services.profile.tables.rulebook import RULES_STREAM
from shared.events.catalogue import make_entry
from shared.events.consent import PurposeDefined
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, ProfileRulesActivated, ProfileRulesDiffer
from shared.ids import derived_id
from shared.instants import SECOND
from tests.properties.past_store import AUDIT, SUPPORT, Past
from tests.properties.pasts import CUSTOMERS, Teller
from tests.properties.plain_replay import plain_refusal
from tests.properties.test_profile_changes import ADDRESSES, RULES, Story
from tests.properties.test_profile_limits import room_for_traits

ORDERS = "event.name == 'Order Completed'"
COUNTED = read(f"""{{"computed": {{"orders": {{"of": "{ORDERS}", "aggregate": "count"}}}}}}""")
FIRST = read("""{"traits": {"city": {"rule": "first"}}}""")
SHORT = read(f"""{{"computed": {{"orders": {{"of": "{ORDERS}", "aggregate": "count", "window": "2s"}}}}}}""")
LONG = read(f"""{{"computed": {{"orders": {{"of": "{ORDERS}", "aggregate": "count", "window": "20s"}}}}}}""")
SEGMENTED = read("""{"segments": {"kielers": {"when": "traits.city == 'Kiel'"}}}""")
OTHER = read("""{"segments": {"mailed": {"when": "has(traits.email)"}}}""")
who = st.sampled_from([0, 0, 1])  # mostly one, so that there is much of her
when = st.integers(1, 6).map(lambda seconds: seconds * SECOND)
documents = st.sampled_from([COUNTED, FIRST, SEGMENTED, OTHER, RULES, SHORT, SHORT, LONG, LONG])
activations = st.tuples(st.just("activate"), documents, st.sampled_from([0, 0, 1, 2]))
said = st.fixed_dictionaries({"city": st.sampled_from(["Kiel", "Ulm", None])}, optional={"email": st.sampled_from(ADDRESSES)})
deeds = st.one_of(
    st.tuples(st.just("order"), who, when, st.integers(1, 3)),
    activations,
    st.tuples(st.just("identify"), who, when, st.sampled_from(["app", "web"]), said),
    st.tuples(st.just("export")),
    st.tuples(st.just("merge"), who, who, when),
    st.one_of(
        st.tuples(st.just("split"), st.integers(0, 9), when),
        st.tuples(st.just("wait"), st.integers(1, 9)),
        st.tuples(st.just("confirm"), st.sampled_from(ADDRESSES), st.sampled_from([0, 0, 3, 12])),  # told of seconds later
        st.tuples(st.just("erase"), who, when),
    ),
)
BEGUN = [(False, ("order", one, SECOND, 1)) for one in (0, 1)]
steps = st.lists(st.tuples(st.booleans(), deeds), min_size=4, max_size=10).map(lambda rest: BEGUN + rest)


class Lake:
    """What an exporter keeps: rows by customer, instant and what made them, and where it is. Killed, it has all that came until then."""

    def __init__(self, past: Past, purpose: PurposeDefined) -> None:
        self.past, self.purpose = past, purpose
        self.rows: dict[tuple[bytes, int, str], tuple[frozenset[bytes], dict[str, Any]]] = {}
        self.positions: dict[int, int] = {}
        self.place: Place | None = None
        self.passed = 0

    async def export(self, killed_after: int | None = None) -> None:
        """It is killed after so many pages amid new rules, or goes to the end."""
        pages = self.past.changes().read(self.purpose, self.positions, self.place)
        amid = 0
        async for page in pages:
            for change in page.changes:
                if isinstance(change, Erased):
                    self.rows = {key: row for key, row in self.rows.items() if change.customer not in row[0]}
                elif isinstance(change, Because) and isinstance(change.told, Traits):
                    at, record = change.told.by.record.recorded_at, change.told.record
                    self.put(record.members, at, "log", {name: (trait.value, trait.cut) for name, trait in record.traits.items()})
            self.positions, self.place = page.next_positions, page.place
            amid += self.place is not None
            if amid == killed_after:
                await pages.aclose()
                return
        more, now = True, self.past.log.now
        while more:
            lapsed = await self.past.lapses().between(CUSTOMERS, self.purpose, self.passed, now)
            for lapse in lapsed.lapses:
                self.put(lapse.members, lapse.at, f"time {lapsed.through}", marked(lapse))
            self.passed, more = lapsed.through, lapsed.more

    def put(self, members: list[bytes], at: int, what: str, traits: dict[str, Any]) -> None:
        key = (members[0], at, what)
        assert key not in self.rows, "it is told once"
        self.rows[key] = frozenset(members), {name: value for name, value in traits.items() if self.purpose.may_see(name)}

    def newest(self, customer: bytes, at: int) -> dict[str, Any]:
        own = [(one, what, row) for (canonical, one, what), row in self.rows.items() if canonical == customer and one <= at]
        latest = max((one for one, _, _ in own), default=None)
        found = [row[1] for one, _, row in own if one == latest]
        assert all(values(one) == values(found[0]) for one in found)
        return found[0] if found else {}


class RuledStory(Story):
    """Rules come into force in it, and it is exported, now and then killed."""

    def __init__(self) -> None:
        Teller.__init__(self, Past(3))
        self.past.log.now, self.past.log.step_us, self._orders = SECOND // 2, SECOND, 0
        self.activated: list[tuple[int, RulesDocument]] = []

    async def tell(self, steps: list[tuple[bool, Any]], lake: Lake) -> None:
        for goes_on, (kind, *arguments) in steps:
            if kind == "export":
                self.commit()
                await lake.export()
            elif kind == "wait":
                self.past.log.now += arguments[0] * SECOND
            elif kind == "confirm":
                self.confirm(arguments[0], self.past.log.now + 1 - arguments[1] * SECOND, arguments[1] * SECOND)
            elif kind == "activate":
                self.activate(arguments[0])
                if arguments[1]:
                    await lake.export(arguments[1])
            elif kind == "order":
                self.order(*arguments)
            else:
                self.play((kind, *arguments))
            if not goes_on:
                self.commit()
        self.commit()
        self.past.log.now = max(self.past.log.now, 40 * SECOND)

    def activate(self, document: RulesDocument) -> None:
        self.commit()
        version = len(self.activated) + 2
        public = ProfileRulesActivated(
            request_id=str(version), activated_by="", reason="", version=version, document=to_json(document),
            expected=ProfileRulesDiffer(),
        )  # fmt: skip
        self.past.log.append([make_entry(PROFILE_RULES_ACTIVATED, RULES_STREAM, derived_id(b"r%d" % version), 1, public)])
        self.past.rulebook.committed(self.past.log.records[-1:])
        self.past.history = self.past.history.of(self.past.rulebook.rules.keeping)
        self.activated.append((self.past.log.now, document))

    def is_timeless_until(self, at: int) -> bool:
        return not any(one <= at and document in (RULES, SHORT, LONG) for one, document in self.activated)

    def rules(self, choice: RulesChoice, known_at: int) -> Rules:
        return self.past.rulebook.version(choice).rules if isinstance(choice, int) else super().rules(choice, known_at)

    async def told(
        self, customer: bytes, known_at: int, purpose: PurposeDefined, choice: RulesChoice = THEN
    ) -> dict[str, Any] | None:
        """What a read as known then says, of one who answered for herself then; None where it says nothing."""
        answer = await self.plain(customer, Instant(known_at=known_at), choice)
        members = sorted((name for kind, name in answer if kind == "member"), key=CUSTOMERS.index)
        if members[:1] != [customer] or any(plain_refusal(self.past, one, purpose, now=True) for one in members):
            return None
        traits = {name: (told[0], told[2]) for (kind, name), told in answer.items() if kind == "trait"}
        return {name: told for name, told in traits.items() if purpose.may_see(name)}


def marked(lapse: Lapse) -> dict[str, Any]:
    """Each value with whether it is cut."""
    return {name: (value, name in lapse.cut) for name, value in lapse.traits.items()}


def values(traits: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in traits.items() if name != "since"}


BOTH = (False, ("identify", 0, SECOND, "web", {"city": "Kiel", "email": ADDRESSES[0]}))


@example([BOTH, (False, ("activate", SEGMENTED, 0)), (False, ("activate", OTHER, 1))], AUDIT, 1, 1, 1, 1_000)
@given(
    steps,
    st.sampled_from([AUDIT, AUDIT, SUPPORT]),
    st.integers(1, 2),
    st.integers(1, 3),
    st.sampled_from([MAX_TRAITS, 1]),
    st.sampled_from([1_000, 2]),
)
async def test_the_newest_rows_say_what_a_read_as_known_then_says(
    steps: list[tuple[bool, Any]], purpose: PurposeDefined, page_streams: int, page_events: int, room: int, occurrences: int
) -> None:
    story = RuledStory()
    lake = Lake(story.past, purpose)
    with (
        room_for_traits(room),
        patch("services.profile.domain.computed.definitions.MAX_OCCURRENCES", occurrences),
        patch.object(looking, "PAGE_STREAMS", page_streams),
        patch.object(reading, "PAGE_EVENTS", page_events),
    ):
        await story.tell(steps, lake)
        await lake.export()
        now = story.past.log.now
        instants = {at for at, _ in story.activated} | {record.recorded_at for record in story.past.log.records}
        for customer in CUSTOMERS[:2]:
            told = {at for canonical, at, _ in lake.rows if canonical == customer}
            for at in told | {one for one in instants if story.is_timeless_until(one)} | {now}:
                expected = await story.told(customer, at, purpose)
                found = lake.newest(customer, at)
                assert expected is None or values(found) == values(expected)
                assert expected is None or found == expected or at not in told, "what a clock says is as of the row"
            for version, (at, _) in enumerate(story.activated, start=2):
                if (customer, at, "log") in lake.rows:
                    expected = await story.told(customer, at, purpose, version - 1)
                    assert expected is None or lake.newest(customer, at) != expected, "only those who have others by these rules"

"""A law of the ledger: what it holds in memory, commit by commit, is what a process that has just started reads from the log."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.identity.domain.rules_document import document_of, to_json
from services.identity.graph.rules import DEFAULT_RULES
from services.identity.tables import modelbook, rulebook
from shared.events import customer as events
from shared.events.catalogue import EventType, Public, make_entry
from shared.events.models import MODEL_ACTIVATED, MODEL_SETTLED, ModelActivated, ModelSettled
from shared.events.rules import RULES_ACTIVATED, RULES_SETTLED, RulesActivated, RulesDiffer, RulesSettled
from shared.log import Record

DOCUMENT = to_json(document_of(DEFAULT_RULES))
SAID: dict[str, Any] = {"request_id": "1", "activated_by": "test", "reason": "", "expected": RulesDiffer()}
COUNTS: dict[str, Any] = {"identifiers": 1, "merges": 0, "splits": 0, "links": 0, "unlinks": 0}
Happening = tuple[EventType, bytes, Public]


def activated(number: int) -> list[Happening]:
    return [
        (RULES_ACTIVATED, rulebook.RULES_STREAM, RulesActivated(version=number, document=DOCUMENT, **SAID)),
        (MODEL_ACTIVATED, modelbook.MODEL_STREAM, ModelActivated(number=number, model=str(number), document="{}", **SAID)),
    ]


def settled(number: int) -> list[Happening]:
    return [
        (RULES_SETTLED, rulebook.RULES_STREAM, RulesSettled(version=number, **COUNTS)),
        (MODEL_SETTLED, modelbook.MODEL_STREAM, ModelSettled(number=number, records=1)),
    ]


@st.composite
def commits(draw: st.DrawFn) -> list[list[Record]]:
    """Versions one after the other, some never settled; what else happens stands between them, in any number of commits."""
    happenings: list[Happening] = []
    for number in range(1, draw(st.integers(1, 4))):
        happenings += activated(number)
        if draw(st.booleans()):
            happenings.append((events.FOUNDED, bytes(16), events.CustomerFounded(founding_number=number)))
        if draw(st.booleans()):
            happenings += settled(number)
    made: list[list[Record]] = [[]]
    for pos, (kind, stream, public) in enumerate(happenings):
        if draw(st.booleans()):
            made.append([])
        made[-1].append(Record(0, pos, pos + 1, pos, make_entry(kind, stream, bytes(16), pos, public)))
    return made


@given(commits())
def test_what_is_in_force_commit_by_commit_is_what_the_log_says(made: list[list[Record]]) -> None:
    rules, model = rulebook.SHIPPED, modelbook.shipped()
    written: list[Record] = []
    for records in made:
        rules, model, written = rulebook.behind(rules, records), modelbook.behind(model, records), written + records
        about = {
            stream: [r for r in written if r.entry.stream == stream] for stream in (rulebook.RULES_STREAM, modelbook.MODEL_STREAM)
        }
        assert rules == rulebook.fold(about[rulebook.RULES_STREAM])[-1]
        assert model == modelbook.fold(about[modelbook.MODEL_STREAM])[-1]

"""Which changes a purpose is told of."""

from services.profile.api.change_messages import change_message, may_tell, withheld_messages
from services.profile.domain.diff import ByRules, ByTime, Change, ConsentChange, SegmentChange
from services.profile.domain.rules_document import read, rules_of
from services.profile.walking import Told
from shared.events.consent import PurposeDefined

RULES = rules_of(read("""{"segments": {"kielers": {"when": "traits.city == 'Kiel'"}}}"""), 2)
ENTERED = SegmentChange("kielers", True, frozenset({"city"}), ByTime(undone=False))
LETTERS = ConsentChange("letters", None, None, ByRules(2, undone=False))


def purpose(name: str, *traits: str) -> PurposeDefined:
    return PurposeDefined(request_id="", name=name, version=1, description="", legal_basis="contract", traits=traits)


def test_a_segment_is_told_to_who_may_see_all_that_it_looks_at() -> None:
    assert may_tell(ENTERED, purpose("maps", "city"))
    assert not may_tell(ENTERED, purpose("maps", "email"))


def test_a_decision_is_told_to_the_purpose_that_it_is_about_and_to_who_may_see_events() -> None:
    assert may_tell(LETTERS, purpose("letters"))
    assert may_tell(LETTERS, purpose("audit", "events"))
    assert not may_tell(LETTERS, purpose("ads", "email"))


def test_what_may_not_be_seen_is_withheld_whether_it_changed_or_not() -> None:
    both: list[Change] = [ENTERED, LETTERS]
    for changes in ([], both):
        found = withheld_messages(changes, [RULES], purpose("ads", "email"))
        assert [(one.field, one.reason) for one in found] == [("consent", "NOT_IN_PURPOSE"), ("segment:kielers", "NOT_IN_PURPOSE")]


def test_time_and_rules_are_causes_without_an_event() -> None:
    message = change_message(Told(5, ENTERED, (5, b"")), frozenset())
    assert (message.segment.entered, message.segment.cause.kind, message.segment.cause.event_id) == (True, "time", "")
    told = change_message(Told(5, LETTERS, (5, b"")), frozenset()).decided.cause
    assert (told.kind, told.rules_version) == ("rules", 2)

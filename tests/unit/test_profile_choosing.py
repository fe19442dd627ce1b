"""Rules by which it matters what the person has confirmed, and rules of then, of now, or of a version."""

from typing import Any, cast

import pytest

from services.profile.cache import LoadingCache
from services.profile.choosing import Chooser
from services.profile.domain.clocks import NOW, Instant
from services.profile.domain.decided import KnownDecision
from services.profile.domain.rules_document import read, rules_of
from services.profile.domain.state import Held
from services.profile.tables.rulebook import RULES_STREAM, Rulebook
from shared.errors import NotFound
from shared.events import customer as events
from shared.events.catalogue import Entry, make_entry
from shared.events.profile_rules import PROFILE_RULES_ACTIVATED, ProfileRulesActivated, ProfileRulesDiffer
from shared.identifiers import hash_of, normalise
from shared.ids import derived_id
from shared.instants import END_OF_TIME
from shared.log import Record
from tests.properties.histories import KEY, STREAMS, fold, founded
from tests.properties.people_read import LOOKUP_KEY, decision

VERIFIED_FIRST = rules_of(read('{"traits": {"email": {"verified_first": true}}}'), 2)


def told(at: int, **traits: Any) -> Entry:
    public = events.Activity(source="web", resolved_by=b"h" * 16, received_at=at)
    return make_entry(events.IDENTIFIED, STREAMS[0], derived_id(bytes([at])), at, public, events.Identified(traits=traits), KEY)


def chooser(*decisions: KnownDecision) -> Chooser:
    async def decided(hashes: Any) -> dict[bytes, list[KnownDecision]]:
        return {one: [d for d in decisions if d.identifier_hash == one] for one in hashes}

    return Chooser(Rulebook(cast(Any, None), 2), LoadingCache(decided, 0), LOOKUP_KEY, lambda: 100)


async def email(chooser: Chooser, history: list[Entry], by: Instant = NOW) -> str | None:
    held = {STREAMS[0]: Held(fold([founded(STREAMS[0]), *history], VERIFIED_FIRST.keeping))}
    record = (await chooser.records({b"customer": held}, VERIFIED_FIRST, by))[b"customer"]
    return record.traits["email"].value if "email" in record.traits else None


async def test_what_the_person_confirmed_comes_before_what_came_later_until_it_is_removed() -> None:
    confirmed = decision(hash_of(normalise("email", "ann@shop.example"), LOOKUP_KEY), "granted", 5, confirmed=True)
    history = [told(1, email="Ann@shop.example"), told(2, email="else@shop.example")]
    assert await email(chooser(), history) == "else@shop.example"
    assert await email(chooser(confirmed), history) == "Ann@shop.example", "as sent, since it is the same address"
    assert await email(chooser(confirmed), history, by=Instant(valid_at=4)) == "else@shop.example", "not confirmed by then"
    assert await email(chooser(confirmed), history, by=Instant(known_at=4)) == "else@shop.example", "not recorded by then"
    assert await email(chooser(confirmed), [*history, told(3, email=None)]) is None
    assert await email(chooser(confirmed), [*history, told(3, email=None), told(4, email="new@shop.example")]) == "new@shop.example"


def activated(version: int, document: str, recorded_at: int) -> Record:
    public = ProfileRulesActivated(
        request_id=str(version), version=version, document=document, activated_by="ops", reason="t", expected=ProfileRulesDiffer()
    )
    entry = make_entry(PROFILE_RULES_ACTIVATED, RULES_STREAM, derived_id(bytes([version])), recorded_at, public)
    return Record(0, version, version, recorded_at, entry)


def test_rules_are_those_of_the_instant_that_is_asked_for_or_of_now_or_a_version() -> None:
    rulebook = Rulebook(cast(Any, None), 2)
    rulebook.committed([activated(1, "{}", 10), activated(2, '{"default": {"rule": "first"}}', 20)])
    choosing = Chooser(rulebook, LoadingCache(cast(Any, None), 0), LOOKUP_KEY, lambda: 100)
    assert [choosing.rules("then", at).version for at in (5, 10, 19, 20, END_OF_TIME)] == [1, 1, 1, 2, 2]
    assert choosing.rules("now", 5).version == choosing.in_force.version == 2
    assert choosing.rules(1, END_OF_TIME).default.rule == "most_recent"
    for unknown in (0, 3):
        with pytest.raises(NotFound) as refused:
            choosing.rules(unknown, END_OF_TIME)
        assert refused.value.reason == "RULES_UNKNOWN"

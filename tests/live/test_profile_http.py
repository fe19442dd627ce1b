"""The HTTP Profile API on the real system: Segment's shape, who may read what, and nothing of a person where it doesn't belong."""

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from c360.common.v1.common_pb2 import CustomerRef, Identifier
from c360.consent.v1 import consent_pb2
from c360.identity.v1.identity_pb2 import PlaceLegalHoldRequest, ReleaseLegalHoldRequest
from c360.ingest.v1 import ingest_pb2 as ingest
from google.protobuf.struct_pb2 import Struct

from services.stack.stack import Stack
from shared.access_tokens import TokenLimits
from tests.e2e.client import DEADLINE_S, Platform, by_identifier, timestamp
from tests.live.command import Command
from tests.live.erasing import Person, erase, wait_completed
from tests.live.reading import Reader, address, fresh

NOW = datetime.now(UTC)
PAGE = (Path(__file__).parents[2] / "docs" / "profile-api.md").read_text()
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[Platform]:
    with Platform(stack.endpoints) as platform:
        yield platform


@pytest.fixture(scope="module")
def write_key(platform: Platform) -> str:
    return platform.register_source(f"shop-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Iterator[Reader]:
    with Reader(stack) as reader:
        yield reader


@pytest.fixture(scope="module")
def ask(reader: Reader) -> Ask:
    return reader.ask


def identify(user_id: str, at: datetime, anonymous_id: str = "", **traits: Any) -> ingest.Event:
    values = Struct()
    values.update(traits)
    return ingest.Event(
        type=ingest.EVENT_TYPE_IDENTIFY,
        user_id=user_id,
        anonymous_id=anonymous_id,
        traits=values,
        original_time=timestamp(at),
        message_id=str(uuid.uuid4()),
    )


def track(user_id: str, name: str, at: datetime, **properties: Any) -> ingest.Event:
    values = Struct()
    values.update(properties)
    return ingest.Event(
        type=ingest.EVENT_TYPE_TRACK,
        name=name,
        user_id=user_id,
        properties=values,
        original_time=timestamp(at),
        message_id=str(uuid.uuid4()),
    )


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def ada(platform: Platform, write_key: str) -> tuple[str, str]:
    """(user id, position)."""
    user = f"ada/ä+%?:{uuid.uuid4().hex[:8]}"
    happened = NOW - timedelta(days=2)
    first = identify(user, happened, f"device-{user}", email=f"{uuid.uuid4().hex}@example.com", first_name="Ada", plan="free")
    position = platform.record(write_key, first, identify(user, NOW - timedelta(hours=1), plan="paid", **filler())).position
    return user, fresh(position)


def filler() -> dict[str, str]:
    return {f"trait_{number:02}": "x" for number in range(12)}


def test_traits_are_as_segments_users_know_them_page_by_page(ask: Ask, ada: tuple[str, str]) -> None:
    user, position = ada
    answer = ask(f"user_id:{user}", "traits", at_least_as_fresh=position)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["cursor"]["limit"] == 20
    assert not body["cursor"]["has_more"]
    body = ask(f"user_id:{user}", "traits", limit=10).json()
    assert len(body["traits"]) == body["cursor"]["limit"] == 10
    assert body["cursor"]["has_more"]
    assert user not in body["cursor"]["url"]
    found = dict(body["traits"])
    while body["cursor"]["has_more"]:
        body = ask(f"user_id:{user}", "traits", limit=10, next=body["cursor"]["next"]).json()
        assert not body["traits"].keys() & found.keys()
        found |= body["traits"]
    assert {name: value for name, value in found.items() if not name.startswith("trait_")} == {
        "email": found["email"],
        "first_name": "Ada",
        "plan": "paid",
    }
    assert found == ask(f"user_id:{user}", "traits", limit=200).json()["traits"]
    assert ask(f"user_id:{user}", "traits", include="plan,nothing").json()["traits"] == {"plan": "paid"}


def test_the_cursors_address_is_of_the_next_page(reader: Reader, ask: Ask, ada: tuple[str, str]) -> None:
    user, position = ada
    cursor = ask(f"user_id:{user}", "traits", at_least_as_fresh=position, limit=1, verbose="true").json()["cursor"]
    answer = httpx.get(reader.url + cursor["url"], auth=(reader.tokens["audit"], ""), timeout=DEADLINE_S)
    [(name, trait)] = answer.json()["traits"].items()
    assert name == "first_name"
    assert trait.keys() == {"value", "source_id", "updated_at", "event_id", "verified", "cut"}
    assert answer.json()["cursor"]["limit"] == 1


def test_external_ids_say_where_each_came_from_and_when(ask: Ask, ada: tuple[str, str], write_key: str) -> None:
    user, position = ada
    body = ask(f"user_id:{user}", "external_ids", at_least_as_fresh=position).json()
    by_type = {item["type"]: item for item in body["data"]}
    assert by_type.keys() == {"anonymous_id", "email", "user_id"}
    assert by_type["user_id"]["id"] == user
    for item in body["data"]:
        assert (item["collection"], item["encoding"]) == ("users", "none")
        assert item["source_id"].startswith("shop-")
        assert datetime.fromisoformat(item["created_at"]) == (NOW - timedelta(days=2))
    pages = [ask(f"user_id:{user}", "external_ids", limit=2).json()]
    pages.append(ask(f"user_id:{user}", "external_ids", limit=2, next=pages[0]["cursor"]["next"]).json())
    assert [item["id"] for page in pages for item in page["data"]] == [item["id"] for item in body["data"]]
    assert [item["type"] for item in ask(f"user_id:{user}", "external_ids", include="email").json()["data"]] == ["email"]


def test_metadata_tell_of_the_first_and_the_last_event(ask: Ask, ada: tuple[str, str]) -> None:
    user, position = ada
    told = ask(f"user_id:{user}", "metadata", at_least_as_fresh=position).json()["metadata"]
    assert datetime.fromisoformat(told["created_at"]) == NOW - timedelta(days=2)
    assert datetime.fromisoformat(told["updated_at"]) == NOW - timedelta(hours=1)
    assert told["expires_at"] is None
    assert told["first_source_id"] == told["last_source_id"]
    assert told["first_message_id"] != told["last_message_id"]
    more = ask(f"user_id:{user}", "metadata", verbose="true").json()["metadata"]
    assert ask(more["customer_id"], "metadata").json()["metadata"] == told


@pytest.fixture(scope="module")
def active(platform: Platform, write_key: str) -> tuple[str, str]:
    """(user id, position) of somebody who did ten things, one a minute."""
    user = f"active-{uuid.uuid4().hex[:8]}"
    happened = [identify(user, ago(20), first_name="Ada", email=f"{user}@example.com")]
    happened += [track(user, "Viewed" if number % 2 else "Bought", ago(10 - number), number=number) for number in range(9)]
    return user, fresh(platform.record(write_key, *happened).position)


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item.get("event", item["type"]) + str(item.get("properties", {}).get("number", "")) for item in answer.json()["data"]]


ALL = ["identify", *(f"{'Viewed' if number % 2 else 'Bought'}{number}" for number in range(9))]


def test_events_are_read_page_by_page_from_either_end(ask: Ask, active: tuple[str, str]) -> None:
    user, position = active
    for sort, expected in (("desc", ALL[::-1]), ("asc", ALL)):
        first = ask(f"user_id:{user}", "events", at_least_as_fresh=position, limit=4, sort=sort)
        pages, cursor = names(first), first.json()["cursor"]
        while cursor["has_more"]:
            answer = ask(f"user_id:{user}", "events", limit=4, sort=sort, next=cursor["next"])
            pages, cursor = pages + names(answer), answer.json()["cursor"]
        assert pages == expected


def test_a_page_of_another_list_query_or_customer_is_refused(ask: Ask, active: tuple[str, str], ada: tuple[str, str]) -> None:
    user, position = active
    cursor = ask(f"user_id:{user}", "events", at_least_as_fresh=position, limit=4, sort="asc").json()["cursor"]
    asked = {"limit": 3, "next": cursor["next"]}
    assert names(ask(f"email:{user}@example.com", "events", sort="asc", **asked)) == ALL[4:7], "she is the same by another name"
    others = [
        ask(f"user_id:{user}", "events", sort="desc", **asked),
        ask(f"user_id:{user}", "events", sort="asc", include="Bought", **asked),
        ask(f"user_id:{user}", "external_ids", **asked),
        ask(f"user_id:{ada[0]}", "events", sort="asc", at_least_as_fresh=ada[1], **asked),
    ]
    assert [(one.status_code, one.json()["error"]["reason"]) for one in others] == [(400, "PAGE_TOKEN_INVALID")] * 4


def test_events_are_chosen_by_name_and_time(ask: Ask, active: tuple[str, str]) -> None:
    user, position = active
    asked = {"at_least_as_fresh": position, "sort": "asc", "limit": 100}
    person = f"user_id:{user}"
    assert names(ask(person, "events", include="Bought,identify", **asked)) == [name for name in ALL if name.startswith("B")]
    assert names(ask(person, "events", exclude="Bought", **asked)) == [name for name in ALL if not name.startswith("B")]
    start, end = ago(8).isoformat(), ago(5).isoformat()
    assert names(ask(person, "events", start=start, end=end, **asked)) == ALL[3:6]
    assert names(ask(person, "events", valid_at=end, **asked)) == ALL[:7]
    [event] = ask(person, "events", limit=1, include="Bought").json()["data"]
    assert event["type"] == "track"
    assert event["properties"] == {"number": 8}
    assert event["external_ids"] == [{"collection": "users", "type": "user_id", "id": user, "encoding": "none"}]
    assert datetime.fromisoformat(event["timestamp"]) == ago(2)


def test_a_purpose_that_may_not_see_events_sees_that_there_were_some(ask: Ask, active: tuple[str, str], platform: Platform) -> None:
    user, _ = active
    decided = platform.decide(Identifier(namespace="email", value=f"{user}@example.com"), "marketing", consent_pb2.OUTCOME_GRANTED)
    shown = ask(f"user_id:{user}", "events", "marketing", at_least_as_fresh=fresh(decided.position), limit=100).json()["data"]
    assert len(shown) == len(ALL)
    for event in shown:
        assert not event.keys() & {"event", "context"}
        assert not event.get("properties")
        assert not event["external_ids"]
    assert names(ask(f"user_id:{user}", "events", "marketing", include="Bought")) == [], "a filter tells nothing that is withheld"


def test_the_past_is_read_as_over_grpc(ask: Ask, ada: tuple[str, str]) -> None:
    user, position = ada
    yesterday = (NOW - timedelta(days=1)).isoformat()
    then = ask(f"user_id:{user}", "traits", at_least_as_fresh=position, valid_at=yesterday).json()["traits"]
    assert then == {"email": then["email"], "first_name": "Ada", "plan": "free"}
    assert ask(f"user_id:{user}", "traits", valid_at=yesterday, rules="now").json()["traits"] == then
    assert ask(f"user_id:{user}", "traits", version=1, valid_at=yesterday).json()["traits"].items() <= then.items()
    assert ask(f"user_id:{user}", "traits", version=99).json()["error"]["reason"] == "VERSION_UNKNOWN"
    no_rules = ask(f"user_id:{user}", "traits", rules=999)
    assert (no_rules.status_code, no_rules.json()["error"]["reason"]) == (404, "RULES_UNKNOWN")
    unknown = ask(f"user_id:{user}", "traits", known_at=yesterday)
    assert (unknown.status_code, unknown.json()["error"]["reason"]) == (404, "CUSTOMER_UNKNOWN")
    future = ask(f"user_id:{user}", "traits", valid_at=(NOW + timedelta(days=1)).isoformat())
    assert (future.status_code, future.json()["error"]["reason"]) == (400, "INSTANT_IN_FUTURE")


def test_an_answer_that_the_caller_has_is_not_sent_again(
    ask: Ask, ada: tuple[str, str], platform: Platform, write_key: str
) -> None:
    user, position = ada
    first = ask(f"user_id:{user}", "metadata", at_least_as_fresh=position)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (tag, f'"other", W/{tag}', "*"):
        same = ask(f"user_id:{user}", "metadata", headers={"if-none-match": known})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    newer = fresh(platform.record(write_key, identify(user, NOW, **filler())).position)
    changed = ask(f"user_id:{user}", "metadata", headers={"if-none-match": tag}, at_least_as_fresh=newer)
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)


def test_a_purpose_shows_what_it_may_and_a_refusal_has_the_rules_reason(ask: Ask, ada: tuple[str, str], platform: Platform) -> None:
    user, position = ada
    asked = {"at_least_as_fresh": position, "limit": 200, "verbose": "true"}
    body = ask(f"user_id:{user}", "traits", "service", **asked).json()
    assert not any(name.startswith("trait_") for name in body["traits"])
    assert {"field": "trait_00", "reason": "NOT_IN_PURPOSE"} in body["withheld"]
    refused = ask(f"user_id:{user}", "traits", "marketing")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["reason"]) == (403, "permission_error", "CONSENT_MISSING")
    assert refused.headers["cache-control"] == "no-store"
    email = Identifier(namespace="email", value=ask(f"user_id:{user}", "traits", limit=200).json()["traits"]["email"])
    decided = platform.decide(email, "marketing", consent_pb2.OUTCOME_GRANTED)
    granted = ask(f"user_id:{user}", "traits", "marketing", at_least_as_fresh=fresh(decided.position))
    assert granted.status_code == 200
    platform.decide(email, "marketing", consent_pb2.OUTCOME_WITHDRAWN)
    withdrawn = ask(f"user_id:{user}", "traits", "marketing", headers={"if-none-match": granted.headers["etag"]})
    assert (withdrawn.status_code, withdrawn.json()["error"]["reason"]) == (403, "CONSENT_WITHDRAWN")


def test_who_waits_to_be_erased_is_shown_to_nobody_and_who_was_is_gone(ask: Ask, platform: Platform, write_key: str) -> None:
    person = Person()
    position = fresh(person.live(platform, write_key))
    seen = ask(f"user_id:{person.user}", "metadata", at_least_as_fresh=position, verbose="true").json()["metadata"]
    assert len(seen["member_ids"]) > 1
    placed = PlaceLegalHoldRequest(
        request_id=person.run, customer=CustomerRef(identifier=person.email_identifier()), reason="litigation"
    )
    hold = platform.identity.PlaceLegalHold(placed, timeout=DEADLINE_S).hold
    erasure = erase(platform, person)
    now = fresh(platform.newest_position(write_key))
    restricted = ask(f"user_id:{person.user}", "traits", "service", at_least_as_fresh=now)
    assert (restricted.status_code, restricted.json()["error"]["reason"]) == (403, "HELD")
    assert ask(f"user_id:{person.user}", "traits").status_code == 200, "the law's own purpose may look"
    released = ReleaseLegalHoldRequest(request_id=str(uuid.uuid4()), hold_id=hold.hold_id)
    platform.identity.ReleaseLegalHold(released, timeout=DEADLINE_S)
    wait_completed(platform, erasure)
    gone = ask(seen["customer_id"], "traits", at_least_as_fresh=fresh(platform.newest_position(write_key)))
    assert (gone.status_code, gone.json()["error"]["code"], gone.json()["error"]["reason"]) == (410, "gone", "CUSTOMER_ERASED")
    assert ask(f"user_id:{person.user}", "traits").status_code == 404


@pytest.mark.parametrize("purpose", ["service", "audit"])
def test_both_doors_show_the_same(
    ask: Ask, ada: tuple[str, str], active: tuple[str, str], platform: Platform, purpose: str
) -> None:
    """Of whom they are asked, for the same purpose, now and then."""
    for user, position in (ada, active):
        person, caller = f"user_id:{user}", by_identifier("user_id", user)
        assert ask(person, "metadata", at_least_as_fresh=position).status_code == 200
        for then in (None, ago(5)):
            asked = {"valid_at": then.isoformat()} if then else {}
            profile = platform.get_profile(caller, purpose, valid_at=then)
            shown = ask(person, "traits", purpose, limit=200, verbose="true", **asked).json()
            assert {(name, trait["source_id"], trait["event_id"]) for name, trait in shown["traits"].items()} == {
                (name, trait.source, str(uuid.UUID(trait.event_id))) for name, trait in profile.traits.items()
            }
            assert [(one["field"], one["reason"]) for one in shown["withheld"]] == [
                (one.field, one.reason) for one in profile.withheld
            ]
            ids = ask(person, "external_ids", purpose, limit=100, **asked).json()["data"]
            assert {(one["type"], one["id"]) for one in ids} == {(one.namespace, one.value) for one in profile.identifiers}
            timeline = platform.get_timeline(caller, purpose, valid_at=then, kinds=("identified", "tracked"))
            events = ask(person, "events", purpose, limit=100, **asked).json()["data"]
            assert [event["message_id"] for event in events] == [entry.event_id for entry in timeline]
            assert [event.get("event", "") for event in events] == [entry.name for entry in timeline]


def test_without_a_token_for_this_space_nobody_reads_anything(reader: Reader, ada: tuple[str, str]) -> None:
    asked, token = reader.url + address(f"user_id:{ada[0]}", "traits"), reader.tokens["audit"]
    for auth in (None, ("", ""), ("", token), ("at_made-up", ""), (token[:-1], "")):
        answer = httpx.get(asked, auth=auth, timeout=DEADLINE_S)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "authentication_error")
        assert answer.headers["www-authenticate"].startswith("Basic ")
    elsewhere = httpx.get(asked.replace("/main/", "/other/"), auth=(token, ""), timeout=DEADLINE_S)
    assert (elsewhere.status_code, elsewhere.json()["error"]["reason"]) == (403, "SPACE_NOT_PERMITTED")
    bearer = {"authorization": f"Bearer {token}"}
    assert httpx.get(asked, headers=bearer, timeout=DEADLINE_S).status_code == 200
    name = f"short-{uuid.uuid4().hex[:8]}"
    short = reader.list.add(name, "main", "audit", os.urandom)
    assert httpx.get(asked, auth=(short, ""), timeout=DEADLINE_S).status_code == 200
    reader.list.revoke(name)
    assert httpx.get(asked, auth=(short, ""), timeout=DEADLINE_S).status_code == 401


def test_a_token_that_tries_out_users_is_stopped(reader: Reader) -> None:
    name, asked = f"trying-{uuid.uuid4().hex[:8]}", f"{reader.url}{address(f'user_id:nobody-{uuid.uuid4().hex}', 'traits')}"
    token = reader.list.add(name, "main", "audit", os.urandom, TokenLimits(misses_per_min=2))
    answers = [httpx.get(asked, auth=(token, ""), timeout=DEADLINE_S) for _ in range(3)]
    assert [one.status_code for one in answers] == [404, 404, 429]
    assert answers[2].json()["error"]["reason"] == "ENUMERATION_SUSPECTED"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30


@pytest.mark.parametrize(
    ("person", "part", "parameters", "status", "reason"),
    [
        ("user_id:nobody-at-all", "traits", {}, 404, "IDENTIFIER_UNKNOWN"),
        ("01890a5d-ac96-774b-bcce-b302099a8057", "traits", {}, 404, "CUSTOMER_UNKNOWN"),
        ("nobody", "traits", {}, 400, "CUSTOMER_ID_INVALID"),
        ("email:no-address", "traits", {}, 400, "IDENTIFIER_INVALID"),
        ("user_id:" + "x" * 2_000, "traits", {}, 400, "IDENTIFIER_INVALID"),
        ("user_id:x", "links", {}, 404, "PATH_UNKNOWN"),
        ("user_id:x", "traits", {"limit": "201"}, 400, "LIMIT_INVALID"),
        ("user_id:x", "traits", {"valid-at": "2026-01-01"}, 400, "PARAMETER_UNKNOWN"),
        ("user_id:x", "traits", {"valid_at": "yesterday"}, 400, "INSTANT_INVALID"),
        ("user_id:x", "traits", {"at_least_as_fresh": "ingest/0"}, 400, "POSITION_INVALID"),
        ("user_id:x", "traits", {"rules": "0"}, 400, "PARAMETER_INVALID"),
        ("user_id:x", "traits", {"version": "0"}, 400, "PARAMETER_INVALID"),
        ("user_id:x", "traits", {"version": "1", "known_at": "2026-01-01T00:00:00Z"}, 400, "INSTANT_AMBIGUOUS"),
        ("user_id:x", "traits", {"class": "audiences"}, 400, "PARAMETER_INVALID"),
        ("user_id:x", "traits", {"next": "x"}, 400, "PAGE_TOKEN_INVALID"),
        ("user_id:x", "events", {"start": "yesterday"}, 400, "INSTANT_INVALID"),
        ("user_id:x", "events", {"include": ",".join(map(str, range(201)))}, 400, "TOO_MANY_NAMES"),
    ],
)
def test_what_can_not_be_answered_says_why(
    ask: Ask, person: str, part: str, parameters: dict[str, str], status: int, reason: str
) -> None:
    answer = ask(person, part, **parameters)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (status, reason), answer.text
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]


def test_what_is_not_there_yet_is_503_and_when_to_come_again(ask: Ask, ada: tuple[str, str]) -> None:
    answer = ask(f"user_id:{ada[0]}", "traits", at_least_as_fresh="ingest/0/9000000000000000000")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "NOT_FRESH_ENOUGH")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_command_of_the_page_answers(reader: Reader, platform: Platform, write_key: str) -> None:
    """As it stands in docs/profile-api.md, but for the port, and for a person of its own."""
    command = PAGE.split("<!-- runnable")[1].split("```sh\n")[1].split("```")[0]
    user = f"ada-{uuid.uuid4().hex[:8]}"
    position = platform.record(write_key, identify(user, NOW, first_name="Ada")).position
    typed = command.replace("http://127.0.0.1:8081", reader.url).replace("user_id:ada", f"user_id:{user}")
    typed = typed.replace("?limit=2", f"?limit=2&at_least_as_fresh={fresh(position)}")
    environment = os.environ | {"TOKEN": reader.tokens["service"]}
    ran = subprocess.run(["sh", "-c", typed], env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    answer = json.loads(ran.stdout)
    assert answer["traits"] == {"first_name": "Ada"}
    shown = json.loads(PAGE.split("```json\n")[1].split("```")[0])
    assert answer.keys() == shown.keys()
    assert answer["cursor"].keys() == shown["cursor"].keys()


def test_nothing_of_a_person_is_in_logs_and_metrics(stack: Stack, ask: Ask, ada: tuple[str, str]) -> None:
    user, position = ada
    email = ask(f"user_id:{user}", "traits", at_least_as_fresh=position, include="email").json()["traits"]["email"]
    assert ask(f"email:{email}", "traits").status_code == 200
    for log in (stack.data_directory / "logs").glob("profile*"):
        assert email not in log.read_text()
        assert quote(email) not in log.read_text()
    metrics = httpx.get(stack.endpoints.metrics["profile"], timeout=DEADLINE_S).text
    assert 'c360_http_requests_total{path="traits",status="200"}' in metrics
    assert email not in metrics


def test_a_token_is_made_and_revoked_by_command(stack: Stack, ada: tuple[str, str]) -> None:
    c360, name = Command(stack.data_directory), f"desk-{uuid.uuid4().hex[:8]}"
    made = json.loads(c360.run("profile", "tokens", "add", name, "--purpose", "service", "--space", "north", "--json").stdout)
    asked = stack.endpoints.profile_http + address(f"user_id:{ada[0]}", "metadata").replace("/main/", "/north/")
    assert httpx.get(asked, auth=(made["token"], ""), timeout=DEADLINE_S).status_code == 200
    listed = {"name": name, "space": "north", "purpose": "service", "hint": made["token"][:9]}
    assert listed in json.loads(c360.run("profile", "tokens", "list", "--json").stdout)
    assert "TOKEN_EXISTS" in c360.run("profile", "tokens", "add", name, "--purpose", "audit", code=1).stderr
    c360.run("profile", "tokens", "revoke", name)
    assert httpx.get(asked, auth=(made["token"], ""), timeout=DEADLINE_S).status_code == 401
    assert "TOKEN_UNKNOWN" in c360.run("profile", "tokens", "revoke", name, code=1).stderr

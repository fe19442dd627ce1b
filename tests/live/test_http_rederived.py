"""What the HTTP door gave out, and what it refused, follows again from the log, whatever came after."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from services.profile.http.door import ProfileDoor, make_app
from services.profile.http.queries import rfc3339
from services.stack.stack import Stack
from shared.access_tokens import TokenFile
from shared.events import customer as events
from shared.events.catalogue import make_entry
from shared.ids import to_text
from shared.instants import SECOND, now_us
from tests.live.inside import Inside, founded, identified, merged, new_id, tracked
from tests.live.test_disclosures import rederived, who_read
from tests.live.test_profile_rules import activated, command
from tests.live.test_ready import EMAIL, Shown
from tests.live.test_segments import caught_up

RULES: Final = """{"computed": {"orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"},
                                "since": {"of": "event.name == 'Order Completed'", "aggregate": "time_since"}},
                   "segments": {"kiel": {"when": "traits.city == 'Kiel'"}, "hull": {"when": "traits.city == 'Hull'"}}}"""
OTHER_RULES: Final = RULES.replace("'Kiel'", "'Hull'")
# What is asked, and the names of the fields that are given out.
ASKED: Final = {
    "traits": ["city", "orders", "size", "since"],
    "traits?limit=2": ["city", "orders"],
    "traits?include=city,gone": ["city"],
    "traits?include=city,kiel,hull": ["city", "kiel"],
    "traits?class=audience&verbose=true": ["kiel"],
    "traits?class=computed_trait&verbose=true": ["orders", "since"],
    "traits?verbose=true&limit=3": ["city", "orders", "since"],
    "external_ids": ["identifier:email"],
    "external_ids?include=email&verbose=true&limit=1": ["identifier:email"],
    "external_ids?include=phone": [],
    "metadata": ["metadata"],
    "metadata?verbose=true": ["metadata"],
}


class Door:
    def __init__(self, shown: Shown, tokens: TokenFile, lookup_key: bytes) -> None:
        self.shown = shown
        parts = shown.inside.parts
        door = ProfileDoor(
            parts.profiles,
            parts.belongings,
            parts.timelines,
            parts.origins,
            parts.progress,
            tokens,
            lookup_key,
            shown.inside.disclosures.disclosed,
        )
        base = f"http://door/v1/spaces/main/collections/users/profiles/{to_text(shown.stream)}/"
        auth = (tokens.add("shop", "main", "news", os.urandom), "")
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(make_app(door, new_id)), base_url=base, auth=auth)

    async def ask(self, asked: str) -> Any:
        answer = await self.client.get(asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, asked: str) -> str:
        return str((await self.client.get(asked)).json()["error"]["reason"])

    async def last(self) -> tuple[bool, list[str]]:
        return await rederived(self.shown, (await who_read(self.shown))[0])


@pytest_asyncio.fixture(loop_scope="session")
async def door(servers: Stack, tmp_path: Path) -> AsyncIterator[Door]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    key = shown.keys[shown.stream]
    said = events.Activity(source="web", resolved_by=shown.hash, received_at=SECOND)
    named = make_entry(events.IDENTIFIED, shown.stream, new_id(), 2, said, events.Identified(traits={"size": 3}), key)
    await shown.inside.record([named, tracked(shown.stream, key, 3, "Order Completed")])
    await activated(shown.inside.parts, command(RULES))
    await caught_up(shown.inside.parts.keeper)
    door = Door(shown, TokenFile(tmp_path / "tokens.json"), shown.inside.vault.lookup_key)
    yield door
    await door.client.aclose()
    await shown.inside.close()


async def change_all(shown: Shown) -> None:
    """The profile, who is one with whom, the rules, the purpose, and what is permitted."""
    await shown.inside.record([identified(shown.stream, shown.keys[shown.stream], 5, city="Rome", email=EMAIL)])
    await shown.inside.record([founded(shown.other, 2), identified(shown.other, shown.keys[shown.other], 6, city="Hull")])
    await shown.inside.record(merged(shown.stream, shown.other, 2))
    await activated(shown.inside.parts, command(OTHER_RULES))
    await shown.purpose(2, "email")
    await shown.decide("withdrawn")


async def test_every_part_however_it_was_asked_for_follows_again(door: Door) -> None:
    for asked in ASKED:
        await door.ask(asked)
    await change_all(door.shown)
    found = (await who_read(door.shown))[::-1]
    assert [one.call for one in found] == [f"HTTP {asked.partition('?')[0]}" for asked in ASKED]
    for asked, one in zip(ASKED, found, strict=True):
        agrees, fields = await rederived(door.shown, one)
        assert (agrees, sorted(fields)) == (True, sorted(ASKED[asked])), asked


async def test_every_page_follows_again_and_so_does_the_past(door: Door) -> None:
    fields, asked = list[str](), "traits?limit=1"
    while asked:
        body = await door.ask(asked)
        fields += body["traits"]
        asked = f"http://door{body['cursor']['url']}" if body["cursor"]["has_more"] else ""
    await door.client.get("traits", params={"known_at": rfc3339(now_us())})
    await door.client.get("metadata", params={"valid_at": rfc3339(2), "verbose": "true"})
    await door.ask("metadata?version=2")
    await change_all(door.shown)
    found = (await who_read(door.shown))[::-1]
    told = [await rederived(door.shown, one) for one in found]
    assert all(agrees for agrees, _ in told)
    assert [name for _, names in told[: len(fields)] for name in names] == fields


@pytest.mark.parametrize("asked", ["traits", "external_ids", "metadata", "events"])
async def test_what_it_refused_follows_again(door: Door, asked: str) -> None:
    await door.shown.decide("withdrawn")
    assert await door.refused(asked) == "CONSENT_WITHDRAWN"
    await door.shown.decide("granted")
    assert await door.last() == (True, [])


async def test_what_was_not_given_out_so_is_told_to_differ(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the door had shown something else than follows from the log."""
    told: Callable[..., Any] = ProfileDoor._content

    async def other(*args: Any) -> Any:
        content = await told(*args)
        for as_told in (content.told, content.as_of_its_events):
            as_told["traits"]["city"] = "Bremen"
        return content

    monkeypatch.setattr(ProfileDoor, "_content", other)
    assert (await door.ask("traits"))["traits"]["city"] == "Bremen"
    assert await door.last() == (False, ["city", "orders", "since", "size"])


@pytest.mark.parametrize("part", ["metadata", "external_ids", "traits?verbose=true"])
async def test_an_answer_is_made_of_one_position_whatever_comes_while_it_is_made(
    door: Door, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    shown, made, last = door.shown, ProfileDoor._content, new_id()
    before = await door.ask(part)
    key, public = shown.keys[shown.stream], events.Activity(source="app", resolved_by=shown.hash, received_at=SECOND)
    names = make_entry(events.IDENTIFIED, shown.stream, last, 0, public, events.Identified(traits={"city": "Rome"}), key)
    linked_before = events.IdentifierLinked(namespace="email", value_hash=shown.hash, cause=last)
    link = make_entry(events.LINKED, shown.stream, new_id(), -5, linked_before, events.LinkedValue(value=EMAIL), key)
    later = make_entry(events.IDENTIFIED, shown.stream, new_id(), 9, public, events.Identified(traits={"size": 4}), key)

    async def meanwhile(*args: Any) -> Any:
        await shown.inside.record([names, link, later])
        return await made(*args)

    monkeypatch.setattr(ProfileDoor, "_content", meanwhile)
    assert await door.ask(part) == before
    monkeypatch.setattr(ProfileDoor, "_content", made)
    assert await door.ask(part) != before
    for one in await who_read(shown):
        assert (await rederived(shown, one))[0]

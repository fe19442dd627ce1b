"""What events amount to, on a real PostgreSQL: without a bound where that can be, and where it can't, every answer says so."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.profile.app import Instant
from services.profile.composition import Parts
from services.profile.http.door import ProfileDoor
from services.stack.stack import Stack
from shared.access_tokens import TokenFile
from shared.ids import to_text
from shared.instants import DAY, SECOND, now_us
from shared.vault import Vault
from tests.live.inside import cut_off, founded, merged, new_id, tracked
from tests.live.test_deliveries import empty, fed
from tests.live.test_deliveries import started as started  # noqa: PLC0414
from tests.live.test_deliveries import vault as vault  # noqa: PLC0414
from tests.live.test_log import pool as pool  # noqa: PLC0414
from tests.live.test_profile_rules import AUDIT, activated, command
from tests.unrecorded import unrecorded

ORDERS, OTHERS = 1_100, 200
CENTS = 0.1  # no float is: whoever adds them up one by one sees it
RULES = """{"computed": {
  "orders": {"of": "event.name == 'Order Completed'", "aggregate": "count"},
  "spent": {"of": "event.name == 'Order Completed'", "aggregate": "sum", "value": "double(event.properties.total)"},
  "lately": {"of": "event.name == 'Order Completed'", "aggregate": "count", "window": "30d"}},
 "segments": {"loyal": {"when": "computed.orders >= 1300"}, "busy": {"when": "computed.lately > 100"},
              "mad": {"when": "computed.lately - 1200 > 0"}, "gone": {"when": "computed.orders == 0"}}}"""
Customer = tuple[Parts, bytes, bytes, int]


@pytest.fixture
async def customer(started: Callable[[], Parts], servers: Stack, vault: Vault) -> AsyncIterator[Customer]:
    """Two who are one, of whom the one ordered more than is kept by id; and when the first order was."""
    await empty(servers)
    parts, one, other, first = started(), new_id(), new_id(), now_us() - DAY
    keys = await vault.create_keys([one, other], 1)
    streams = [other if number < OTHERS else one for number in range(ORDERS + OTHERS)]
    orders = [tracked(s, keys[s], first + number * SECOND, total=CENTS) for number, s in enumerate(streams)]
    await fed(parts, [founded(one, 0), founded(other, 1), *merged(one, other)])
    await activated(parts, command(RULES))
    await fed(parts, orders[::-1])  # each earlier than all that were there
    await parts.consent._apply([AUDIT], 1)
    yield parts, one, other, first
    await empty(servers)


async def values(parts: Parts, customer: bytes, instant: Instant = Instant()) -> dict[str, Any]:  # noqa: B008 - frozen
    record = (await parts.profiles.profile(customer, AUDIT, instant)).record
    return {name: (trait.value, trait.cut) for name, trait in record.traits.items()}


async def test_of_always_all_is_counted_now_then_and_apart(customer: Customer) -> None:
    parts, one, other, first = customer
    whole = {"orders": (ORDERS + OTHERS, False), "spent": (round((ORDERS + OTHERS) * CENTS, 1), False), "lately": (1_000, True)}
    assert await values(parts, one) == whole
    parts.held.clear()
    assert await values(parts, one) == whole, "as after a start"
    part = await values(parts, one, Instant(valid_at=first + (OTHERS + 1_000) * SECOND - 1))
    assert part == {"orders": (OTHERS + 1_000, False), "spent": (120.0, False), "lately": (1_000, True)}
    explained = await parts.explaining.trait(one, "orders", AUDIT, Instant(), "then")
    assert (explained.events, len(explained.assertions)) == (ORDERS + OTHERS, 1_000)
    await fed(parts, cut_off(one, other))
    assert (await values(parts, one))["orders"] == (ORDERS, False)
    assert await values(parts, other) == {"orders": (OTHERS, False), "spent": (20.0, False), "lately": (OTHERS, False)}


async def test_what_is_of_less_than_all_says_so_in_every_answer(customer: Customer, tmp_path: Path) -> None:
    parts, one, _, _ = customer
    belonging = await parts.belongings.of(one, AUDIT, Instant())
    assert (belonging.segments, belonging.cut) == (["busy", "loyal"], ["busy", "mad"])
    tokens = TokenFile(tmp_path / "tokens.json")
    token = tokens.add("auditor", "main", "audit", os.urandom)
    door = ProfileDoor(
        parts.profiles,
        parts.belongings,
        parts.timelines,
        parts.origins,
        parts.progress,
        tokens,
        b"key",
        unrecorded(),
    )
    base = f"http://door/v1/spaces/main/collections/users/profiles/{to_text(one)}/"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url=base, auth=(token, "")) as client:

        async def told(asked: str) -> Any:
            return (await client.get(asked)).json()

        assert (await told("traits"))["traits"].keys() == {"orders", "spent", "lately"}
        assert (await told("traits"))["cut"] == ["lately"]
        assert "cut" not in await told("traits?include=orders")
        audiences = await told("traits?class=audience")
        assert (audiences["traits"], audiences["cut"]) == ({"busy": True, "loyal": True}, ["busy", "mad"]), "as GetMembership says"
        assert (await told("traits?class=audience&include=mad"))["cut"] == (await told("traits?include=mad"))["cut"] == ["mad"]
        assert "cut" not in await told("traits?include=loyal,gone")
        first = await told("traits?class=audience&limit=1")
        last = await told(f"traits?class=audience&limit=1&next={first['cursor']['next']}")
        assert (first["cut"], last["cut"]) == (["busy", "mad"], ["mad"])
        assert (await told("traits?include=loyal,gone,orders"))["traits"] == {"loyal": True, "orders": ORDERS + OTHERS}
        assert (await told("traits?class=audience&verbose=true"))["cut"] == ["busy", "mad"]
        verbose = (await told("traits?class=audience&verbose=true"))["traits"]["busy"]
        assert (verbose["value"], verbose["source_id"], verbose["cut"]) == (True, "audience", True)
        assert (await told("metadata?verbose=true"))["metadata"]["cut"] == ["lately"]

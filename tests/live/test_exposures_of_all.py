"""What was given out after it was forbidden, of everybody: all that is told of each, and nothing else."""

from collections.abc import AsyncIterator
from random import Random
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import disclosure_pb2 as pb

from services.profile.domain.decided import KnownDecision
from services.profile.who_read import Wanted
from services.stack.stack import Stack
from shared.consent_overlays import valid_from
from shared.events.consent import EVERY_PURPOSE, KnownAge, PurposeDefined
from shared.ids import to_text
from shared.instants import now_us, to_timestamp, years_after
from shared.rpc.errors import reason_of
from tests.live.inside import Inside, new_id
from tests.live.test_disclosures import read
from tests.live.test_ready import Shown
from tests.live.test_simulated_policy import Life, everything


@pytest_asyncio.fixture(loop_scope="session")
async def shown(servers: Stack) -> AsyncIterator[Shown]:
    shown = Shown(await Inside.open(servers))
    await shown.begin()
    yield shown
    await shown.inside.close()


class LateLife(Life):
    """As life is, but many decisions are told late."""

    async def decide(self) -> None:
        outcome = self.random.choice(["granted", "withdrawn", "refused", "objected"])
        await self.shown.decide(outcome, decided_at=now_us() - self.random.randrange(500_000))  # type: ignore[arg-type]


async def reported(shown: Shown, **wanted: Any) -> tuple[list[pb.Exposure], pb.ReadSummary]:
    found, summary = list[pb.Exposure](), None
    async for response in shown.inside.disclosed.ReportExposures(pb.ReportExposuresRequest(**wanted)):
        assert summary is None, "the summary comes last"
        assert response.done_events <= response.total_events
        found += response.exposures
        summary = response.summary if response.HasField("summary") else None
    assert summary is not None
    return found, summary


async def of_customer(shown: Shown, stream: bytes) -> list[pb.Exposure]:
    found, token = list[pb.Exposure](), ""
    while True:
        request = pb.ListExposuresRequest(customer=CustomerRef(customer_id=to_text(stream)), page_size=5, page_token=token)
        page = await shown.inside.disclosed.ListExposures(request)
        found += page.exposures
        if not (token := page.next_page_token):
            return found


def named(found: list[pb.Exposure]) -> set[tuple[str, str]]:
    return {(one.disclosure.disclosure_id, one.decision_id) for one in found}


@pytest.mark.parametrize("seed", range(4))
async def test_the_report_of_everybody_is_what_is_told_of_each(shown: Shown, seed: int) -> None:
    life = LateLife(shown, Random(seed))
    await life.begin()
    for _ in range(80):
        await life.step()
    before = await everything(shown)
    found, summary = await reported(shown)
    each = [one for stream in (shown.stream, shown.other) for one in await of_customer(shown, stream)]
    assert named(found) == named(each)
    assert len(named(found)) == len(found) == summary.read_count
    assert sum(one.count for one in summary.reasons) == len(found)
    assert [one.disclosure.read_time.ToMicroseconds() for one in found] == sorted(
        one.disclosure.read_time.ToMicroseconds() for one in found
    )
    assert await everything(shown) == before, "nothing is written"


async def test_exposures_are_told_of_a_range_a_purpose_and_a_caller(shown: Shown) -> None:
    withdrawn_at = now_us()
    for caller in ("a", "b"):
        await read(shown, caller)
    await shown.decide("withdrawn", decided_at=withdrawn_at)
    every, summary = await reported(shown)
    assert [one.disclosure.caller for one in every] == ["a", "b"]
    assert (summary.read_count, summary.customer_count) == (2, 1)
    assert [(one.name, one.count) for one in summary.reasons] == [("withdrawn", 2)]
    later = every[1].disclosure.read_time
    for wanted, callers in (
        ({"since_time": later}, ["b"]),
        ({"until_time": later}, ["a"]),
        ({"caller": "a"}, ["a"]),
        ({"purpose": "news"}, ["a", "b"]),
        ({"purpose": "service"}, []),
        ({"until_time": to_timestamp(withdrawn_at)}, []),
    ):
        assert [one.disclosure.caller for one in (await reported(shown, **wanted))[0]] == callers


async def test_what_was_read_of_a_child_is_one_though_nobody_had_told_unless_that_was_wrong(shown: Shown) -> None:
    """Also what was read of who had granted it as a child, and was none any more."""
    granted_by = now_us()
    await define(shown, 2, "consent", minors_under=16)
    await read(shown, "a")
    for known_at, under in ((years_after(granted_by, -10), 1), (years_after(granted_by, -1), 16)):
        said = age_of(shown, known_at, under)
        await shown._tell(said)
        [exposure], summary = await reported(shown)
        assert (exposure.disclosure.caller, exposure.outcome) == ("a", "age_known")
        assert exposure.decision_id == to_text(said.decision_id)
        assert [(one.name, one.count) for one in summary.reasons] == [("age_known", 1)]
        assert named([exposure]) == named(await of_customer(shown, shown.stream))
        await shown._tell(age_of(shown, now_us(), 0, said))
        assert not (await reported(shown))[0]


async def test_a_read_is_judged_by_the_version_of_its_purpose_whatever_was_defined_since(shown: Shown) -> None:
    """What no longer asks for consent hides no exposure of when it did, and what asks more of later reads makes none of before."""
    await read(shown, "before")
    withdrawn_at = now_us()
    await read(shown, "exposed")
    await shown.decide("withdrawn", decided_at=withdrawn_at)
    await shown._tell(age_of(shown, years_after(withdrawn_at, -1), 16))
    asks: tuple[tuple[str, dict[str, int]], ...] = (("contract", {}), ("consent", {}), ("consent", {"minors_under": 18}))
    for version, (basis, more) in enumerate(asks, 2):
        await define(shown, version, basis, **more)
        if basis == "contract":
            assert await read(shown, "by contract") == ""
        [exposure], _ = await reported(shown)
        assert (exposure.disclosure.caller, exposure.disclosure.purpose_version) == ("exposed", "news@1")
        assert exposure.outcome == "withdrawn"
        assert named([exposure]) == named(await of_customer(shown, shown.stream))


async def define(shown: Shown, version: int, basis: str, **asks: Any) -> None:
    purpose = {"request_id": str(version), "name": "news", "version": version, "description": "", "legal_basis": basis}
    await shown._tell(msgspec.convert(purpose | {"traits": ("*",)} | asks, PurposeDefined))


def age_of(shown: Shown, at: int, under: int, wrong: KnownDecision | None = None) -> KnownDecision:
    age = KnownAge(under=under, at_least=max(under - 1, 0), by="desk", reason="letter")
    if wrong:
        age = msgspec.structs.replace(age, corrects=wrong.decision_id, holds_from=valid_from(wrong))
    return KnownDecision(
        request_id="a",
        decision_id=new_id(),
        identifier_hash=shown.hash,
        namespace="email",
        purpose=EVERY_PURPOSE,
        purpose_version=0,
        outcome="age_known" if under else "age_taken_back",
        decided_at=at,
        recorded_at=now_us(),
        age=age,
    )


async def test_two_reports_are_made_at_once_and_a_third_is_told_to_come_again(shown: Shown) -> None:
    await read(shown, "a")
    running = [shown.inside.disclosures.exposures.report(Wanted()) for _ in range(2)]
    for one in running:
        await anext(one)
    with pytest.raises(grpc.RpcError) as refused:
        await reported(shown)
    assert reason_of(refused.value) == "REPORTS_BUSY"
    for one in running:
        await one.aclose()
    await reported(shown)

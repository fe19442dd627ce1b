"""Sources over gRPC: several keys, revoked at once and everywhere; limits; settings that survive a restart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import httpx
import psycopg
import pytest
from c360.ingest.v1 import ingest_pb2, ingest_pb2_grpc, source_pb2_grpc
from c360.ingest.v1 import source_pb2 as pb

from services.ingest.news import RELOAD_S
from services.stack.stack import Stack
from shared import bus
from shared.bus import Follower
from shared.events.source import KEY_REVOKED
from shared.events.wire import SOURCE_STREAM, decode_unit
from shared.rpc.errors import reason_of
from tests.live.ingesting import Door, basic, track
from tests.waiting import eventually

END_WAITING = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'c360 seam ingest' AND wait_event_type = 'Lock'"""


@pytest.fixture(scope="module")
def doors(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Door]]:
    """Two ingest processes on the same servers."""
    folder = tmp_path_factory.mktemp("ingest")
    one, two = Door(servers, folder / "one"), Door(servers, folder / "two")
    yield one, two
    assert (one.stop(), two.stop()) == (0, 0), one.log.read_text() + two.log.read_text()


@pytest.fixture
def door(doors: tuple[Door, Door]) -> Door:
    return doors[0]


@pytest.fixture
def sources(door: Door) -> Iterator[Any]:
    with grpc.insecure_channel(door.grpc) as channel:
        yield source_pb2_grpc.SourceServiceStub(channel)


@pytest.fixture
def shop(door: Door) -> tuple[str, str]:
    """A new source: its name and its first key."""
    name = f"shop-{uuid4()}"
    return name, door.register(name).write_key


def send(door: Door, write_key: str, *events: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{door.http}/v1/batch", json={"batch": events or [track()]}, headers=basic(write_key), timeout=20)


def change(sources: Any, name: str, **changes: Any) -> pb.ChangeSettingsResponse:
    answer: pb.ChangeSettingsResponse = sources.ChangeSettings(
        pb.ChangeSettingsRequest(request_id=str(uuid4()), source=name, **changes), timeout=10
    )
    return answer


def test_a_revoked_key_is_refused_at_the_next_request_and_soon_in_every_process(
    doors: tuple[Door, Door], sources: Any, shop: tuple[str, str]
) -> None:
    one, two = doors
    name, first = shop
    second = sources.AddKey(pb.AddKeyRequest(request_id="r-2", source=name, name="mobile"), timeout=10).write_key
    assert [send(door, key).status_code for door in doors for key in (first, second)] == [200] * 4
    revoked = sources.RevokeKey(pb.RevokeKeyRequest(request_id="r-3", source=name, name="first"), timeout=10)
    assert send(one, first).status_code == 401
    eventually(lambda: send(two, first).status_code == 401, timeout_s=RELOAD_S)
    assert [send(door, second).status_code for door in doors] == [200, 200]
    again = sources.RevokeKey(pb.RevokeKeyRequest(request_id="r-4", source=name, name="first"), timeout=10)
    assert (again.position, again.revoked_before) == (revoked.position, True)
    keys = sources.ListKeys(pb.ListKeysRequest(source=name), timeout=10).keys
    assert [(key.name, key.HasField("revoke_time")) for key in keys] == [("first", True), ("mobile", False)]


def test_a_key_is_shown_once_and_its_name_is_its_own(sources: Any, shop: tuple[str, str]) -> None:
    request = pb.AddKeyRequest(request_id="r-2", source=shop[0], name="mobile")
    first, again = sources.AddKey(request, timeout=10), sources.AddKey(request, timeout=10)
    assert (len(first.write_key), again.write_key) == (46, "")
    assert first.position == again.position
    with pytest.raises(grpc.RpcError) as refused:
        sources.AddKey(pb.AddKeyRequest(request_id="r-3", source=shop[0], name="mobile"), timeout=10)
    assert reason_of(refused.value) == "KEY_EXISTS"


def test_a_type_that_a_source_may_not_send_is_rejected(door: Door, sources: Any, shop: tuple[str, str]) -> None:
    change(sources, shop[0], allowed_types=pb.AllowedTypes(types=["identify"]))
    results = send(door, shop[1], track(), {"type": "identify", "userId": "u", "traits": {}}).json()["results"]
    assert [result.get("reason") for result in results] == ["EVENT_TYPE_NOT_ALLOWED", None]


def test_a_source_that_sends_too_much_is_told_when_to_come_again(door: Door, sources: Any, shop: tuple[str, str]) -> None:
    change(sources, shop[0], events_per_s=1, max_batch_events=3)
    assert send(door, shop[1], track(), track(), track()).status_code == 200
    answer = send(door, shop[1], track(), track(), track())
    assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMITED")
    assert 1 <= int(answer.headers["retry-after"]) <= 3


def test_limits_of_size(door: Door, sources: Any, shop: tuple[str, str]) -> None:
    change(sources, shop[0], max_batch_events=1, max_event_bytes=1_000)
    too_long = send(door, shop[1], track(), track())
    assert (too_long.status_code, too_long.json()["code"]) == (400, "BATCH_TOO_LONG")
    [result] = send(door, shop[1], track(properties={"note": "x" * 1_000})).json()["results"]
    assert result["reason"] == "EVENT_TOO_LARGE"


def test_settings_change_by_what_is_said(sources: Any, shop: tuple[str, str]) -> None:
    change(sources, shop[0], region="de", trust_rank=900)
    source = change(sources, shop[0], far_past_s=60).source
    assert (source.settings.region, source.settings.trust_rank, source.settings.far_past_s) == ("DE", 900, 60)
    [described] = sources.DescribeSources(pb.DescribeSourcesRequest(name=shop[0]), timeout=10).sources
    assert described == source
    for changes in ({"region": "ZZ"}, {"trust_rank": 1_001}, {"allowed_types": pb.AllowedTypes(types=["buy"])}):
        with pytest.raises(grpc.RpcError) as refused:
            change(sources, shop[0], **changes)
        assert reason_of(refused.value) == "SETTINGS_INVALID"


def test_a_source_may_begin_with_settings(door: Door, sources: Any) -> None:
    name, types = f"shop-{uuid4()}", pb.AllowedTypes(types=["identify"])
    request = ingest_pb2.RegisterSourceRequest(
        request_id="r-1", name=name, settings=pb.InitialSettings(allowed_types=types, region="de", far_past_s=0)
    )
    with grpc.insecure_channel(door.grpc) as channel:
        ingest = ingest_pb2_grpc.IngestServiceStub(channel)
        write_key = ingest.RegisterSource(request, timeout=10).write_key
        request.settings.region = "fr"
        with pytest.raises(grpc.RpcError) as refused:
            ingest.RegisterSource(request, timeout=10)
    assert reason_of(refused.value) == "REQUEST_ID_REUSED"
    assert send(door, write_key, track()).json()["results"][0]["reason"] == "EVENT_TYPE_NOT_ALLOWED"
    [described] = sources.DescribeSources(pb.DescribeSourcesRequest(name=name), timeout=10).sources
    settings = described.settings
    assert (list(settings.allowed_types), settings.region, settings.far_past_s) == (["identify"], "DE", 0)
    assert settings.trust_rank == 500


async def test_every_change_is_an_event_that_others_can_follow(servers: Stack, sources: Any, shop: tuple[str, str]) -> None:
    position = sources.RevokeKey(pb.RevokeKeyRequest(request_id="r-9", source=shop[0], name="first"), timeout=10).position
    client = await bus.connect(servers.broker_url, "test")
    follower = Follower(client, SOURCE_STREAM, position.number)
    try:
        [entry] = decode_unit((await follower.take())[0].data).entries
    finally:
        await follower.close()
        await client.close()
    assert (entry.type_id, entry.public().source) == (KEY_REVOKED.id, shop[0])


def test_what_was_changed_outlives_a_restart(servers: Stack, sources: Any, shop: tuple[str, str], tmp_path: Any) -> None:
    name, first = shop
    change(sources, name, allowed_types=pb.AllowedTypes(types=["identify"]))
    sources.RevokeKey(pb.RevokeKeyRequest(request_id="r-3", source=name, name="first"), timeout=10)
    second = sources.AddKey(pb.AddKeyRequest(request_id="r-4", source=name, name="next"), timeout=10).write_key
    fresh = Door(servers, tmp_path / "log")
    try:
        assert send(fresh, first).status_code == 401
        assert send(fresh, second).json()["results"][0]["reason"] == "EVENT_TYPE_NOT_ALLOWED"
    finally:
        assert fresh.stop() == 0


def test_a_change_whose_session_the_server_ends_is_made_all_the_same(sources: Any, shop: tuple[str, str], servers: Stack) -> None:
    database = servers.admin_url.rsplit("/", 1)[0] + "/c360"
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as admin:
        holder.execute("SELECT FROM ingest.partition_heads FOR UPDATE")
        with ThreadPoolExecutor() as pool:
            changing = pool.submit(change, sources, shop[0], trust_rank=901)
            eventually(lambda: admin.execute(END_WAITING).rowcount > 0)
            holder.rollback()
            assert changing.result().source.settings.trust_rank == 901

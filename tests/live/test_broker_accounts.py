"""At the broker each service may do what it needs and nothing else; who has no account may do nothing."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.stack.broker_accounts import NEEDS
from services.stack.ports import SERVICES
from services.stack.stack import Stack
from shared import bus
from shared.config import Settings, read_settings
from tests.stacks import fresh_stack

TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.02
STREAMS: Final = ("INGEST", "SOURCE", "CUSTOMER", "PROFILE", "CONSENT", "CALLERS")
CALLS: Final = (
    "STREAM.INFO",
    "STREAM.CREATE",
    "STREAM.UPDATE",
    "STREAM.DELETE",
    "STREAM.PURGE",
    "STREAM.MSG.GET",
    "STREAM.MSG.DELETE",
    "STREAM.SNAPSHOT",
    "STREAM.RESTORE",
    "DIRECT.GET",
    "CONSUMER.CREATE",
    "CONSUMER.LIST",
)
TOLD: Final = (
    "c360.vault.destroyed",
    "c360.enforcement",
    *(f"c360.settle.{one}" for one in ("profile", "consent")),
    *(f"c360.erasure.{one}" for one in ("profile", "consent", "ingest")),
)
REFILLS: Final = tuple(f"c360.refill.{stream}" for stream in STREAMS)
EVERYTHING: Final = (">", "c360.>", "_INBOX.>", "$JS.>", "$SYS.>", "$JS.EVENT.ADVISORY.>")

# Written out anew: what follows from the code would follow it into a mistake.
PUBLISHES: Final[dict[str, set[str]]] = {
    "ingest": {"INGEST", "SOURCE", "c360.refill.SOURCE"},
    "identity": {"CUSTOMER", "c360.vault.destroyed", "c360.erasure.profile", "c360.erasure.consent", "c360.erasure.ingest"},
    "profile": {"PROFILE.0", "c360.enforcement", "c360.settle.profile", "c360.refill.CUSTOMER", "c360.refill.CONSENT"},
    "consent": {"CONSENT", "CALLERS", "c360.settle.consent", "c360.refill.CUSTOMER"},
}
HEARS: Final[dict[str, set[str]]] = {
    "ingest": {"c360.vault.destroyed", "c360.erasure.ingest", "c360.refill.SOURCE"},
    "identity": {"c360.vault.destroyed", "c360.refill.CUSTOMER"},
    "profile": {"c360.vault.destroyed", "c360.erasure.profile", "c360.settle.profile"},
    "consent": {"c360.enforcement", "c360.erasure.consent", "c360.settle.consent", "c360.refill.CONSENT"},
}
READS: Final[dict[str, set[str]]] = {
    "ingest": {"INGEST", "SOURCE", "CUSTOMER", "CALLERS"},
    "identity": {"INGEST", "CALLERS"},
    "profile": {"CUSTOMER", "CONSENT", "CALLERS"},
    "consent": {"CUSTOMER", "CALLERS"},
}
MAKES: Final[dict[str, set[str]]] = {
    "ingest": {"INGEST", "SOURCE"},
    "identity": {"CUSTOMER"},
    "profile": {"PROFILE"},
    "consent": {"CONSENT", "CALLERS"},
}
FURTHER: Final[dict[str, set[str]]] = {
    "ingest": {"STREAM.DELETE.SOURCE"},
    "identity": {"STREAM.DELETE.CUSTOMER", "STREAM.PURGE.INGEST", "STREAM.MSG.GET.INGEST"},
    "profile": {"STREAM.MSG.GET.PROFILE"},
    "consent": {"STREAM.DELETE.CONSENT"},
}

each_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def servers() -> Iterator[Stack]:
    """Of its own: streams are deleted here."""
    with fresh_stack(services=()) as stack:
        yield stack


@asynccontextmanager
async def refusals(url: str) -> AsyncIterator[tuple[Client, list[str]]]:
    refused: list[str] = []

    async def on_error(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(url, error_cb=on_error, allow_reconnect=False)
    try:
        yield client, refused
    finally:
        await client.close()


async def taken_of(
    servers: Stack, service: str, act: Callable[[Client, str], Awaitable[object]], tried: set[str], expected: set[str]
) -> set[str]:
    """What isn't refused. Refusals come when they come: those that are expected are waited for, and then one that was asked for last."""
    url = read_settings(Settings, servers.environment_of(service)).nats_url
    async with refusals(url) as (client, refused):
        for subject in sorted(tried):
            await act(client, subject)

        def left() -> set[str]:
            told = " ".join(refused)
            return {subject for subject in tried if f'"{subject.lower()}"' not in told}  # the client tells them in small letters

        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        while left() - expected and asyncio.get_running_loop().time() < deadline:
            await client.flush()
            await asyncio.sleep(POLL_S)
        await client.publish("the.last", b"")
        while '"the.last"' not in " ".join(refused) and asyncio.get_running_loop().time() < deadline:
            await client.flush()
            await asyncio.sleep(POLL_S)
        return left()


def may_call(service: str) -> set[str]:
    calls = {f"STREAM.INFO.{stream}" for stream in READS[service] | MAKES[service]}
    calls |= {f"STREAM.CREATE.{stream}" for stream in MAKES[service]}
    calls |= {f"CONSUMER.CREATE.{stream}" for stream in READS[service]}
    return {f"$JS.API.{call}" for call in calls | FURTHER[service]}


@each_service
async def test_it_publishes_where_it_has_to_and_nowhere_else(servers: Stack, service: str) -> None:
    calls = {f"$JS.API.{call}.{stream}" for call in CALLS for stream in STREAMS}
    listing = {"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.MSG.NEXT.PROFILE.any"}
    others = {f"_INBOX.{other}.any" for other in SERVICES} | {"$SYS.REQ.SERVER.PING", "anything"}
    tried = {*STREAMS, "PROFILE.0", *TOLD, *REFILLS, *calls, *listing, *others}
    expected = PUBLISHES[service] | may_call(service)
    assert await taken_of(servers, service, lambda client, subject: client.publish(subject, b""), tried, expected) == expected


@each_service
async def test_it_hears_what_is_said_to_it_and_its_own_answers(servers: Stack, service: str) -> None:
    inboxes = {f"_INBOX.{other}.any" for other in SERVICES}
    tried = {*STREAMS, "PROFILE.*", *TOLD, *REFILLS, *EVERYTHING, *inboxes}
    expected = HEARS[service] | {f"_INBOX.{service}.any"}
    assert await taken_of(servers, service, lambda client, subject: client.subscribe(subject), tried, expected) == expected


def test_who_has_no_account_or_not_its_password_gets_no_connection(servers: Stack) -> None:
    right = urlsplit(servers.broker_url)
    assert greeted(servers, {"user": right.username, "pass": right.password}) == b"PONG"
    for claim in (
        {},
        {"user": right.username},
        {"user": right.username, "pass": "wrong"},
        {"user": "nobody", "pass": right.password},
    ):
        assert greeted(servers, claim) == b"-ERR 'Authorization Violation'"


def greeted(servers: Stack, claim: dict[str, str | None]) -> bytes:
    """The broker's first word to who connects so."""
    address = urlsplit(servers.endpoints.nats)
    with (
        socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as connection,
        connection.makefile("rb") as read,
    ):
        assert read.readline().startswith(b"INFO")
        connection.sendall(f"CONNECT {json.dumps(claim | {'verbose': False})}\r\nPING\r\n".encode())
        return read.readline().strip()


async def test_a_question_is_answered_once_and_nobody_else_can_answer(servers: Stack) -> None:
    urls = {name: read_settings(Settings, servers.environment_of(name)).nats_url for name in SERVICES}
    profile, asked = await bus.connect(urls["profile"], "asks"), asyncio.Queue[Msg]()
    async with refusals(urls["consent"]) as (consent, refused), refusals(urls["ingest"]) as (other, refused_to_other):
        await consent.subscribe("c360.enforcement", cb=asked.put)
        await consent.flush()
        answering = asyncio.create_task(profile.request("c360.enforcement", b"question", timeout=20))
        question = await asked.get()
        await other.publish(question.reply, b"forged")
        await other.flush()
        await question.respond(b"answer")
        assert (await answering).data == b"answer"
        await question.respond(b"another")
        async with asyncio.timeout(TIMEOUT_S):
            while (len(refused), len(refused_to_other)) != (1, 1):
                await consent.flush()
                await asyncio.sleep(POLL_S)
    await profile.close()


def test_every_service_has_its_needs() -> None:
    assert set(NEEDS) == set(SERVICES)

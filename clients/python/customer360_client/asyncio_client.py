"""The client for asyncio."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from customer360_client.calls import Call, Judged, serialized
from customer360_client.checking import audience_batches
from customer360_client.credentials import OWNER, Answering, Options, Settings, Token, bearer, channel_credentials, channel_options
from customer360_client.errors import from_rpc_error
from customer360_client.messages import CustomerRef, Position, Profile, TimelineEntry
from customer360_client.plans import Plans
from customer360_client.protos.c360.profile.v1.profile_pb2 import WatchProfileRequest, WatchProfileResponse
from customer360_client.retrying import Attempts
from customer360_client.watching import METHOD as WATCH
from customer360_client.watching import Watching, ended

P = ParamSpec("P")
Answer = TypeVar("Answer")


def _called(
    plan: Callable[Concatenate[Plans, P], Call[Answer]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, Answer]]:
    @functools.wraps(plan)
    async def call(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return await self._made(plan(self._plans, *args, **kwargs))

    return call


class AsyncClient:
    """One for a whole event loop, made where that runs. Close it, or use it in `async with`. Its calls are those of `Client`, awaited."""

    get_profile = _called(Plans.get_profile)
    batch_get_profiles = _called(Plans.batch_get_profiles)
    lookup_customer = _called(Plans.lookup_customer)
    get_timeline = _called(Plans.get_timeline)
    explain_trait = _called(Plans.explain_trait)
    check = _called(Plans.check)
    check_batch = _called(Plans.check_batch)
    judge = _called(Plans.judge)
    record_decision = _called(Plans.record_decision)
    record_events = _called(Plans.record_events)

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._plans = Plans(self._settings)
        self._token = Token(self._settings, time.monotonic)
        self._channels: dict[tuple[str, Options], grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        while self._channels:
            await self._channels.popitem()[1].close()
        self._plans.profiles.cache.clear()

    @property
    def positions(self) -> list[Position]:
        """Where this client's writes stand: what another has to be told (`fresh`), to read them."""
        return self._plans.positions.newest()

    async def timeline(self, customer: CustomerRef, purpose: str, **how: Any) -> AsyncIterator[TimelineEntry]:
        """All of it, latest first, page by page as it is read; `how` as for `get_timeline`."""
        while True:
            page = await self.get_timeline(customer, purpose, **how)
            for entry in page.entries:
                yield entry
            if not page.next_page_token:
                return
            how["page_token"] = page.next_page_token

    async def filter_audience(
        self, customers: Iterable[CustomerRef], purpose: str, *, timeout_s: float | None = None
    ) -> AsyncIterator[tuple[CustomerRef, Judged]]:
        """Any number, each with whether they permit the purpose; judged a thousand at a time, when they are come to."""
        for batch in audience_batches(customers):
            for told in zip(batch, await self.judge(batch, purpose, timeout_s=timeout_s), strict=True):
                yield told

    async def watch(self, customer: CustomerRef, purpose: str, *, patience_s: float | None = None) -> AsyncIterator[Profile]:
        """The profile now, and whenever it changes, the newest each time; over breaks and restarts. It ends by an error only: NotPermitted
        once consent ends, WrongState once the customer is erased, or a break that lasts for `patience_s`. Close the iterator to end it."""
        request = WatchProfileRequest(customer=customer, purpose=purpose, at_least_as_fresh=self.positions)
        watching = Watching(request, self._settings.retries, patience_s, time.monotonic, random.random)
        while True:
            method = self._channel("profile", OWNER).unary_stream(WATCH, serialized, WatchProfileResponse.FromString)
            stream = method(watching.open(), metadata=bearer(await self._credential("profile")))
            try:
                async for response in stream:
                    watching.seen(response.profile)
                    yield response.profile
                error = ended()
            except grpc.RpcError as broken:
                error = from_rpc_error(broken)
            finally:
                stream.cancel()
            await asyncio.sleep(watching.after(error, self._token.renew))

    async def _made(self, call: Call[Answer]) -> Answer:
        if call.at_hand is not None:
            return call.at_hand
        attempts = Attempts(self._settings.retries, call.timeout_s, time.monotonic, random.random)
        while True:
            try:
                return call.finish(await self._once(call, attempts.left_s()))
            except grpc.RpcError as refused:
                error = call.told(from_rpc_error(refused))
            await asyncio.sleep(attempts.after(error, self._token.renew))

    async def _once(self, call: Call[Any], timeout_s: float) -> Any:
        channel = self._channel(call.service, call.answering)
        metadata = bearer(await self._credential(call.service))
        if call.streams:
            stream = channel.stream_stream(call.method, serialized, call.response.FromString)
            answers = [answer async for answer in stream(iter((call.request,)), timeout=timeout_s, metadata=metadata)]
            return answers[0]
        unary = channel.unary_unary(call.method, serialized, call.response.FromString)
        return await unary(call.request, timeout=timeout_s, metadata=metadata)

    async def _credential(self, service: str) -> str | None:
        if service == "ingest":
            return self._settings.write_key
        return await asyncio.to_thread(self._token.get) if self._token.waits else self._token.get()

    def _channel(self, service: str, answering: Answering) -> grpc.aio.Channel:
        address: str = getattr(self._settings.addresses, service)
        key = address, channel_options(address, answering)
        if (channel := self._channels.get(key)) is None:
            channel = self._channels[key] = self._opened(*key)
        return channel

    def _opened(self, address: str, options: Options) -> grpc.aio.Channel:
        if credentials := channel_credentials(self._settings, address):
            return grpc.aio.secure_channel(address, credentials, options=options)
        return grpc.aio.insecure_channel(address, options=options)

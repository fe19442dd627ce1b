"""The client for threads."""

from __future__ import annotations

import functools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

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


def _called(plan: Callable[Concatenate[Plans, P], Call[Answer]]) -> Callable[Concatenate[Client, P], Answer]:
    @functools.wraps(plan)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        return self._made(plan(self._plans, *args, **kwargs))

    return call


class Client:
    """One for a whole program: it may be used by many threads at once. Close it, or use it in `with`."""

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
        self._channels: dict[tuple[str, Options], grpc.Channel] = {}
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._turn:
            while self._channels:
                self._channels.popitem()[1].close()
        self._plans.profiles.cache.clear()

    @property
    def positions(self) -> list[Position]:
        """Where this client's writes stand: what another has to be told (`fresh`), to read them."""
        return self._plans.positions.newest()

    def timeline(self, customer: CustomerRef, purpose: str, **how: Any) -> Iterator[TimelineEntry]:
        """All of it, latest first, page by page as it is read; `how` as for `get_timeline`."""
        while True:
            page = self.get_timeline(customer, purpose, **how)
            yield from page.entries
            if not page.next_page_token:
                return
            how["page_token"] = page.next_page_token

    def filter_audience(
        self, customers: Iterable[CustomerRef], purpose: str, *, timeout_s: float | None = None
    ) -> Iterator[tuple[CustomerRef, Judged]]:
        """Any number, each with whether they permit the purpose; judged a thousand at a time, when they are come to."""
        for batch in audience_batches(customers):
            yield from zip(batch, self.judge(batch, purpose, timeout_s=timeout_s), strict=True)

    def watch(self, customer: CustomerRef, purpose: str, *, patience_s: float | None = None) -> Iterator[Profile]:
        """The profile now, and whenever it changes, the newest each time; over breaks and restarts. It ends by an error only: NotPermitted
        once consent ends, WrongState once the customer is erased, or a break that lasts for `patience_s`. Close the iterator to end it."""
        request = WatchProfileRequest(customer=customer, purpose=purpose, at_least_as_fresh=self.positions)
        watching = Watching(request, self._settings.retries, patience_s, time.monotonic, random.random)
        while True:
            method = self._channel("profile", OWNER).unary_stream(WATCH, serialized, WatchProfileResponse.FromString)
            stream = method(watching.open(), metadata=bearer(self._token.get()))
            try:
                for response in stream:
                    watching.seen(response.profile)
                    yield response.profile
                error = ended()
            except grpc.RpcError as broken:
                error = from_rpc_error(broken)
            finally:
                stream.cancel()
            time.sleep(watching.after(error, self._token.renew))

    def _made(self, call: Call[Answer]) -> Answer:
        if call.at_hand is not None:
            return call.at_hand
        attempts = Attempts(self._settings.retries, call.timeout_s, time.monotonic, random.random)
        while True:
            try:
                return call.finish(self._once(call, attempts.left_s()))
            except grpc.RpcError as refused:
                error = call.told(from_rpc_error(refused))
            time.sleep(attempts.after(error, self._token.renew))

    def _once(self, call: Call[Any], timeout_s: float) -> Any:
        channel = self._channel(call.service, call.answering)
        metadata = bearer(self._settings.write_key if call.service == "ingest" else self._token.get())
        if call.streams:
            stream = channel.stream_stream(call.method, serialized, call.response.FromString)
            answers = list(stream(iter((call.request,)), timeout=timeout_s, metadata=metadata))
            return answers[0]
        unary = channel.unary_unary(call.method, serialized, call.response.FromString)
        return unary(call.request, timeout=timeout_s, metadata=metadata)

    def _channel(self, service: str, answering: Answering) -> grpc.Channel:
        with self._turn:
            address: str = getattr(self._settings.addresses, service)
            key = address, channel_options(address, answering)
            if (channel := self._channels.get(key)) is None:
                channel = self._channels[key] = self._opened(*key)
            return channel

    def _opened(self, address: str, options: Options) -> grpc.Channel:
        if credentials := channel_credentials(self._settings, address):
            return grpc.secure_channel(address, credentials, options=options)
        return grpc.insecure_channel(address, options=options)

"""Profiles, and those that are at hand. One at hand is told only where profile says that it is still the answer, and permitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from customer360_client.caching import Cache, Kept
from customer360_client.calls import Call
from customer360_client.errors import ClientError, Failed, LimitExceeded, OutOfTime, Unavailable, from_refusal
from customer360_client.messages import CustomerRef, Profile
from customer360_client.protos.c360.profile.v1.profile_pb2 import (
    BatchGetProfilesRequest,
    BatchGetProfilesResponse,
    GetProfileRequest,
    GetProfileResponse,
    ProfileResult,
)

# These say nothing of whether the person still permits it; after all others what is at hand is dropped.
UNDECIDED: Final = (Failed, LimitExceeded, OutOfTime, Unavailable)
Key = tuple[bytes, ...]


class Profiles:
    def __init__(self, cache: Cache, age_s: float, clock: Callable[[], float]) -> None:
        self.cache = cache
        self._age_s = age_s
        self._clock = clock

    def one(self, method: str, request: GetProfileRequest, timeout_s: float) -> Call[Profile]:
        if request.HasField("valid_at") or request.HasField("known_at"):  # of the past; its tags aren't those of now
            return Call("profile", method, request, GetProfileResponse, lambda response: response.profile, timeout_s)
        key = _key(request.customer, request)
        kept = self.cache.find(key)
        request.unless_etag = kept.tag if kept else ""
        finish = self._finishing(key, kept)

        def refused(error: ClientError) -> None:
            self._refused(key, error)

        return Call("profile", method, request, GetProfileResponse, finish, timeout_s, refused)

    def several(self, method: str, request: BatchGetProfilesRequest, timeout_s: float) -> Call[list[Profile | ClientError]]:
        finishing = []
        keys = [_key(query.customer, request) for query in request.queries]
        for key, query in zip(keys, request.queries, strict=True):
            kept = self.cache.find(key)
            query.unless_etag = kept.tag if kept else ""
            finishing.append(self._finishing(key, kept))

        def finish(response: BatchGetProfilesResponse) -> list[Profile | ClientError]:
            told: list[Profile | ClientError] = []
            for key, finish_one, result in zip(keys, finishing, response.results, strict=True):
                told.append(self._refused(key, from_refusal(result.refusal)) if result.HasField("refusal") else finish_one(result))
            return told

        def refused(error: ClientError) -> None:
            for key in keys:
                self._refused(key, error)

        return Call("profile", method, request, BatchGetProfilesResponse, finish, timeout_s, refused)

    def _finishing(self, key: Key, kept: Kept | None) -> Callable[[GetProfileResponse | ProfileResult], Profile]:
        epoch = self.cache.epoch

        def finish(response: GetProfileResponse | ProfileResult) -> Profile:
            content = kept.content if kept and response.not_modified else response.profile.SerializeToString()
            self.cache.keep(key, Kept(response.etag, content, self._clock() + self._age_s), epoch)
            return Profile.FromString(content)  # its own to the caller, who may change it

        return finish

    def _refused(self, key: Key, error: ClientError) -> ClientError:
        if not isinstance(error, UNDECIDED):
            self.cache.drop(key)
        return error


def _key(customer: CustomerRef, request: GetProfileRequest | BatchGetProfilesRequest) -> Key:
    fields = sorted(set(request.read_mask.paths))
    return (request.purpose.encode(), customer.SerializeToString(deterministic=True), "\0".join(fields).encode())

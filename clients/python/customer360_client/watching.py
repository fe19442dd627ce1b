"""A watch that outlasts breaks: it goes on behind the profile that was told last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import grpc

from customer360_client.errors import ClientError, make_error
from customer360_client.messages import Profile
from customer360_client.protos.c360.profile.v1.profile_pb2 import WatchProfileRequest
from customer360_client.retrying import Retries

METHOD: Final = "/c360.profile.v1.ProfileService/WatchProfile"
# The watcher took nothing for a while, or the service runs as many as it can; both pass.
RESUMED: Final = ("WATCH_TOO_SLOW", "WATCHES_BUSY")
STEADY_S: Final = 10.0  # a stream that lasted so long wasn't refused: breaks before it are forgotten


class Watching:
    """`patience_s` is how long it tries in vain, one break after the other; None: for ever."""

    def __init__(
        self,
        request: WatchProfileRequest,
        retries: Retries,
        patience_s: float | None,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._request = request
        self._retries = retries
        self._patience_s = patience_s
        self._clock = clock
        self._chance = chance
        self._opened_at = clock()
        self._breaks = 0
        self._renewed = False
        self._in_vain_since = clock()

    def open(self) -> WatchProfileRequest:
        self._opened_at = self._clock()
        return self._request

    def seen(self, profile: Profile) -> None:
        del self._request.resume_after[:]
        self._request.resume_after.extend(profile.positions)
        del self._request.at_least_as_fresh[:]  # it is included
        self._steady()

    def after(self, error: ClientError, renew: Callable[[], bool]) -> float:
        """How long to wait before it goes on. Raises the error where it doesn't. `renew` is as for other calls: a watch outlasts
        tokens, which end it."""
        if self._clock() - self._opened_at >= STEADY_S:
            self._steady()
        self._breaks += 1
        if error.code is grpc.StatusCode.UNAUTHENTICATED and not self._renewed and renew():
            self._renewed = True
            return 0.0
        left_s = float("inf") if self._patience_s is None else self._in_vain_since + self._patience_s - self._clock()
        if error.reason in RESUMED and error.retry_after_s is None:
            error.retry_after_s = 0.0
        pause = self._retries.pause_s(self._breaks, error, left_s, self._chance())
        if pause is None:
            raise error
        return pause

    def _steady(self) -> None:
        self._breaks = 0
        self._renewed = False
        self._in_vain_since = self._clock()


def ended() -> ClientError:
    """A watch has no end of its own: somebody in between ended it."""
    return make_error(grpc.StatusCode.UNAVAILABLE, "the stream ended")

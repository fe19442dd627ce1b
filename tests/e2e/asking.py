"""Somebody who reads a profile again and again, and makes a call anew that a stopping service didn't take, as every caller is told to."""

import threading
import time

import grpc
from c360.common.v1.common_pb2 import CustomerRef
from c360.profile.v1 import profile_pb2

from services.stack.ports import Endpoints
from shared.rpc.errors import reason_of
from tests.e2e.client import DEADLINE_S, Platform

PAUSE_S = 0.05
PURPOSE = "audit"
NOT_TAKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # by the core, of what came as it closed


class Asking:
    """A thread of its own. The customer has to be known."""

    def __init__(self, endpoints: Endpoints, customer: CustomerRef) -> None:
        self.answered = 0
        self.longest_s = 0.0  # for which no call was answered
        self.refusals: list[str] = []  # whatever is neither of NOT_TAKEN
        self._request = profile_pb2.GetProfileRequest(customer=customer, purpose=PURPOSE)
        self._platform = Platform(endpoints)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        self._stop.set()
        self._thread.join()
        self._platform.__exit__()

    def _run(self) -> None:
        answered_at = time.monotonic()
        while not self._stop.wait(PAUSE_S):
            asked_at = time.monotonic()
            try:
                self._platform.profile.GetProfile(self._request, timeout=DEADLINE_S)
            except grpc.RpcError as error:
                if error.code() not in NOT_TAKEN:
                    self.refusals.append(f"{error.code().name} {reason_of(error)} after {time.monotonic() - asked_at:.1f} s")
                continue
            now = time.monotonic()
            self.answered, self.longest_s = self.answered + 1, max(self.longest_s, now - answered_at)
            answered_at = now

"""A person who keeps changing her mind about marketing, and a reader that looks right after each answer.

Whatever is killed: an answered decision is in the ledger once, and from its answer on no read contradicts it.
"""

import threading
import uuid
from functools import partial

import grpc
from c360.common.v1.common_pb2 import Identifier
from c360.consent.v1 import consent_pb2

from services.stack.ports import Endpoints
from shared.rpc.errors import reason_of
from tests.e2e.client import TRY_AGAIN, Platform, by_identifier
from tests.e2e.traffic import retrying

PURPOSE = "marketing"
READ_TIMEOUT_S = 2.0
VERDICTS = {consent_pb2.OUTCOME_GRANTED: "permitted", consent_pb2.OUTCOME_WITHDRAWN: "CONSENT_WITHDRAWN"}


class Decider:
    """A thread of its own. `identifier` has to belong to a customer that profile knows."""

    def __init__(self, endpoints: Endpoints, identifier: Identifier, pause_s: float = 0.2) -> None:
        self.answered: list[str] = []  # decision ids
        self.contradictions: list[str] = []
        self.confirmed = 0  # reads that agreed
        self.failure: BaseException | None = None
        self._platform = Platform(endpoints)
        self._identifier = identifier
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Raises what went wrong."""
        self._stop.set()
        self._thread.join(patience_s)
        self._give_up.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def problems(self) -> list[str]:
        """What does not hold, now that everything runs again."""
        with self._platform as platform:
            request = consent_pb2.ListDecisionsRequest(identifier=self._identifier)
            listed = [decision.decision_id for decision in platform.consent.ListDecisions(request, wait_for_ready=True).decisions]
        lost = [decision for decision in self.answered if decision not in listed]
        doubled = len(listed) - len(set(listed))
        return [
            *self.contradictions,
            *([f"{len(lost)} answered decisions are lost"] if lost else ()),
            *([f"{doubled} decisions are there twice"] if doubled else ()),
        ]

    def _run(self) -> None:
        outcomes = (consent_pb2.OUTCOME_GRANTED, consent_pb2.OUTCOME_WITHDRAWN)
        try:
            while not self._stop.wait(self._pause_s):
                outcome = outcomes[len(self.answered) % 2]
                decision = retrying(partial(self._decide, outcome, str(uuid.uuid4())), self._give_up)
                if decision is not None:
                    self.answered.append(decision)
                    self._look(outcome)
        except BaseException as error:
            self.failure = error

    def _decide(self, outcome: consent_pb2.Outcome.ValueType, request_id: str) -> str | None:
        try:
            return self._platform.decide(self._identifier, PURPOSE, outcome, request_id).decision_id
        except grpc.RpcError as error:
            if error.code() in TRY_AGAIN:
                return None
            raise

    def _look(self, outcome: consent_pb2.Outcome.ValueType) -> None:
        """The first read that gets through; one that is told to try again was shown nothing."""
        found = retrying(self._read, self._give_up)
        if found == VERDICTS[outcome]:
            self.confirmed += 1
        elif found is not None:
            self.contradictions.append(f"after decision {len(self.answered)} a read said {found}, not {VERDICTS[outcome]}")

    def _read(self) -> str | None:
        person = by_identifier(self._identifier.namespace, self._identifier.value)
        try:
            self._platform.get_profile(person, PURPOSE, timeout_s=READ_TIMEOUT_S)
        except grpc.RpcError as error:
            return None if error.code() in TRY_AGAIN else reason_of(error)
        return "permitted"

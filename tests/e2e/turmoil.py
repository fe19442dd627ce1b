"""Traffic under which processes are killed: what test_kill and chaos have in common."""

import random
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from c360.common.v1.common_pb2 import Identifier
from c360.ingest.v1 import ingest_pb2
from google.protobuf.struct_pb2 import Struct

from services.stack.ports import Endpoints
from tests.e2e import tally
from tests.e2e.client import Platform, by_identifier
from tests.e2e.deciding import Decider
from tests.e2e.system import System
from tests.e2e.traffic import Crowd, Sender

PATIENCE_S = 60.0  # for the last answers, once nothing is killed any more


class Turmoil:
    """Some senders and a person who decides. `finish` waits for the answers and counts."""

    def __init__(
        self, stack: System, choose: random.Random, senders: int, people: int, pause_s: float, doors: Sequence[str] = ()
    ) -> None:
        self._stack = stack
        self._platform = Platform(stack.endpoints)
        run = uuid.uuid4().hex[:8]
        self._key = self._platform.register_source(f"turmoil-{run}")
        self.senders = [
            Sender(
                doors[number % len(doors)] if doors else stack.endpoints.ingest_http,
                self._key,
                Crowd(f"person-{run}-{number}", people, random.Random(choose.random())),
                pause_s=pause_s,
            )
            for number in range(senders)
        ]
        self.decider = Decider(stack.endpoints, self._make_known(f"decider-{run}@example.com"))

    def start(self) -> None:
        for sender in self.senders:
            sender.start()
        self.decider.start()

    def check(self) -> None:
        """Raises what has gone wrong in one of the threads."""
        for failure in (*(sender.failure for sender in self.senders), self.decider.failure):
            if failure is not None:
                raise failure

    @property
    def sent(self) -> int:
        return sum(len(sender.ledger.sent) for sender in self.senders)

    @property
    def acknowledged(self) -> int:
        return sum(len(sender.ledger.acknowledged) for sender in self.senders)

    @property
    def retries(self) -> int:
        return sum(sender.ledger.retries for sender in self.senders)

    @contextmanager
    def drained(self, endpoints: Endpoints | None = None) -> Iterator[None]:
        """Nothing is sent in this block, and all that was sent before has been taken by everybody."""
        with ExitStack() as silence:
            for sender in self.senders:
                silence.enter_context(sender.turn)
            with Platform(endpoints or self._stack.endpoints) as platform:
                tally.wait_visible(platform, self._key)
                yield

    def finish(self) -> tally.Tally:
        """After the last kill; also looks whether logs have gaps and decisions hold."""
        for sender in self.senders:
            sender.stop()
        for sender in self.senders:
            sender.finish(PATIENCE_S)
        self.decider.finish(PATIENCE_S)
        self._stack.wait_ready()
        with self._platform as platform:
            tally.wait_visible(platform, self._key)
            result = tally.count(platform, tally.merged(sender.ledger for sender in self.senders))
        result.problems += [*tally.gaps(self._stack), *tally.alarms(self._stack), *self.decider.problems()]
        return result

    def _make_known(self, address: str) -> Identifier:
        traits = Struct()
        traits.update({"email": address})
        event = ingest_pb2.Event(type=ingest_pb2.EVENT_TYPE_IDENTIFY, user_id=address, traits=traits)
        position = self._platform.record(self._key, event).position
        self._platform.get_profile(by_identifier("email", address), "audit", position)
        return Identifier(namespace="email", value=address)


@contextmanager
def turmoil(
    stack: System,
    choose: random.Random,
    *,
    senders: int = 2,
    people: int = 20,
    pause_s: float = 0.05,
    doors: Sequence[str] = (),
) -> Iterator[Turmoil]:
    """Traffic that runs when the block begins; the block says when to `finish`. Senders take the HTTP `doors` in turns."""
    made = Turmoil(stack, choose, senders, people, pause_s, doors)
    made.start()
    try:
        yield made
    finally:
        for sender in made.senders:
            sender.stop()

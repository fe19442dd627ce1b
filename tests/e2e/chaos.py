"""`python -m tests.e2e.chaos --duration 60`, or `make chaos DURATION_S=60`: what is answered survives, whatever dies.

Senders send and merge identities, a person decides about marketing, and processes are killed: first at every named fault
point, one of each service at a time, past the duration if need be; then at random, also while others are still coming back,
and at points again. Half way through, once everything is taken, the broker loses its whole store. Then everything is counted.
Exits 0 only when every point was reached, the store was lost, and all that was sent is there once.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.stack import Stack
from tests.e2e.faults import EVERY_POINT, PointNotReached, crash_at, crash_together, lose_broker_store, rounds
from tests.e2e.tally import Tally
from tests.e2e.turmoil import Turmoil, turmoil

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 4.0  # between kills: from "still starting" to "caught up"
AT_A_TIME = (1, 1, 2)  # how many die together
AT_A_POINT = 0.6  # share of the kills that happen at a named fault point
POINTS = [(service, point) for service, of_service in EVERY_POINT.items() for point in of_service]
PROGRESS_S = 5.0
POLL_S = 0.1


@dataclass
class Havoc:
    """What was done to the stack; `kills` by victim, or by (service, point)."""

    kills: Counter[str | tuple[str, str]] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    store_lost: bool = False

    @property
    def reached(self) -> set[tuple[str, str]]:
        return {kill for kill in self.kills if isinstance(kill, tuple)}

    def problems(self) -> list[str]:
        """What a run has to do and this one didn't, so that it proves nothing."""
        never = [f"{service} was not killed {point}" for service, point in POINTS if (service, point) not in self.reached]
        return [*self.missed, *never, *([] if self.store_lost else ["the broker did not lose its store"])]

    def __str__(self) -> str:
        victims = ", ".join(f"{kill} {times}" for kill, times in sorted(self.kills.items(), key=str) if isinstance(kill, str))
        return f"killed: {victims or 'nobody'}; {len(self.reached)} of {len(POINTS)} fault points reached"


def main(given: Sequence[str]) -> int:
    arguments = _parse(given)
    print(f"chaos for {arguments.duration:.0f} s, seed {arguments.seed} (--seed {arguments.seed} kills alike)", flush=True)
    with tempfile.TemporaryDirectory(prefix="c360-chaos-") as directory:
        try:
            with Stack(directory, console=Console(sys.stdout), disposable=True) as stack:
                tally = _run(stack, arguments.duration, arguments.seed)
                if not tally.holds:
                    _show_logs(stack)
        except StackError as error:
            print(error)
            return 1
    for problem in tally.problems:
        print(f"problem: {problem}")
    print(tally, flush=True)
    return 0 if tally.holds else 1


def _parse(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=float(os.environ.get("DURATION_S") or 60), help="seconds; or DURATION_S")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the kills and the traffic")
    return parser.parse_args(given)


def _run(stack: Stack, duration_s: float, seed: int) -> Tally:
    choose = random.Random(seed)
    havoc = Havoc()
    with turmoil(stack, choose, people=40, pause_s=0.08) as running:
        started = time.monotonic()
        _crash_everywhere(stack, running, choose, havoc)
        _kill_at_random(stack, running, choose, havoc, started, duration_s)
        print(havoc, flush=True)
        print(f"no more kills after {havoc.kills.total()}; waiting until everything is visible", flush=True)
        tally = running.finish()
    tally.problems += havoc.problems()
    print(f"{tally.customers} customers read back; {running.retries} batches were sent again", flush=True)
    decider = running.decider
    print(f"{len(decider.answered)} decisions answered, {decider.confirmed} confirmed by the read after them", flush=True)
    return tally


def _crash_everywhere(stack: Stack, running: Turmoil, choose: random.Random, havoc: Havoc) -> None:
    for points in rounds(choose):
        running.check()
        reached = crash_together(stack, points)
        havoc.kills.update(reached)
        print(f"killed {', '.join(f'{service} {point}' for service, point in reached)}", flush=True)


def _kill_at_random(stack: Stack, running: Turmoil, choose: random.Random, havoc: Havoc, started: float, duration_s: float) -> None:
    """Ends when the time is up and the broker has lost its store."""
    next_kill = next_line = time.monotonic()
    while (now := time.monotonic()) < started + duration_s or not havoc.store_lost:
        running.check()
        if not havoc.store_lost and now >= started + duration_s / 2:
            _lose_store(stack, running, now - started)
            havoc.store_lost = True
        elif now >= next_kill:
            _kill(stack, choose, havoc)
            next_kill = time.monotonic() + choose.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S)
        if now >= next_line:
            done = f"sent {running.sent}, acknowledged {running.acknowledged}, kills {havoc.kills.total()}"
            print(f"{now - started:4.0f} s: {done}", flush=True)
            next_line = now + PROGRESS_S
        time.sleep(POLL_S)


def _kill(stack: Stack, choose: random.Random, havoc: Havoc) -> None:
    if choose.random() < AT_A_POINT:
        service, point = choose.choice(POINTS)
        try:
            crash_at(stack, service, point, times=choose.choice((1, 1, 2)))
        except PointNotReached as missed:
            havoc.missed.append(str(missed))
            return
        havoc.kills[service, point] += 1
        return
    for victim in choose.sample(stack.names, choose.choice(AT_A_TIME)):
        stack.kill(victim)
        havoc.kills[victim] += 1


def _lose_store(stack: Stack, running: Turmoil, elapsed_s: float) -> None:
    """INGEST alone holds what was not taken yet, so it is lost when everything is taken: a disk that dies before is a loss."""
    stack.wait_ready()
    with running.drained():
        lose_broker_store(stack)
    print(f"{elapsed_s:4.0f} s: everything was taken, then the broker lost its store", flush=True)


def _show_logs(stack: Stack) -> None:
    for name in stack.names:
        print(f"--- end of the log of {name}\n{stack.log_tail(name)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

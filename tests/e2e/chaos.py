"""`python -m tests.e2e.chaos --duration 60`, or `make chaos DURATION_S=60`: what is answered survives, whatever dies.

Senders send and merge identities, a person decides about marketing, and processes are killed: at random, also while others are
still coming back, and at every named fault point in turn. Half way through, once everything is taken, the broker loses its
whole store. Then everything is counted. Exits 0 only when nothing is lost and nothing is doubled.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.stack import Stack
from tests.e2e.faults import EVERY_POINT, crash_at, lose_broker_store
from tests.e2e.tally import Tally
from tests.e2e.turmoil import Turmoil, turmoil

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 4.0  # between kills: from "still starting" to "caught up"
AT_A_TIME = (1, 1, 2)  # how many die together
AT_A_POINT = 0.6  # share of the kills that happen at a named fault point
PROGRESS_S = 5.0
POLL_S = 0.1


def main() -> int:
    arguments = _parse(sys.argv[1:])
    print(f"chaos for {arguments.duration:.0f} s, seed {arguments.seed} (--seed {arguments.seed} kills alike)", flush=True)
    with tempfile.TemporaryDirectory(prefix="c360-chaos-") as directory:
        try:
            with Stack(directory, console=Console(sys.stdout)) as stack:
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


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__)
    parser.add_argument("--duration", type=float, default=float(os.environ.get("DURATION_S") or 60), help="seconds; or DURATION_S")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="of the kills and the traffic")
    return parser.parse_args(arguments)


def _run(stack: Stack, duration_s: float, seed: int) -> Tally:
    choose = random.Random(seed)
    with turmoil(stack, choose, people=40, pause_s=0.08) as running:
        kills = _kill_at_random(stack, running, choose, duration_s)
        crashes = [f"{kind} {times}" for kind, times in sorted(kills.items()) if " at " not in kind]
        print(f"killed: {', '.join(crashes)}; {sum(' at ' in kind for kind in kills)} fault points reached", flush=True)
        print(f"no more kills after {sum(kills.values())}; waiting until everything is visible", flush=True)
        tally = running.finish()
    print(f"{tally.customers} customers read back; {running.retries} batches were sent again", flush=True)
    decider = running.decider
    print(f"{len(decider.answered)} decisions answered, {decider.confirmed} confirmed by the read after them", flush=True)
    return tally


def _kill_at_random(stack: Stack, running: Turmoil, choose: random.Random, duration_s: float) -> Counter[str]:
    kills: Counter[str] = Counter()
    points = _shuffled_points(choose)
    started = time.monotonic()
    next_kill = next_line = started + PROGRESS_S / 2
    store_lost = False
    while (now := time.monotonic()) < started + duration_s:
        running.check()
        if not store_lost and now >= started + duration_s / 2:
            _lose_store(stack, running, now - started)
            store_lost = True
        elif now >= next_kill:
            _kill(stack, choose, points, kills)
            next_kill = time.monotonic() + choose.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S)
        if now >= next_line:
            print(
                f"{now - started:4.0f} s: sent {running.sent}, acknowledged {running.acknowledged}, kills {kills.total()}",
                flush=True,
            )
            next_line = now + PROGRESS_S
        time.sleep(POLL_S)
    return kills


def _shuffled_points(choose: random.Random) -> Iterator[tuple[str, str]]:
    """Every (service, point) once before any comes again."""
    points = [(service, point) for service, of_service in EVERY_POINT.items() for point in of_service]
    while True:
        yield from choose.sample(points, len(points))


def _kill(stack: Stack, choose: random.Random, points: Iterator[tuple[str, str]], kills: Counter[str]) -> None:
    if choose.random() < AT_A_POINT:
        service, point = next(points)
        crash_at(stack, service, point, times=choose.choice((1, 1, 2)))
        kills[f"{service} at {point}"] += 1
        return
    for victim in choose.sample(stack.names, choose.choice(AT_A_TIME)):
        stack.kill(victim)
        kills[victim] += 1


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
    sys.exit(main())

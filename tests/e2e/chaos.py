"""`python -m tests.e2e.chaos --duration 60`, or `make chaos DURATION_S=60`: what is answered survives, whatever dies.

Senders send and merge identities, a person decides about marketing, and processes are killed at random, also while others
are still coming back. Then everything is counted. Exits 0 only when nothing is lost and nothing is doubled.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter

from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.stack import Stack
from tests.e2e.tally import Tally
from tests.e2e.turmoil import Turmoil, turmoil

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 4.0  # between kills: from "still starting" to "caught up"
AT_A_TIME = (1, 1, 2)  # how many die together
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
        print(f"no more kills after {sum(kills.values())}; waiting until everything is visible", flush=True)
        tally = running.finish()
    print(f"{tally.customers} customers read back; {running.retries} batches were sent again", flush=True)
    decider = running.decider
    print(f"{len(decider.answered)} decisions answered, {decider.confirmed} confirmed by the read after them", flush=True)
    return tally


def _kill_at_random(stack: Stack, running: Turmoil, choose: random.Random, duration_s: float) -> Counter[str]:
    kills: Counter[str] = Counter()
    started = time.monotonic()
    next_kill = next_line = started + PROGRESS_S / 2
    while (now := time.monotonic()) < started + duration_s:
        running.check()
        if now >= next_kill:
            for victim in choose.sample(stack.names, choose.choice(AT_A_TIME)):
                stack.kill(victim)
                kills[victim] += 1
            next_kill = now + choose.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S)
        if now >= next_line:
            killed = ", ".join(f"{name} {times}" for name, times in sorted(kills.items()))
            print(f"{now - started:4.0f} s: sent {running.sent}, acknowledged {running.acknowledged}, killed: {killed}", flush=True)
            next_line = now + PROGRESS_S
        time.sleep(POLL_S)
    return kills


def _show_logs(stack: Stack) -> None:
    for name in stack.names:
        print(f"--- end of the log of {name}\n{stack.log_tail(name)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.e2e.cluster`, or `make cluster-test`: three brokers keep each stream three times, and any one of them may go.

Senders send and a person decides, through everything that is there. A node that leads nothing of INGEST is killed, then the one that leads it, then
the one that leads it by then hangs, so that nobody hears of it and it closes no connection. Then nodes are cut off: the leader, and the one that
ingest talks to, from the other nodes alone, so that they go on talking to services; and one from everybody. Each comes back after a while. Then
everything is counted. Exits 0 when all that was sent is there once.
"""

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import StreamInfo

from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.nats import NAME
from services.stack.ports import HOST, ports_of_node
from services.stack.stack import Stack
from shared.events.wire import CONSENT_STREAM, CUSTOMER_STREAM, INGEST_STREAM, PROFILE_STREAM
from tests.e2e.tally import Tally
from tests.e2e.turmoil import Turmoil, turmoil
from tests.e2e.wires import Wires, wires

NODES = 3
STREAMS = (INGEST_STREAM, CUSTOMER_STREAM, PROFILE_STREAM, CONSENT_STREAM)
AWAY_EVENTS = 1_000  # that are answered while a node is away, before it comes back
DEADLINE_S = 120.0
POLL_S = 0.05
ASK_S = 2


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="c360-cluster-") as directory:
        try:
            with wires(NODES) as between:
                stack = Stack(
                    Path(directory),
                    nats_nodes=NODES,
                    nats_detours=between.detours,
                    disposable=True,
                    console=Console(sys.stdout),
                )
                between.lead_to(stack)
                with stack:
                    tally = play(stack, between)
        except StackError as error:
            print(error)
            return 1
    for problem in tally.problems:
        print(f"problem: {problem}")
    print(tally, flush=True)
    return 0 if tally.holds else 1


def play(stack: Stack, between: Wires) -> Tally:
    def cut_off(stack: Stack, node: str) -> Callable[[], None]:
        return between.cut(node)

    def lost(stack: Stack, node: str) -> Callable[[], None]:
        return between.cut(node, clients=True)

    with turmoil(stack, random.Random(79), people=20) as running:
        progress(running)
        for what, end, choose in (
            ("a node is killed", killed, follower),
            ("the leader is killed", killed, leader),
            ("the leader hangs", hanging, leader),
            ("the leader is cut off from the other nodes", cut_off, leader),
            ("the node that ingest talks to is cut off from the other nodes", cut_off, talked_to),
            ("the node that ingest talks to is cut off from everybody", lost, talked_to),
        ):
            without(stack, running, choose(stack), what, end)
        tally = running.finish()
    few = [
        f"{info.config.name} has {info.config.num_replicas} replicas" for info in infos(stack) if info.config.num_replicas != NODES
    ]
    tally.problems += few
    return tally


def without(stack: Stack, running: Turmoil, node: str, what: str, end: Callable[[Stack, str], Callable[[], None]]) -> None:
    began, before = time.monotonic(), running.acknowledged
    bring_back = end(stack, node)
    progress(running, 1)
    silent_s = time.monotonic() - began
    progress(running, AWAY_EVENTS)
    bring_back()
    stack.wait_ready()
    progress(running)
    answered = running.acknowledged - before
    print(f"{what} ({node}): answered again after {silent_s:.1f} s; {answered} events acknowledged until it was back", flush=True)


def killed(stack: Stack, node: str) -> Callable[[], None]:
    stack.take_down(node, signal.SIGKILL)
    return lambda: stack.bring_up(node)


def hanging(stack: Stack, node: str) -> Callable[[], None]:
    pid = stack.pid(node)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def leader(stack: Stack) -> str:
    [name] = [info.cluster.leader for info in infos(stack, INGEST_STREAM) if info.cluster and info.cluster.leader]
    return name.replace(NAME, "nats")


def follower(stack: Stack) -> str:
    leads = leader(stack)
    return next(node for node in stack.names if node.startswith("nats") and node != leads)


def talked_to(stack: Stack) -> str:
    """By ingest."""
    return next(node for node in stack.names if node.startswith("nats") and "ingest" in clients_of(stack, node))


def clients_of(stack: Stack, node: str) -> set[str]:
    with urllib.request.urlopen(f"http://{HOST}:{stack.ports[ports_of_node(node).monitor]}/connz", timeout=ASK_S) as answer:
        return {connection.get("name", "") for connection in json.load(answer)["connections"]}


def infos(stack: Stack, *streams: str) -> list[StreamInfo]:
    """Waits until each has a leader."""
    return asyncio.run(_infos(stack, streams or STREAMS))


async def _infos(stack: Stack, streams: tuple[str, ...]) -> list[StreamInfo]:
    client = await nats.connect(stack.broker_url.split(","))
    try:
        return [await _info(client, stream) for stream in streams]
    finally:
        await client.close()


async def _info(client: Client, stream: str) -> StreamInfo:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                found: StreamInfo | None = await client.jetstream(timeout=ASK_S).stream_info(stream)
            except (nats.errors.Error, nats.js.errors.Error):
                found = None
            if found and found.cluster and found.cluster.leader:
                return found
            await asyncio.sleep(POLL_S)


def progress(running: Turmoil, events: int = 100) -> None:
    """Waits until so many more are answered."""
    target, deadline = running.acknowledged + events, time.monotonic() + DEADLINE_S
    while running.acknowledged < target:
        running.check()
        if time.monotonic() > deadline:
            raise StackError("events are not answered any more")
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())

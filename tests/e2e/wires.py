"""Ways between the brokers of a cluster, and from their clients to them, that can be cut.

What is on its way over a wire that is cut waits, and no connection is closed: as where a network drops packets, and
TCP sends them again until it is back.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from services.stack.nats import Detours
from services.stack.ports import HOST, ports_of_node, processes_of
from services.stack.stack import Stack

CHUNK_BYTES = 64 * 1024
START_S = 30.0


class Wire:
    """Listens at `port` and leads to wherever `target` says. All of it but `port` happens in the loop that made it."""

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._whole = asyncio.Event()
        self._whole.set()
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._lead, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def end(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections)
        await asyncio.sleep(0)  # in which what was aborted is closed

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        writers = [writer]
        with suppress(OSError, asyncio.CancelledError):  # of `end`; StreamReaderProtocol would complain of it
            await self._whole.wait()
            there, back = await asyncio.open_connection(HOST, self._target())
            writers.append(back)
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        for one in writers:
            one.transport.abort()
        self._connections.discard(connection)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await self._whole.wait()
                writer.write(chunk)
                await writer.drain()
        await self._whole.wait()
        writer.close()


class Wires:
    """One to each node for clients, and one from each node to each other one. `lead_to` before the stack is started."""

    def __init__(self, nodes: int) -> None:
        self._nodes = processes_of("nats", nodes)
        self._stack: Stack | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._made = asyncio.run_coroutine_threadsafe(self._make(), self._loop).result(START_S)
        self.detours = Detours(
            clients={node: wire.port for (asking, node), wire in self._made.items() if not asking},
            routes={pair: wire.port for pair, wire in self._made.items() if pair[0]},
        )

    def lead_to(self, stack: Stack) -> None:
        self._stack = stack

    def cut(self, node: str, *, clients: bool = False) -> Callable[[], None]:
        """From the other nodes, and with `clients` from these too. Mends it when called."""
        cut = [wire for pair, wire in self._made.items() if node in pair and (pair[0] or clients)]
        for wire in cut:
            self._loop.call_soon_threadsafe(wire.cut)

        def mend() -> None:
            for wire in cut:
                self._loop.call_soon_threadsafe(wire.mend)

        return mend

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for wire in self._made.values():
            await wire.end()

    async def _make(self) -> dict[tuple[str, str], Wire]:
        pairs = [(one, other) for one in ("", *self._nodes) for other in self._nodes if one != other]
        made = {pair: Wire(self._target_of(pair)) for pair in pairs}
        for wire in made.values():
            await wire.listen()
        return made

    def _target_of(self, pair: tuple[str, str]) -> Callable[[], int]:
        asking, node = pair
        ports = ports_of_node(node)

        def target() -> int:
            assert self._stack is not None
            return self._stack.ports[ports.cluster if asking else ports.client]

        return target


@contextmanager
def wires(nodes: int) -> Iterator[Wires]:
    made = Wires(nodes)
    try:
        yield made
    finally:
        made.close()

"""The ceiling for serving over gRPC from Python: a bare grpc.aio server that answers ready bytes and does nothing else.

python -m benchmarks.grpc_echo FILE   answers the bytes in FILE to every call of METHOD; prints its port
"""

import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop

METHOD = "/bench.Echo/Get"


async def serve(answer: bytes) -> None:
    async def get(_request: bytes, _context: Any) -> bytes:
        return answer

    # None as (de)serialiser leaves bytes as they are.
    _, service, method = METHOD.split("/")
    handler: Any = grpc.unary_unary_rpc_method_handler(get)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]).read_bytes()))

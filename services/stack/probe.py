"""Asks a service whether it is ready: `python -m services.stack.probe 127.0.0.1:50051` exits 0 when it is SERVING.

With `--alive` also when it stands by for another process, which serves.
"""

import sys

import grpc
from grpc_health.v1 import health_pb2

from shared.health import ALIVE

TIMEOUT_S = 2.0


def is_serving(address: str, timeout_s: float = TIMEOUT_S, name: str = "") -> bool:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(arguments: list[str]) -> int:
    names = [argument for argument in arguments if argument != "--alive"]
    if len(names) != 1:
        print("usage: python -m services.stack.probe [--alive] HOST:PORT", file=sys.stderr)
        return 2
    return 0 if is_serving(names[0], name=ALIVE if "--alive" in arguments else "") else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

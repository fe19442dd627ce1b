"""Asks a service whether it is ready: `python -m services.stack.probe 127.0.0.1:50051` exits 0 when it is SERVING."""

import sys

import grpc
from grpc_health.v1 import health_pb2

TIMEOUT_S = 2.0


def is_serving(address: str, timeout_s: float = TIMEOUT_S) -> bool:
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m services.stack.probe HOST:PORT", file=sys.stderr)
        return 2
    return 0 if is_serving(arguments[0]) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

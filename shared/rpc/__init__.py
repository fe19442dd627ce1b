"""The gRPC edge that all services share: server, health, reflection, error mapping, deadlines."""

from shared.rpc.server import RpcServer

__all__ = ["RpcServer"]

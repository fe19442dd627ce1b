"""Serves gRPC by grpcio's core itself, on the event loop: what grpc.aio's server does, for a fifth of its cost (docs/decisions/0071).

The core's Python side (`grpc._cython.cygrpc`) isn't a public interface. It is used in this package alone, and the lock file pins grpcio.
"""

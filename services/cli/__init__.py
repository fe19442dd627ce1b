"""The command `c360`: what gRPC gives programs, for people and scripts.

Owns nothing, follows nothing, and is a client like any other: it knows the protos and no service's code. Modules that
need grpc or rich import them inside functions, so that `--help` and typing errors answer at once.
"""

"""Channels to the services. Every gRPC error leaves here as a CommandError that names the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.cli.endpoints import Service, find_address, find_token
from services.cli.errors import from_rpc_error
from shared.health import BY_HEALTH
from shared.rpc.keepalive import OF_CALLERS

if TYPE_CHECKING:
    import grpc

RECEIVE_BYTES_AT_MOST = 64 * 1024 * 1024  # a page of 500 large events passes gRPC's default of 4 MiB
# Several processes of a service, or a name of several; a service of one address is asked whatever it says of its health.
SEVERAL = ("ipv4:", "ipv6:", "dns:")
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", RECEIVE_BYTES_AT_MOST), ("grpc.enable_retries", 0), *OF_CALLERS)


@contextmanager
def connect(service: Service) -> Iterator[grpc.Channel]:
    address = find_address(service, os.environ)
    with open_channel(address) as channel:
        import grpc

        try:
            yield channel
        except grpc.RpcError as error:
            raise from_rpc_error(service, address, error) from error


def open_channel(address: str) -> grpc.Channel:
    # gRPC's C core would write lines of its own to stderr; it reads this once, when it is loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    from services.cli.credentials import Bearer, channel_credentials

    options = (*CHANNEL_OPTIONS, ("grpc.service_config", BY_HEALTH)) if address.startswith(SEVERAL) else CHANNEL_OPTIONS
    if credentials := channel_credentials(os.environ):
        channel = grpc.secure_channel(address, credentials, options=options)
    else:
        channel = grpc.insecure_channel(address, options=options)
    token = find_token(address, os.environ)
    return grpc.intercept_channel(channel, Bearer(token)) if token else channel

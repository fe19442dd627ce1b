"""How both ends of a gRPC connection notice that the other one is gone without a word: a machine that lost its power, a firewall that forgot
the connection. Without that a watch waits for ever, and a service keeps what it holds for it."""

from typing import Final

# Who calls asks when it has heard nothing for so long: less than what usual balancers and firewalls bear (60 s and more).
CALLER_ASKS_AFTER_MS: Final = 20_000
SERVER_ASKS_AFTER_MS: Final = 30_000  # callers ask first, if they do
ANSWER_WITHIN_MS: Final = 10_000  # or the connection is given up, and calls on it end with UNAVAILABLE
# Whoever asks more often for nothing is sent away (GOAWAY, too_many_pings). Half of what is usually the least that a library lets one set.
ASKED_EVERY_MS: Final = 5_000

_BOTH: Final = (
    ("grpc.keepalive_timeout_ms", ANSWER_WITHIN_MS),
    ("grpc.http2.ping_timeout_ms", ANSWER_WITHIN_MS),  # the core goes by this one, a minute where nothing is set
    ("grpc.keepalive_permit_without_calls", 1),  # so that the next call doesn't find the connection dead
    ("grpc.http2.max_pings_without_data", 0),  # as often as it takes: the default stops after two
)
OF_CALLERS: Final = (*_BOTH, ("grpc.keepalive_time_ms", CALLER_ASKS_AFTER_MS))
OF_SERVERS: Final = (
    *_BOTH,
    ("grpc.keepalive_time_ms", SERVER_ASKS_AFTER_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", ASKED_EVERY_MS),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", ASKED_EVERY_MS),
)

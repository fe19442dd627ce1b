"""What logs and metrics for Prometheus are called; `logs.py` gives logs their form.

Log fields are ids, kinds, counts and reasons. Personal data has no field.
"""

import time
from importlib.metadata import version
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.config import split_address

SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600]  # objectives are at the edge of a bucket

EVENTS_ACCEPTED = Counter("c360_events_accepted", "Events answered as durable", ["source"])
EVENTS_REJECTED = Counter("c360_events_rejected", "Events refused at the door", ["reason"])
DOOR_UNAVAILABLE = Counter(
    "c360_door_unavailable", "Requests with events that were not taken for no fault of their sender", ["door", "reason"]
)
EVENTS_QUARANTINED = Counter("c360_events_quarantined", "Events that wait for a plan that they fit", ["source"])
PLAN_VIOLATIONS = Counter("c360_plan_violations", "Breaches of a tracking plan's rules", ["source", "rule", "action"])
EVENTS_APPLIED = Counter("c360_events_applied", "Events whose effect is committed", ["service"])
EVENTS_DUPLICATE = Counter("c360_events_duplicate", "Events seen before and dropped", ["service"])
EVENTS_PARKED = Counter("c360_events_parked", "Events that could not be applied and were set aside", ["service"])
EVENTS_REPLAYED = Counter("c360_events_replayed", "Parked ones that were applied after all", ["service"])
CONSUMER_HALTED = Gauge("c360_consumer_halted", "1: this consumer stopped and waits for people", ["consumer"])
CUSTOMERS_FAILED = Counter("c360_customers_failed", "Looks at a customer of whom no answer can be made: an alarm", ["doing"])
SEGMENTS_BEHIND_EVENTS = Gauge(
    "c360_segments_behind_events", "Events that profile has applied and memberships don't follow from yet"
)
SEGMENTS_BEHIND_SECONDS = Gauge(
    "c360_segments_behind_seconds",
    "How long ago the first of them was recorded, or somebody was due by time: an alarm when it lasts",
)
EVENTS_SUPPRESSED = Counter("c360_events_suppressed", "Events dropped because they are about an erased person")
SIGNALS_REFUSED = Counter("c360_signals_refused", "What events say of a person's choice and nobody can read", ["reason"])
ENVELOPES_BROKEN = Counter("c360_envelopes_broken", "Envelopes that a live key does not open: altered, or moved")
ERASURES_COMPLETED = Counter("c360_erasures_completed", "Erasures with a certificate")
ERASURES_STUCK = Counter(
    "c360_erasures_stuck", "Erasures that could not go on: something could still be read, or is not accounted for"
)
RIGHTS_OPEN = Gauge("c360_rights_open", "Rights requests that wait for an answer", ["right"])
RIGHTS_OVERDUE = Gauge("c360_rights_overdue", "Of these, those whose last day is over: an alarm")
CALLBACKS_FAILED = Counter("c360_callbacks_failed", "Tries to tell a controller what became of its request (OpenDSR)")
CALLBACKS_GIVEN_UP = Counter("c360_callbacks_given_up", "Controllers that weren't told how a request stands: an alarm")
REPORTS_FAILED = Counter("c360_erasure_reports_failed", "Questions about an erasure that this service could make nothing of")
KEYS_DESTROYED = Counter("c360_keys_destroyed", "Keys destroyed", ["kind"])
ACK_SECONDS = Histogram(
    "c360_ack_seconds", "From a request whose events were judged until they are durable and it may be answered", buckets=SECONDS
)
FRESHNESS_SECONDS = Histogram(
    "c360_freshness_seconds", "From when the door took the first event of a unit until reads show it", buckets=SECONDS
)
CACHE_LOOKUPS = Counter("c360_cache_lookups", "What was looked for in a cache, by whether it was there", ["cache", "outcome"])
WRITERS_FENCED = Counter("c360_writers_fenced", "Times that another writer had taken over from one of this process")
STANDING_BY = Gauge("c360_standing_by", "1 while this process stands by for another one, which owns the log", ["service"])
UNIT_SECONDS = Histogram("c360_unit_seconds", "Read, decide and commit one unit of work", ["service"])
UNIT_EVENTS = Histogram(
    "c360_unit_events", "Events in one unit of work", ["service"], buckets=[1, 5, 20, 50, 100, 200, 500, 1000, 2500]
)
CONSUMED_POSITION = Gauge("c360_consumed_position", "Last stream sequence consumed", ["stream"])
LAG_MESSAGES = Gauge("c360_lag_messages", "Messages in the stream not yet consumed", ["stream"])
LAG_SECONDS = Gauge("c360_lag_seconds", "How long the oldest message that is not applied has stood in the stream", ["stream"])
BACKLOG_EVENTS = Gauge("c360_backlog_events", "Events taken at the door and not yet consumed by identity")
MATCHING_BEHIND = Gauge("c360_matching_units_behind", "Units that identity handed over and matching has not taken yet")
SIGHTINGS_WAITING = Gauge(
    "c360_sightings_waiting", "What identity settles behind the events: what they saw together, and identifiers left to it"
)
BACKLOG_SECONDS = Gauge("c360_backlog_seconds", "How long the oldest of them has been waiting")
BREAK_GLASS_CALLS = Counter(
    "c360_break_glass_calls", "Calls for a purpose that is the caller's for some hours: an alarm", ["caller"]
)
BREAK_GLASS_REVIEWS_DUE = Gauge(
    "c360_break_glass_reviews_due", "Overrides that are over and that nobody has reviewed: an alarm when it lasts"
)
ENUMERATION_ALARMS = Counter("c360_enumeration_alarms", "Times that a caller began to try out identifiers: an alarm", ["caller"])
SCRAPING_ALARMS = Counter(
    "c360_scraping_alarms", "Hours in which a caller asked for more different customers than it may: an alarm", ["caller"]
)
RPC_SECONDS = Histogram("c360_rpc_seconds", "gRPC calls by method and status", ["method", "code"])
DISCLOSURES = Counter("c360_disclosures", "Reads that were written down before they were answered")
HTTP_REQUESTS = Counter("c360_http_requests", "HTTP requests by path and status", ["path", "status"])
LOG_DAMAGED = Counter("c360_log_damaged", "Checkpoints refused because the log was altered: an alarm", ["log", "partition"])
LOG_READS = Counter("c360_log_reads", "Reads of a log that may go to a standby, by who answered", ["server"])
BUS_RECONNECTS = Counter("c360_bus_reconnects", "Lost connections to the broker")
BUILD_INFO = Gauge("c360_build_info", "1, by the release that runs", ["version"])
CLOCK_SECONDS = Gauge("c360_clock_seconds", "What the clock of this process says, since 1970")


def logger(name: str) -> Any:
    return structlog.get_logger(component=name)


def start_metrics(address: str) -> None:
    BUILD_INFO.labels(version("customer360")).set(1)
    CLOCK_SECONDS.set_function(time.time)
    host, port = split_address(address)
    start_http_server(port, host)

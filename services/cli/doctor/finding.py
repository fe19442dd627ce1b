"""What is found, and what the metrics of a service tell of it. Pure: asking is `asking.py`'s and `servers.py`'s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

# wrong: somebody has to do something. soon: it is going to be. unseen: nobody could look.
Severity = Literal["wrong", "soon", "unseen"]
Sample = tuple[Mapping[str, str], float]
Metrics = Mapping[str, Sequence[Sample]]  # by the name of a sample

MOST_SKEW_S: Final = 2.0  # events are ordered by clocks; leases and tokens go by them
FEWEST_FREE: Final = 0.10  # of a disk
FEWEST_FREE_BYTES: Final = 2 * 1024**3
OLDEST_BACKUP_H: Final = 26.0  # a nightly one that took its time


class Finding(NamedTuple):
    severity: Severity
    subject: str
    what: str
    to_do: str


class Rule(NamedTuple):
    """More than `most` of a metric is `what`. Both texts may name the sample's labels, `value` and `service`."""

    metric: str
    most: float
    severity: Severity
    what: str
    to_do: str


ASK_LOG: Final = "its reason is the last critical line of {service}'s log; docs/runbooks/consumers.md, then restart {service}"
RULES: Final = (
    Rule("c360_consumer_halted", 0, "wrong", "has stopped to {consumer}, and waits for people", ASK_LOG),
    Rule(
        "c360_lag_seconds",
        60,
        "wrong",
        "the oldest message of {stream} that it hasn't applied is {value:.0f} s old",
        "see whether it works at all: its log, its CPU, PostgreSQL; docs/runbooks/consumers.md",
    ),
    Rule(
        "c360_backlog_seconds",
        60,
        "wrong",
        "events have waited for identity for {value:.0f} s; at 120 s senders get 429",
        "look at identity and its database; docs/runbooks/consumers.md",
    ),
    Rule(
        "c360_segments_behind_seconds",
        60,
        "soon",
        "memberships of segments are {value:.0f} s behind",
        "after an import or an activation wait; else docs/runbooks/consumers.md",
    ),
    Rule(
        "c360_envelopes_broken_total",
        0,
        "wrong",
        "{value:.0f} times a live key didn't open what is stored",
        "`c360 audit verify` names what was altered; docs/runbooks/data.md",
    ),
    Rule(
        "c360_log_damaged_total",
        0,
        "wrong",
        "the log {log} (partition {partition}) isn't what was signed before",
        "keep the evidence, then `c360 audit verify`; docs/runbooks/data.md",
    ),
    Rule(
        "c360_customers_failed_total",
        0,
        "wrong",
        "of a customer no answer could be made while {doing}",
        "its log names the place in the code: report it; docs/runbooks/data.md",
    ),
    Rule(
        "c360_writers_fenced_total",
        0,
        "wrong",
        "another process has taken over what it wrote",
        "of two that write the same, stop one; restart this one if it is to write: docs/runbooks/services.md",
    ),
    Rule(
        "c360_erasures_stuck_total",
        0,
        "wrong",
        "an erasure could not go on",
        "its log names what could still be read, or who didn't answer; docs/runbooks/promises.md",
    ),
    Rule(
        "c360_erasure_reports_failed_total",
        0,
        "wrong",
        "it could make nothing of a question about an erasure",
        "bring all services to one release; docs/runbooks/promises.md",
    ),
    Rule(
        "c360_callbacks_given_up_total",
        0,
        "wrong",
        "a controller could not be told for a week how its request stands",
        "its log names it: tell it by hand; docs/runbooks/promises.md",
    ),
    Rule("c360_rights_overdue", 0, "wrong", "{value:.0f} rights requests are overdue", "`c360 rights list`"),
    Rule(
        "c360_break_glass_reviews_due",
        0,
        "soon",
        "{value:.0f} overrides are over and not reviewed",
        "`c360 consent overrides list`; docs/runbooks/callers.md",
    ),
    Rule(
        "c360_enumeration_alarms_total",
        0,
        "soon",
        "the caller {caller} has tried out identifiers",
        "see whether its token leaked; docs/runbooks/callers.md",
    ),
    Rule(
        "c360_scraping_alarms_total",
        0,
        "soon",
        "the caller {caller} has asked for more different customers than it may",
        "see what it read; docs/runbooks/callers.md",
    ),
)


def of_metrics(service: str, metrics: Metrics) -> list[Finding]:
    """Counters tell of all that happened since the process began."""
    return [
        Finding(
            rule.severity,
            service,
            rule.what.format(value=value, service=service, **labels),
            rule.to_do.format(service=service),
        )
        for rule in RULES
        for labels, value in metrics.get(rule.metric, ())
        if value > rule.most
    ]


def of_health(service: str, address: str, status: str) -> list[Finding]:
    if status == "SERVING":
        return []
    if status == "STANDBY":
        what = f"at {address} is a process that stands by for another one; whether that one serves isn't seen"
        return [Finding("unseen", service, what, f"name all of them: C360_{service.upper()}_ADDRESS=ipv4:HOST:PORT,HOST:PORT")]
    if status == "NOT_SERVING":
        return [Finding("wrong", service, f"answers at {address} and doesn't serve", "it starts, or has stopped: see its log")]
    return [
        Finding(
            "wrong",
            service,
            f"doesn't answer at {address} ({status})",
            f"start it, or see in its log why it ends (`docker compose logs {service}`); docs/runbooks/services.md",
        )
    ]


def of_process(service: str, address: str, status: str) -> list[Finding]:
    """Of one of several, when one of them serves."""
    if status in ("SERVING", "STANDBY"):
        return []
    what = f"of its processes, the one at {address} neither serves nor stands by ({status})"
    return [Finding("wrong", service, what, "start it, or see in its log why it doesn't: fewer are left to take over")]


def of_untold(service: str, code: str) -> Finding:
    """Of what is parked. A token is blamed for no more than gRPC's codes do."""
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        to_do = "C360_TOKEN or C360_TOKEN_FILE: have it name a caller that may ask for it"
    else:
        to_do = f"see {service}'s log, and whether its PostgreSQL answers; docs/runbooks/services.md"
    return Finding("unseen", service, f"what it has parked isn't told ({code})", to_do)


def of_versions(versions: Mapping[str, str]) -> list[Finding]:
    """{service: its release}."""
    if len(set(versions.values())) <= 1:
        return []
    told = ", ".join(f"{service} {release}" for service, release in sorted(versions.items()))
    return [Finding("wrong", "versions", f"the services are of different releases: {told}", "bring all to one, owners last")]


def of_clock(subject: str, theirs: float, asked: float, answered: float) -> list[Finding]:
    """Seconds since 1970: what a clock said, and ours before and after."""
    skew = max(asked - theirs, theirs - answered, 0.0)
    if skew <= MOST_SKEW_S:
        return []
    what = f"its clock is {skew:.0f} s {'behind' if theirs < asked else 'ahead of'} the one here"
    return [Finding("wrong", subject, what, "have both follow NTP (`timedatectl`): order, leases and tokens go by clocks")]


def of_disk(place: str, free: int, total: int) -> list[Finding]:
    if free >= min(FEWEST_FREE * total, FEWEST_FREE_BYTES):
        return []
    what = f"{place} has {free / 1024**2:.0f} MB free of {total / 1024**3:.1f} GB"
    return [Finding("wrong", "disk", what, "make room: PostgreSQL and NATS stop when there is none, and nothing is taken any more")]


def of_backup(path: str, age_h: float | None) -> list[Finding]:
    if age_h is None:
        return [Finding("wrong", "backup", f"there is none at {path}", "docs/operations.md, Backup")]
    if age_h <= OLDEST_BACKUP_H:
        return []
    return [Finding("wrong", "backup", f"the newest at {path} is {age_h:.0f} hours old", "see why none was made since")]


def of_expiry(subject: str, seconds_left: float, soon_s: float, to_do: str) -> list[Finding]:
    if seconds_left <= 0:
        return [Finding("wrong", subject, "has expired", to_do)]
    if seconds_left > soon_s:
        return []
    return [Finding("soon", subject, f"expires in {seconds_left / 3600:.0f} hours", to_do)]


def is_wrong(findings: Iterable[Finding]) -> bool:
    return any(one.severity == "wrong" for one in findings)

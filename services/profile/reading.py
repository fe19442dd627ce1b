"""What an answer is made from: noted while it is made, wherever that is, so that whoever keeps the answer knows when to drop it."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from shared.consent_rule import Verdict
from shared.events.consent import PurposeDefined
from shared.instants import END_OF_TIME


class Moment(NamedTuple):
    """When somebody was judged: up to where decisions were known (None: that wasn't noted), and by stream the newest events that it was by, and
    the decisions. Others are judged anew later, by more."""

    consent_known: int | None
    newest: Mapping[bytes, int]
    evidence: Mapping[bytes, Collection[bytes]]


class Reading:
    """`keys` are what was looked up in caches, found or not; from `until` on the clock alone may give another answer. `evidence` are, by
    stream of whoever was asked, the decisions that it may be shown by, or may not; none, where nothing was decided. `newest` are, by stream,
    the positions of the newest events that were known then."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()
        self.until = END_OF_TIME
        self.evidence: dict[bytes, set[bytes]] = {}
        self.newest: dict[bytes, int] = {}
        self.consent_known: int | None = None  # up to where decisions were, if that was noted
        self.overtaken = False  # something that it was made from changed meanwhile: it is made anew
        self.unsteady = False  # so it did each time
        self.judged_by: dict[bytes, Collection[bytes]] = {}  # of each of many, the keys
        self.moments: dict[bytes, Moment] = {}  # of each of many, where they have one of their own
        self.purpose: PurposeDefined | None = None
        self.customer = b""

    def asks(self, purpose: PurposeDefined, customer: bytes) -> None:
        """For what, and about whom, of one customer."""
        self.purpose, self.customer = purpose, customer

    def begin_again(self) -> None:
        """What is found out from here on doesn't follow from what was before."""
        self.evidence, self.newest, self.unsteady = {}, {}, False

    def includes(self, other: "Reading") -> None:
        self.keys |= other.keys
        self.until = min(self.until, other.until)
        self.newest |= other.newest
        self.unsteady |= other.unsteady
        self.consent_known = self.consent_known if other.consent_known is None else other.consent_known
        for customer, keys in other.judged_by.items():
            self.judged_by[customer] = {*self.judged_by.get(customer, ()), *keys}
        self.moments |= other.moments
        for stream, decisions in other.evidence.items():
            self.evidence.setdefault(stream, set()).update(decisions)

    def took(self, customer: bytes, consent_known: int) -> None:
        """One of many was judged, by no more than that."""
        keys = self.judged_by.get(customer, ())
        newest = {key: self.newest[key] for key in keys if key in self.newest}
        evidence = {key: frozenset(self.evidence[key]) for key in keys if key in self.evidence}
        self.moments[customer] = Moment(consent_known, newest, evidence)

    def forget(self, customers: Iterable[bytes]) -> None:
        """These are judged anew."""
        for customer in customers:
            del self.moments[customer]
            for key in self.judged_by.pop(customer, ()):
                self.evidence.pop(key, None)

    def moment_of(self, members: Iterable[bytes]) -> Moment:
        """Of those who are one."""
        now = Moment(self.consent_known, self.newest, self.evidence)
        return next((self.moments[one] for one in members if one in self.moments), now)

    def evidence_of(self, members: Collection[bytes]) -> tuple[bytes, ...]:
        evidence = self.moment_of(members).evidence
        return tuple(sorted({decision for member in members for decision in evidence.get(member, ())}))


_under_way: ContextVar[Reading | None] = ContextVar("reading", default=None)


@contextmanager
def noted() -> Iterator[Reading]:
    """Of what this task reads; also of what is noted within."""
    reading, outer = Reading(), _under_way.get()
    token = _under_way.set(reading)
    try:
        yield reading
    finally:
        _under_way.reset(token)
        if outer is not None and not reading.overtaken:
            outer.includes(reading)


def looked_up(keys: Collection[bytes]) -> None:
    if (reading := _under_way.get()) is not None:
        reading.keys.update(keys)


def steady_until(instant: int) -> None:
    if (reading := _under_way.get()) is not None:
        reading.until = min(reading.until, instant)


def stood(newest: Mapping[bytes, int]) -> None:
    """Up to where it was known of each stream what it is, and who is one with it."""
    if (reading := _under_way.get()) is not None:
        reading.newest |= newest


def relied_on(streams: Iterable[bytes], verdict: Verdict) -> None:
    """What these may be shown by, or may not."""
    steady_until(verdict.until)
    if (reading := _under_way.get()) is None:
        return
    decisions = {verdict.decision_id, verdict.against} - {b""}
    for stream in streams:
        reading.evidence.setdefault(stream, set()).update(decisions)


def judged_by(customer: bytes, keys: Collection[bytes]) -> None:
    """One of many: what could make them be judged otherwise, besides what was named before."""
    if (reading := _under_way.get()) is not None:
        reading.judged_by[customer] = {*reading.judged_by.get(customer, ()), *keys}

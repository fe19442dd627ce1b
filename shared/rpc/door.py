"""Who is let in at a gRPC door: for which methods, for which purposes, and how often.

The limits are each process's own. What a method is for: `methods.py`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

from shared.callers import Callers
from shared.errors import LimitExceeded, NotAuthenticated, NotPermitted
from shared.events.callers import CallerDefined
from shared.instants import Clock, now_us
from shared.rates import MINUTE_S, Bucket
from shared.rpc.callers import ENTERED
from shared.rpc.methods import DECLARING, GROUPS, KEYED
from shared.rpc.tokens import Tokens
from shared.telemetry import BREAK_GLASS_CALLS, ENUMERATION_ALARMS, logger

RECHECK_S: Final = 1.0  # of a stream that goes on: its token may have ended, or its caller been taken back
MOST_BUCKETS: Final = 10_000  # of callers and purposes; the least recently used is forgotten
AUTHORIZATION: Final = "authorization"
BEARER: Final = "Bearer "
CERTIFICATE_NAMES: Final = "x509_subject_alternative_name"

log = logger("door")


class Proof(Protocol):
    def quick(self, context: Any) -> CallerDefined | None:
        """Who calls, where that needs nothing but a look; None: ask `caller`."""
        ...

    async def caller(self, context: Any) -> CallerDefined:
        """Raises NotAuthenticated, Unavailable."""
        ...


class ByToken:
    def __init__(self, tokens: Tokens, callers: Callers) -> None:
        self._tokens = tokens
        self._callers = callers

    def quick(self, context: Any) -> CallerDefined | None:
        for key, value in context.invocation_metadata() or ():
            if key == AUTHORIZATION and value[: len(BEARER)] == BEARER:
                proven = self._tokens.known(value[len(BEARER) :])
                return None if proven is None else self._callers.find(proven.issuer, proven.subject)
        return None

    async def caller(self, context: Any) -> CallerDefined:
        """Raises NotAuthenticated (NO_CREDENTIAL, CREDENTIAL_INVALID, CREDENTIAL_EXPIRED, CREDENTIAL_UNKNOWN), Unavailable
        (KEYS_UNREADABLE, CALLERS_UNKNOWN)."""
        proven = await self._tokens.verify(_bearer(context))
        if not self._callers.known:
            await self._callers.wait_known()
        return self._callers.by_subject(proven.issuer, proven.subject)


class ByCertificate:
    """The server has verified the certificate; it is asked whose it is."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def quick(self, context: Any) -> None:
        """There is nothing to be gained."""

    async def caller(self, context: Any) -> CallerDefined:
        """Raises NotAuthenticated (NO_CREDENTIAL, CREDENTIAL_UNKNOWN), Unavailable (CALLERS_UNKNOWN)."""
        names = [name.decode(errors="replace") for name in (context.auth_context() or {}).get(CERTIFICATE_NAMES, ())]
        if not names:
            raise _no_credential("a client certificate with a subject alternative name")
        if not self._callers.known:
            await self._callers.wait_known()
        return self._callers.by_certificate(names)


class Method(msgspec.Struct, frozen=True):
    """`declares`: its requests name the purpose that they are for. `counts`: they name several `customers`."""

    name: str
    group: str
    declares: bool
    counts: bool


def method_of(name: str) -> Method:
    """By its full name, such as /c360.profile.v1.ProfileService/GetProfile."""
    service, method = name[1:].split("/")
    fields = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method].input_type.fields_by_name
    purpose, customers = fields.get("purpose"), fields.get("customers")
    return Method(
        name=name,
        group=GROUPS.get(name, ""),
        declares=name in DECLARING and purpose is not None and purpose.type == FieldDescriptor.TYPE_STRING,
        counts=customers is not None and customers.is_repeated,
    )


class Door:
    def __init__(self, proof: Proof, callers: Callers, wall: Clock = now_us, clock: Callable[[], float] = time.monotonic) -> None:
        """`wall` tells instants, `clock` seconds that never run backwards."""
        self._proof = proof
        self._callers = callers
        self._wall = wall
        self._clock = clock
        self._alarmed: set[str] = set()
        self._rates: OrderedDict[tuple[str, int, str], Bucket] = OrderedDict()
        self._misses: OrderedDict[tuple[str, int], Bucket] = OrderedDict()

    async def enter(self, context: Any, method: Method) -> "Entered | None":
        """None: what the request carries has to prove who calls. Raises what `Proof.caller` does, NotPermitted (METHOD_NOT_ALLOWED)."""
        if method.group == KEYED:
            return None
        caller = self._proof.quick(context) or await self._proof.caller(context)
        if method.group not in caller.groups:
            raise NotPermitted("this caller may not call this", reason="METHOD_NOT_ALLOWED", caller=caller.name, method=method.name)
        entered = Entered(self, caller)
        ENTERED.set(entered)
        return entered

    def now(self) -> float:
        return self._clock()

    def declare(self, caller: CallerDefined, method: Method, message: Any) -> str:
        """The override by which it may, empty where it needs none. Raises NotPermitted (PURPOSE_NOT_ALLOWED)."""
        purpose: str = message.purpose if method.declares else ""
        if not purpose or caller.may_declare(purpose):
            return ""
        if not (override := self._callers.override(caller.name, purpose, self._wall())):
            raise NotPermitted("this caller may not declare this purpose", reason="PURPOSE_NOT_ALLOWED", caller=caller.name)
        BREAK_GLASS_CALLS.labels(caller.name).inc()
        if override not in self._alarmed:
            self._alarmed.add(override)  # as many as there are emergencies
            log.warning("a caller breaks the glass", caller=caller.name, purpose=purpose, override=override)
        return override

    def limit(self, caller: CallerDefined, method: Method, message: Any) -> None:
        """Raises LimitExceeded (RATE_EXCEEDED, ENUMERATION_SUSPECTED)."""
        if caller.misses_per_min or caller.calls_per_s:
            self._limit(caller, method, message.purpose if method.declares else "", message)

    def _limit(self, caller: CallerDefined, method: Method, purpose: str, message: Any) -> None:
        now = self._clock()
        if caller.misses_per_min and (wait := self._misses_of(caller, now).wait(now)):
            message_ = "this caller asks about too many customers whom nobody knows"
            raise LimitExceeded(message_, reason="ENUMERATION_SUSPECTED", retry_after_ms=int(wait * 1000))
        if caller.calls_per_s:
            bucket = self._rate_of(caller, purpose, now)
            if wait := bucket.take(max(1, len(message.customers)) if method.counts else 1, now):
                message_ = "this caller asks more often than it may for this purpose"
                raise LimitExceeded(message_, reason="RATE_EXCEEDED", retry_after_ms=int(wait * 1000))

    def missed(self, caller: CallerDefined, amount: int) -> None:
        """It asked about so many whom nobody knows."""
        if not caller.misses_per_min:
            return
        now = self._clock()
        bucket = self._misses_of(caller, now)
        if bucket.take(amount, now) == 0 and bucket.wait(now) > 0:
            log.warning("a caller tries out identifiers", caller=caller.name, misses_per_min=caller.misses_per_min)
            ENUMERATION_ALARMS.labels(caller.name).inc()

    def _rate_of(self, caller: CallerDefined, purpose: str, now: float) -> Bucket:
        most = caller.burst or caller.calls_per_s
        return _held(self._rates, (caller.name, caller.version, purpose), lambda: Bucket(caller.calls_per_s, most, now))

    def _misses_of(self, caller: CallerDefined, now: float) -> Bucket:
        most = caller.misses_per_min
        return _held(self._misses, (caller.name, caller.version), lambda: Bucket(most / MINUTE_S, most, now))


class Entered:
    """A call that was let in. What is recorded of it names the override that it was let in by."""

    __slots__ = ("_door", "caller", "override")

    def __init__(self, door: Door, caller: CallerDefined) -> None:
        self._door = door
        self.caller = caller
        self.override = ""

    @property
    def name(self) -> str:
        return f"{self.caller.name}+{self.override}" if self.override else self.caller.name

    def ask(self, method: Method, message: Any) -> None:
        """Raises what `Door.declare` and `Door.limit` do."""
        self.declare(method, message)
        self._door.limit(self.caller, method, message)

    def declare(self, method: Method, message: Any) -> None:
        """Raises what `Door.declare` does."""
        self.override = self._door.declare(self.caller, method, message)

    def missed(self, amount: int) -> None:
        self._door.missed(self.caller, amount)


def _held(buckets: OrderedDict[Any, Bucket], key: Any, make: Callable[[], Bucket]) -> Bucket:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = make()
        while len(buckets) > MOST_BUCKETS:
            buckets.popitem(last=False)
    else:
        buckets.move_to_end(key)
    return bucket


def _bearer(context: Any) -> str:
    """Raises NotAuthenticated (NO_CREDENTIAL)."""
    given: Sequence[tuple[str, Any]] = context.invocation_metadata() or ()
    for key, value in given:
        if key == AUTHORIZATION and isinstance(value, str) and value[: len(BEARER)].lower() == BEARER.lower():
            return value[len(BEARER) :].strip()
    raise _no_credential("a token, as authorization: Bearer TOKEN")


def _no_credential(wanted: str) -> NotAuthenticated:
    return NotAuthenticated(f"a call here needs {wanted}", reason="NO_CREDENTIAL")

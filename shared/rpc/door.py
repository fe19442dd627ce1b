"""Who is let in at a gRPC door: for which methods, for which purposes, and how often.

The limits are each process's own. What a method is for: `methods.py`.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor

from shared.callers import Callers
from shared.errors import NotAuthenticated, NotPermitted
from shared.events.callers import CallerDefined
from shared.instants import Clock, now_us
from shared.limits import Limited, Limits
from shared.rpc.callers import ENTERED
from shared.rpc.methods import DECLARING, GROUPS, KEYED, OF_ALL_UNLESS_NAMED
from shared.rpc.naming import Naming, naming_of
from shared.rpc.tokens import Tokens
from shared.telemetry import BREAK_GLASS_CALLS, logger

RECHECK_S: Final = 1.0  # of a stream that goes on: its token may have ended, or its caller been taken back
AUTHORIZATION: Final = "authorization"
BEARER: Final = "Bearer "
READ: Final = "read"
EXPORT: Final = "export"
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

    def quick(self, context: Any) -> CallerDefined | None:
        return self._callers.certified(_certified_names(context))

    async def caller(self, context: Any) -> CallerDefined:
        """Raises NotAuthenticated (NO_CREDENTIAL, CREDENTIAL_UNKNOWN), Unavailable (CALLERS_UNKNOWN)."""
        if not (names := _certified_names(context)):
            raise _no_credential("a client certificate with a subject alternative name")
        if not self._callers.known:
            await self._callers.wait_known()
        return self._callers.by_certificate(names)


class Method(msgspec.Struct, frozen=True):
    """`declares`: its requests name the purpose that they are for. `of_all`: they are of all customers unless they name one."""

    name: str
    group: str
    declares: bool
    of_all: bool
    naming: Naming


def method_of(name: str) -> Method:
    """By its full name, such as /c360.profile.v1.ProfileService/GetProfile."""
    service, method = name[1:].split("/")
    request = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method].input_type
    purpose = request.fields_by_name.get("purpose")
    return Method(
        name=name,
        group=GROUPS.get(name, ""),
        declares=name in DECLARING and purpose is not None and purpose.type == FieldDescriptor.TYPE_STRING,
        of_all=name in OF_ALL_UNLESS_NAMED,
        naming=naming_of(request),
    )


class Door:
    def __init__(self, proof: Proof, callers: Callers, wall: Clock = now_us, clock: Callable[[], float] = time.monotonic) -> None:
        """`wall` tells instants, `clock` seconds that never run backwards."""
        self._proof = proof
        self._callers = callers
        self._wall = wall
        self._clock = clock
        self._alarmed: set[str] = set()
        self._limits = Limits(clock)

    async def enter(self, context: Any, method: Method) -> "Entered | None":
        """None: what the request carries has to prove who calls. Raises what `Proof.caller` does, NotPermitted (METHOD_NOT_ALLOWED)."""
        if method.group == KEYED:
            return None
        caller = self._proof.quick(context) or await self._proof.caller(context)
        if method.group not in caller.groups:
            raise _not_allowed(caller, method)
        return self._let_in(caller)

    def at_once(self, context: Any, method: Method) -> "Entered | None":
        """As `enter`, where a look is enough to let the caller in; None: ask `enter`."""
        caller = self._proof.quick(context)
        return None if caller is None or method.group not in caller.groups else self._let_in(caller)

    def _let_in(self, caller: CallerDefined) -> "Entered":
        entered = Entered(self, caller)
        ENTERED.set(entered)
        return entered

    def now(self) -> float:
        return self._clock()

    def declare(self, caller: CallerDefined, method: Method, message: Any) -> str:
        """The override by which it may, empty where it needs none. Raises NotPermitted (PURPOSE_NOT_ALLOWED, METHOD_NOT_ALLOWED)."""
        if method.of_all and EXPORT not in caller.groups and not message.HasField("customer"):
            raise _not_allowed(caller, method)
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
        """Raises LimitExceeded (RATE_EXCEEDED, ENUMERATION_SUSPECTED, SCRAPING_SUSPECTED)."""
        if caller.misses_per_min or caller.calls_per_s or caller.customers_per_hour:
            purpose = message.purpose if method.declares else ""
            names = method.naming.of(message) if method.group == READ else ()
            self._limits.check(_limited(caller), purpose, method.naming.count(message), names)

    def missed(self, caller: CallerDefined, amount: int) -> None:
        if caller.misses_per_min:
            self._limits.missed(_limited(caller), amount)


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


def _limited(caller: CallerDefined) -> Limited:
    return Limited(caller.name, caller.version, caller.calls_per_s, caller.burst, caller.misses_per_min, caller.customers_per_hour)


def _not_allowed(caller: CallerDefined, method: Method) -> NotPermitted:
    return NotPermitted("this caller may not call this", reason="METHOD_NOT_ALLOWED", caller=caller.name, method=method.name)


def _certified_names(context: Any) -> list[str]:
    return [name.decode(errors="replace") for name in (context.auth_context() or {}).get(CERTIFICATE_NAMES, ())]


def _bearer(context: Any) -> str:
    """Raises NotAuthenticated (NO_CREDENTIAL)."""
    given: Sequence[tuple[str, Any]] = context.invocation_metadata() or ()
    for key, value in given:
        if key == AUTHORIZATION and isinstance(value, str) and value[: len(BEARER)].lower() == BEARER.lower():
            return value[len(BEARER) :].strip()
    raise _no_credential("a token, as authorization: Bearer TOKEN")


def _no_credential(wanted: str) -> NotAuthenticated:
    return NotAuthenticated(f"a call here needs {wanted}", reason="NO_CREDENTIAL")

"""What requests of every service here ask alike: whose profile, and as of when."""

from typing import Any

from c360.common.v1.common_pb2 import CustomerRef

from services.profile.app import NOW, Instant, Profiles
from shared.errors import InvalidInput
from shared.events.consent import PurposeDefined
from shared.identifiers import Identifier
from shared.instants import END_OF_TIME
from shared.rpc.edge import instant, named_customer


async def customer_of(profiles: Profiles, reference: CustomerRef, instant: Instant = NOW) -> bytes:
    """Whom an identifier named at an instant. Raises InvalidInput, NotFound (IDENTIFIER_UNKNOWN)."""
    named = named_customer(reference)
    if not isinstance(named, Identifier):
        return named
    return await (profiles.customer_of(named) if instant.is_now else profiles.customer_then(named, instant))


async def instant_for(profiles: Profiles, asked: Any, customer: bytes, purpose: PurposeDefined, instant: Instant) -> Instant:
    """What `instant_of` gave for the message `asked`, or the instant of the version that it names. Raises NotFound (VERSION_UNKNOWN)
    and what `Profiles.permit_past` does."""
    return await profiles.at_version(customer, purpose, instant.valid_at, asked.version) if asked.version else instant


def instant_of(profiles: Profiles, request: Any, name: str = "") -> Instant:
    """Of a message with `valid_at` or `known_at` or both, or neither; `name` is its own, in an error. Raises InvalidInput
    (INSTANT_INVALID, INSTANT_IN_FUTURE, INSTANT_AMBIGUOUS)."""

    def past(field: str) -> int:
        given = field in request.DESCRIPTOR.fields_by_name and request.HasField(field)
        return profiles.past(instant(getattr(request, field), f"{name}{field}")) if given else END_OF_TIME

    found = Instant(past("valid_at"), past("known_at"))
    if found.known_at != END_OF_TIME and getattr(request, "version", False):
        raise InvalidInput("give known_at or version, not both", reason="INSTANT_AMBIGUOUS")
    return found

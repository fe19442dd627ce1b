"""What requests of every service here ask alike: whose profile, and as of when."""

from typing import Any

from c360.common.v1.common_pb2 import CustomerRef

from services.profile.app import Instant, Profiles
from shared.identifiers import Identifier
from shared.instants import END_OF_TIME
from shared.rpc.edge import instant, named_customer


async def customer_of(profiles: Profiles, reference: CustomerRef) -> bytes:
    """Raises InvalidInput, NotFound (IDENTIFIER_UNKNOWN)."""
    named = named_customer(reference)
    return await profiles.customer_of(named) if isinstance(named, Identifier) else named


def instant_of(profiles: Profiles, request: Any, name: str = "") -> Instant:
    """Of a message with `valid_at` or `known_at` or both, or neither; `name` is its own, in an error. Raises InvalidInput
    (INSTANT_INVALID, INSTANT_IN_FUTURE)."""

    def past(field: str) -> int:
        given = field in request.DESCRIPTOR.fields_by_name and request.HasField(field)
        return profiles.past(instant(getattr(request, field), f"{name}{field}")) if given else END_OF_TIME

    return Instant(past("valid_at"), past("known_at"))

"""Whom a request of identity names."""

from typing import Any

from c360.common.v1.common_pb2 import CustomerRef
from c360.common.v1.common_pb2 import Identifier as IdentifierMessage

from services.identity.explaining import Explanations
from services.identity.graph.facts import Node
from services.identity.graph.rules import Rules
from services.identity.nobody import nobody
from services.identity.recall import Instants
from services.identity.tables import views
from shared.errors import NotFound
from shared.identifiers import Identifier, hash_of, normalise
from shared.ids import to_text
from shared.rpc.edge import instant, named_customer


def node(message: IdentifierMessage, lookup_key: bytes) -> Node:
    """Raises InvalidInput (IDENTIFIER_INVALID)."""
    return _node(normalise(message.namespace, message.value), lookup_key)


def customer_or_node(ref: CustomerRef, lookup_key: bytes) -> bytes | Node:
    """A customer's id or an identifier, not looked up. Raises InvalidInput (CUSTOMER_MISSING, CUSTOMER_ID_INVALID, IDENTIFIER_INVALID)."""
    named = named_customer(ref)
    return _node(named, lookup_key) if isinstance(named, Identifier) else named


async def asked_instants(request: Any, explanations: Explanations) -> Instants:
    """Raises InvalidInput (INSTANT_INVALID, INSTANT_IN_FUTURE)."""

    def past(field: str) -> int | None:
        given = field in request.DESCRIPTOR.fields_by_name and request.HasField(field)
        return instant(getattr(request, field), field) if given else None

    return await explanations.instants(past("as_of"), past("known_at"))


async def linked_customer(pool: Any, ref: CustomerRef, lookup_key: bytes, rules: Rules) -> bytes:
    """Of an identifier the customer that it is linked to itself, which stays so when a merge is undone.

    Raises what `customer_or_node` does, and NotFound as of `nobody`."""
    named = customer_or_node(ref, lookup_key)
    if not isinstance(named, Node):
        return named
    resolved = await views.resolve(pool, named.value_hash)
    if resolved is None:
        raise await nobody(pool, named, rules)
    return resolved.customer


async def members_of(pool: Any, ref: CustomerRef, lookup_key: bytes, rules: Rules) -> list[bytes]:
    """The customer that is named, as by `linked_customer`, and all that merges join to it now.

    Raises what that does, and NotFound (CUSTOMER_UNKNOWN)."""
    customer = await linked_customer(pool, ref, lookup_key, rules)
    members = await views.members(pool, customer)
    if not members:
        raise NotFound("no customer ever had this id", reason="CUSTOMER_UNKNOWN", customer_id=to_text(customer))
    return members


def _node(identifier: Identifier, lookup_key: bytes) -> Node:
    return Node(identifier.namespace, hash_of(identifier, lookup_key))

"""Whom a request names, whatever it calls the field: customers by reference, by identifier or by id."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor

REFERENCE: Final = "c360.common.v1.CustomerRef"
IDENTIFIER: Final = "c360.common.v1.Identifier"
IDS: Final = ("customer_id", "customer_ids")


class Naming(msgspec.Struct, frozen=True):
    """Fields that name one, fields that name several, and of several messages the field that names one in each."""

    one: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    within: tuple[tuple[str, str], ...] = ()

    def count(self, message: Any) -> int:
        """What a request counts for: one at least."""
        fields = (*self.several, *(field for field, _ in self.within))
        return max(1, sum(len(getattr(message, field)) for field in fields)) if fields else 1

    def of(self, message: Any) -> Iterator[bytes]:
        """Each as it is named, also twice; nothing for what isn't set."""
        for field in self.one:
            yield from _named(getattr(message, field))
        for field in self.several:
            for one in getattr(message, field):
                yield from _named(one)
        for field, inner in self.within:
            for one in getattr(message, field):
                yield from _named(getattr(one, inner))


def naming_of(request: Descriptor) -> Naming:
    named = [field for field in request.fields if _names(field)]
    messages = [(field.name, field.message_type) for field in request.fields if field.is_repeated and not _names(field)]
    return Naming(
        one=tuple(field.name for field in named if not field.is_repeated),
        several=tuple(field.name for field in named if field.is_repeated),
        within=tuple((name, inner.name) for name, kind in messages if kind for inner in kind.fields if _names(inner)),
    )


def _names(field: FieldDescriptor) -> bool:
    if field.message_type is not None:
        return field.message_type.full_name in (REFERENCE, IDENTIFIER)
    return field.name in IDS


def _named(value: Any) -> Iterator[bytes]:
    """An identifier is the same one, in a reference or by itself."""
    if not isinstance(value, str) and value.DESCRIPTOR.full_name == REFERENCE:
        value = getattr(value, value.WhichOneof("by") or "customer_id")
    found = value.encode() if isinstance(value, str) else value.SerializeToString(deterministic=True)
    if found:
        yield found

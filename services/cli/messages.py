"""Between what was typed and the protos, both ways."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.cli.errors import Misused
from services.cli.instants import format_instant
from services.cli.notation import EXACT_INTEGER_AT_MOST, LogPosition, NamedCustomer, NamedIdentifier, Person, RulesWanted

if TYPE_CHECKING:
    from c360.common.v1 import common_pb2
    from c360.profile.v1 import rules_pb2


def identifier(named: NamedIdentifier) -> common_pb2.Identifier:
    from c360.common.v1 import common_pb2

    return common_pb2.Identifier(namespace=named.namespace, value=named.value)


def customer_ref(person: Person) -> common_pb2.CustomerRef:
    from c360.common.v1 import common_pb2

    if isinstance(person, NamedCustomer):
        return common_pb2.CustomerRef(customer_id=person.customer_id)
    assert isinstance(person, NamedIdentifier)
    return common_pb2.CustomerRef(identifier=identifier(person))


def positions(named: Iterable[LogPosition] | None) -> list[common_pb2.Position]:
    from c360.common.v1 import common_pb2

    return [common_pb2.Position(log=p.log, partition=p.partition, number=p.number) for p in named or ()]


def newest(named: Iterable[LogPosition] | None) -> common_pb2.Position | None:
    """For requests that take one position; several of one log and partition are the same as the largest."""
    given = positions(named)
    if len({(position.log, position.partition) for position in given}) > 1:
        raise Misused("FRESH_AMBIGUOUS", "this command can wait for one partition of one log: give one --fresh")
    return max(given, key=lambda position: position.number, default=None)


def timestamp(instant: datetime | None) -> Timestamp | None:
    if instant is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(instant)
    return stamp


def duration(length: timedelta | None) -> Duration | None:
    if length is None:
        return None
    found = Duration()
    found.FromTimedelta(length)
    return found


def rules_choice(wanted: RulesWanted | None) -> rules_pb2.RulesChoice | None:
    from c360.profile.v1 import rules_pb2

    if wanted is None:
        return None
    if wanted.version:
        return rules_pb2.RulesChoice(version=wanted.version)
    return rules_pb2.RulesChoice(of=rules_pb2.RULES_OF_NOW if wanted.now else rules_pb2.RULES_OF_THEN)


def position_text(position: Any) -> str:
    return f"{position.log}/{position.partition}/{position.number}"


def instant_text(stamp: Timestamp) -> str:
    return format_instant(stamp.ToDatetime(tzinfo=UTC))


def plain(message: Message) -> Any:
    """A message as JSON data: positions and instants as text, 64-bit numbers as numbers, enums as their word in lower
    case, absent messages as null. Every field is there, so that a script never has to ask whether it is."""
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            return instant_text(message)  # type: ignore[arg-type]
        case "google.protobuf.Value" | "google.protobuf.Struct" | "google.protobuf.ListValue":
            return _json(message)
        case "c360.common.v1.Position":
            return position_text(message)
        case _:
            return {field.name: _plain_field(message, field) for field in message.DESCRIPTOR.fields}


def _plain_field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        item = field.message_type.fields_by_name["value"]
        return {key: _plain_value(value[key], item) for key in sorted(value)}
    if field.is_repeated:
        return [_plain_value(item, field) for item in value]
    if (field.message_type is not None or _is_optional(field)) and not message.HasField(field.name):
        return None
    return _plain_value(value, field)


def _is_optional(field: Any) -> bool:
    """Declared so: by convention protoc puts such a field into a group of its own."""
    return field.containing_oneof is not None and field.containing_oneof.name == f"_{field.name}"


def _plain_value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return plain(value)
    return enum_word(field.enum_type, value) if field.enum_type is not None else value


def enum_word(kind: Any, number: int) -> str:
    """OUTCOME_GRANTED is "granted": the same word that the commands accept."""
    known = kind.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(known.name).removeprefix(prefix).lower().replace("_", "-")


def _json(value: Any) -> Any:
    """Sorted, since a Struct has no order, and with 3 for the double 3.0. A number that JSON doesn't have is told as a text."""
    from google.protobuf.struct_pb2 import ListValue, Struct

    if isinstance(value, Struct):
        return {name: _json(value.fields[name]) for name in sorted(value.fields)}
    if isinstance(value, ListValue):
        return [_json(item) for item in value.values]
    kind = value.WhichOneof("kind")
    found = None if kind in (None, "null_value") else getattr(value, kind)
    if isinstance(found, Struct | ListValue):
        return _json(found)
    return _number(found) if isinstance(found, float) else found


def _number(value: float) -> int | float | str:
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) <= EXACT_INTEGER_AT_MOST else value


def behind(answer: Any) -> str:
    """How far memberships are behind; empty where they aren't."""
    if not answer.HasField("lag"):
        return ""
    since = f", since {answer.lag.begin_time.ToJsonString()}" if answer.lag.HasField("begin_time") else ""
    return f"behind what profiles say by {answer.lag.events:,} events{since}"

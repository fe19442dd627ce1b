"""Requests of any shape, made from what a proto says of them."""

import uuid
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from hypothesis import strategies as st

DEEPEST: Final = 4
MOST_REPEATED: Final = 3
KINDS: Final = FieldDescriptor
PLAUSIBLE: Final[dict[str, tuple[str, ...]]] = {
    "purpose": ("service", "marketing", "audit"),
    "namespace": ("user_id", "email", "phone", "anonymous_id"),
    "value": ("ada", "ada@example.com", "+4915112345678"),
    "log": ("profile", "identity", "consent", "ingest", "disclosures"),
    "document": ("{}", "[]", '{"traits": {}}', "{" * 2_000, '{"identifiers": [{"namespace": "email"}]}', "null", "1e999"),
    "trait": ("plan", "email"),
    "name": ("demo", "service", "a.b"),
    "page_token": ("", "AA", "AAAAAAAAAAA="),
}
HOSTILE: Final = (
    "",
    "\0",
    "a\0b",
    "x" * 5_000,
    "\u202e",
    "%s",
    "'; --",
    "../..",
    "٣",
    "\U0010ffff",
    str(uuid.UUID(int=7)),
    "1e999",
    "P1D",
)
WHOLE: Final = {
    KINDS.TYPE_INT32: (-(2**31), 2**31 - 1),
    KINDS.TYPE_INT64: (-(2**63), 2**63 - 1),
    KINDS.TYPE_UINT32: (0, 2**32 - 1),
    KINDS.TYPE_UINT64: (0, 2**64 - 1),
}
scalars = st.none() | st.booleans() | st.floats() | st.text(max_size=5)
structs = st.dictionaries(st.text(max_size=5), scalars | st.lists(scalars, max_size=2), max_size=3)


@st.composite
def filled(draw: st.DrawFn, kind: Descriptor, deep: int = 0) -> Any:
    """A message of which some fields are set, rightly or wrongly."""
    message = GetMessageClass(kind)()
    if isinstance(message, Struct):
        message.update(draw(structs))
    else:
        for field in kind.fields if deep < DEEPEST else ():
            if draw(st.integers(0, 3)):
                _fill(draw, message, field, deep)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, deep: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return  # what has one is a Struct, or told and not asked
    one = filled(field.message_type, deep + 1) if field.message_type is not None else _values(field)
    if field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(one, max_size=MOST_REPEATED)))
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(draw(one))
    else:
        setattr(message, field.name, draw(one))


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type in WHOLE:
        least, most = WHOLE[field.type]
        return st.sampled_from([1, 0, 2, least, most]) | st.integers(least, most)
    if field.enum_type is not None:
        return st.sampled_from([*(value.number for value in field.enum_type.values), 999])
    if field.type == KINDS.TYPE_BOOL:
        return st.booleans()
    if field.type == KINDS.TYPE_STRING:
        return st.sampled_from([*PLAUSIBLE.get(field.name, ()), *HOSTILE]) | st.text(max_size=20)
    if field.type == KINDS.TYPE_BYTES:
        return st.binary(max_size=20)
    assert field.type in (KINDS.TYPE_DOUBLE, KINDS.TYPE_FLOAT), f"{field.full_name} has a type that nothing is made of here"
    return st.floats(width=32 if field.type == KINDS.TYPE_FLOAT else 64)


@st.composite
def requests(draw: st.DrawFn, kind: Descriptor) -> bytes:
    """Right, cut, changed at one place, or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    request: bytes = draw(filled(kind)).SerializeToString()
    if request and draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(request) - 1))
        return request[:at] + draw(st.binary(max_size=3)) + request[at + draw(st.integers(0, 1)) :]
    return request

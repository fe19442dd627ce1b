"""JSON values as protobuf's Value and Struct."""

from typing import Any

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value


def to_value(value: Any) -> Value:
    match value:
        case None:
            return Value(null_value=NullValue.NULL_VALUE)
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case dict():
            return Value(struct_value=to_struct(value))
        case list():
            return Value(list_value=ListValue(values=[to_value(item) for item in value]))
    raise TypeError(f"not a JSON value: {type(value).__name__}")


def to_struct(values: dict[str, Any]) -> Struct:
    return Struct(fields={name: to_value(value) for name, value in values.items()})

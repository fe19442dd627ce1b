"""Which fields of a profile a request wants (google.protobuf.FieldMask)."""

from collections.abc import Collection

import msgspec
from c360.profile.v1 import profile_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask

from shared.errors import InvalidInput

PATHS_AT_MOST = 1_000  # as many as a profile can have traits
SHOWN_CHARACTERS = 100  # of a path that is refused
TRAITS = "traits"
WITHHELD = "withheld"
FIELDS = tuple(field for field in pb.Profile.DESCRIPTOR.fields_by_name if field != "truncated")  # said of the others, always


class Mask(msgspec.Struct, frozen=True):
    """Names of fields in the order of the message; of the traits those named, or all (None)."""

    fields: tuple[str, ...]
    traits: frozenset[str] | None = None

    def wants_any_trait(self, names: Collection[str]) -> bool:
        return TRAITS in self.fields and (self.traits is None or not self.traits.isdisjoint(names))

    def wants_more_than(self, names: Collection[str]) -> bool:
        """Whether it asks for traits of which these are not all."""
        return TRAITS in self.fields and (self.traits is None or not self.traits.issubset(names))


WHOLE = Mask(FIELDS)


def mask_of(read_mask: FieldMask) -> Mask:
    """No path: everything. Raises InvalidInput (FIELD_UNKNOWN, TOO_MANY_PATHS)."""
    if not read_mask.paths:
        return WHOLE
    if len(read_mask.paths) > PATHS_AT_MOST:
        raise InvalidInput(f"a read mask has at most {PATHS_AT_MOST} paths", reason="TOO_MANY_PATHS", limit=PATHS_AT_MOST)
    parts = {path: path.partition(".") for path in read_mask.paths}
    for path, (field, _, name) in parts.items():
        if path not in FIELDS and (field != TRAITS or not name):
            shown = path[:SHOWN_CHARACTERS]
            raise InvalidInput(f"a profile has no field {shown!r}", reason="FIELD_UNKNOWN", path=shown)
    wanted = {field for field, _, _ in parts.values()}
    single = frozenset(name for _, _, name in parts.values() if name)
    return Mask(tuple(field for field in FIELDS if field in wanted), single if single and TRAITS not in parts else None)

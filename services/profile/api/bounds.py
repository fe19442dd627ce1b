"""What a message of profile may hold, and what is said of what it doesn't: a client that was told nothing receives 4 MB."""

from collections.abc import Iterable, Iterator
from typing import Any

from c360.profile.v1 import profile_pb2 as pb

LISTED_AT_MOST = 1_000  # members, identifiers and withheld fields of a profile, of each
ANSWER_BYTES = 3 * 1024 * 1024  # of a profile, and of all profiles of a batch
TRAITS_BYTES = 2 * 1024 * 1024  # of a profile that is too large
IDENTIFIERS_BYTES = 512 * 1024


def bounded(message: pb.Profile, totals: dict[str, int]) -> pb.Profile:
    """As it is, when it fits; else without what doesn't, and says so. `totals` are how many there are of lists that were cut."""
    if message.ByteSize() > ANSWER_BYTES:
        totals = {"identifiers": len(message.identifiers), **totals}
        left_out = _cut_traits(message)
        message.truncated.add(
            field="traits", sent_count=len(message.traits), total_count=len(message.traits) + len(left_out), left_out=left_out
        )
        del message.identifiers[sum(1 for _ in _fitting(message.identifiers, IDENTIFIERS_BYTES)) :]
    for field, total in totals.items():
        if (sent := len(getattr(message, field))) < total:
            message.truncated.add(field=field, sent_count=sent, total_count=total)
    return message


def said_of_traits(message: pb.Profile) -> pb.Truncated:
    """Where it is said what is missing of traits; of those left out when they came neither names nor number are known."""
    said = next((one for one in message.truncated if one.field == "traits"), None)
    if said is None:
        said = message.truncated.add(field="traits", sent_count=len(message.traits), total_count=len(message.traits))
    return said


def _cut_traits(message: pb.Profile) -> list[str]:
    """In the order of their names those stay that fit beside the ones before; the names of the others."""
    names, left_out, size_bytes = sorted(message.traits), [], 0
    for name in names:
        trait_bytes = message.traits[name].ByteSize()
        if size_bytes + trait_bytes > TRAITS_BYTES:
            left_out.append(name)
            del message.traits[name]
        else:
            size_bytes += trait_bytes
    return left_out


def _fitting(messages: Iterable[Any], most_bytes: int) -> Iterator[Any]:
    size_bytes = 0
    for message in messages:
        size_bytes += message.ByteSize()
        if size_bytes > most_bytes:
            return
        yield message

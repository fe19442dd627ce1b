"""A profile as reads give it, and where it stands."""

from collections.abc import Mapping

import msgspec

from services.profile.domain.golden import GoldenRecord
from services.profile.domain.rules import Rules
from services.profile.domain.state import Held, newest_positions


class Profile(msgspec.Struct, frozen=True):
    """A golden record, by which rules, and where it stands.

    That is the versions of its streams, `version` the number of their events, and the newest position per partition.
    """

    record: GoldenRecord
    version: int
    versions: dict[bytes, int]
    positions: dict[int, int]
    rules: Rules
    redacted: int = 0  # events whose personal part is gone


class Standing(msgspec.Struct, frozen=True):
    """Which streams are one customer, oldest first, the first canonical, as far as they may be named; their events in number; newest
    position per partition."""

    members: list[bytes]
    version: int
    positions: dict[int, int]


def profile_of(held: Mapping[bytes, Held], record: GoldenRecord, rules: Rules, partitions: int) -> Profile:
    versions = {stream: held[stream].version for stream in record.members}
    return Profile(record, sum(versions.values()), versions, newest_positions(held, partitions), rules)

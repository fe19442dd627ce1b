"""What the answers of this door disclose, by the names of their fields."""

from collections.abc import Mapping
from typing import Any

from services.profile.disclosed import Shown
from services.profile.enforcement import release
from services.profile.http.resources import Read


def shown_by(read: Read, told: Mapping[str, Any]) -> Shown:
    profile = read.profile
    return Shown(
        members=profile.record.members,
        fields=_fields(read.target.part, told),
        withheld=[(one.field, one.reason) for one in release(profile.record, read.purpose).withheld],
        positions=profile.positions,
        rules_version=profile.rules.version,
        instant=read.instant,
    )


def _fields(part: str, told: Mapping[str, Any]) -> set[str]:
    match part:
        case "traits":
            return set(told["traits"])
        case "external_ids":
            return {f"identifier:{one['type']}" for one in told["data"]}
    return {part}

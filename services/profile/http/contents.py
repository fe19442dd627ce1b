"""The parts of a profile, each as it is told and as of its events. Which profile, and whether it may be told, was decided before."""

from collections.abc import Collection
from typing import Final

from services.profile.belonging import Belonging
from services.profile.http.answers import Content
from services.profile.http.resources import Read, as_of_its_events, external_ids, metadata, traits
from services.profile.origins import Origins

OF_PROFILES: Final = frozenset({"traits", "external_ids", "metadata"})


async def content_of(read: Read, verified: Collection[str], belonging: Belonging | None, origins: Origins) -> Content:
    """Of a part in OF_PROFILES."""
    if read.target.part == "traits":
        told, steady = traits(read, verified, belonging), as_of_its_events(read)
        return Content(told.content, told.content if steady is read else traits(steady, verified, belonging).content, told.skipped)
    told = await (external_ids if read.target.part == "external_ids" else metadata)(read, origins)
    return Content(told.content, told.content, told.skipped)

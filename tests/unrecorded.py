"""For tests of something else: what is read is written down nowhere."""

from services.profile.disclosed import Disclosed
from services.profile.disclosing import Disclosing
from services.profile.steady import Steady


async def _nothing(*_: object) -> None:
    return None


def unrecorded() -> Disclosed:
    return Disclosed(Disclosing(_nothing, lambda: 0), _nothing, lambda: 0, lambda _since, _keys: False, lambda: 0, 1)


def calm() -> Steady:
    """Where nothing changes meanwhile."""
    return Steady(lambda: 0, lambda _since, _keys: False, lambda: 0)

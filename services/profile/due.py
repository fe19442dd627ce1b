"""Who is due by time, those first of whom the log has nothing new: whoever follows it looks at the others, however far behind that is."""

from collections.abc import Mapping
from typing import Any, Final

from services.profile.tables.due import due_by
from services.profile.tables.states import positions_of
from shared.ids import partition_of

PAGE_DUE: Final = 2_000  # of which nothing but the places of their states is read


async def due_first(pool: Any, heads: Mapping[int, int], now: int, partitions: int, at_most: int) -> dict[bytes, int]:
    """{customer: when}: the earliest of those whose events were followed, up to `heads`; and then, where there is room, of the others."""
    quiet, others, after = dict[bytes, int](), dict[bytes, int](), (0, b"")
    while True:
        page = await due_by(pool, now, PAGE_DUE, after)
        positions = await positions_of(pool, page, partitions)
        for customer, at in page.items():
            is_new = positions.get(customer, -1) >= heads.get(partition_of(customer, partitions), 0)
            chosen = others if is_new else quiet
            if len(chosen) < at_most:
                chosen[customer] = at
        if len(quiet) >= at_most or len(page) < PAGE_DUE:
            return dict([*quiet.items(), *others.items()][:at_most])
        customer, at = list(page.items())[-1]
        after = (at, customer)

"""What many reads amount to, for eyes, and the streams that tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

SHOWN_NAMES = 8  # of callers, purposes and reasons


def streamed(stub: Callable[..., Any], method: str, request: Any) -> Iterator[Any]:
    """Profile's answers, without a deadline: how long it takes depends on how much was read."""
    from services.cli.client import connect

    with connect("profile") as channel:
        call = getattr(stub(channel), method)(request)
        try:
            yield from call
        finally:
            call.cancel()


def summary_facts(title: str, told: dict[str, Any]) -> list[tuple[str, str]]:
    if not told["read_count"]:
        return [(title, "none")]
    customers = f"{'more than ' if told['more_customers'] else ''}{told['customer_count']:,}"
    return [
        (title, f"{told['read_count']:,} reads of {customers} customers"),
        ("  from, to", f"{told['first_time']}, {told['last_time']}"),
        *((f"  by {kind}", _counts(told[f"{kind}s"])) for kind in ("purpose", "caller", "reason")),
    ]


def _counts(named: list[dict[str, Any]]) -> str:
    more = f" and {len(named) - SHOWN_NAMES} more" if len(named) > SHOWN_NAMES else ""
    return ", ".join(f"{one['name']} {one['count']:,}" for one in named[:SHOWN_NAMES]) + more

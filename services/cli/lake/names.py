"""Names of tables and columns, as warehouses have them: snake case, without anything that a path or a query could stumble on. Pure."""

from __future__ import annotations

import re

NAME_CHARACTERS_AT_MOST = 100
UNNAMED = "unnamed"

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


def snake(name: str) -> str:
    """`Order Completed` and `orderCompleted` are `order_completed`; what has no Latin letter or digit is `unnamed`."""
    parted = _WORD_ENDS.sub("_", name[: 2 * NAME_CHARACTERS_AT_MOST])
    return _NOT_IN_NAMES.sub("_", parted.lower()).strip("_")[:NAME_CHARACTERS_AT_MOST] or UNNAMED

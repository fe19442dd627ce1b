"""JSON that people write by hand says each thing once: of a key that stands twice, decoders take the last one in silence."""

import json
from typing import Any

from shared.errors import InvalidInput


def require_keys_once(text: str, *, reason: str) -> None:
    """Of JSON that was decoded before. Raises InvalidInput with the reason, naming the first key that an object has twice."""

    def once(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidInput(f"{key} stands twice in one object: only one of them would count", reason=reason)
            seen.add(key)

    json.loads(text, object_pairs_hook=once, parse_int=str)  # a number of any length is a number

"""What an event carries of what its person chose: signals, which consent reads (docs/consent-registry.md)."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from shared.events.signals import SignalKind
from shared.events.wire import RawEvent, Statement
from shared.vault.envelope import DataKey

# In `context.consent`: Segment's Consent Management, and what the interfaces of consent platforms (IAB's CMP API) call their strings.
FIELDS: Final[dict[str, SignalKind]] = {
    "categoryPreferences": "category_preferences",
    "tcString": "tcf",
    "gppString": "gpp",
    "uspString": "usp",
}
MOST_SEALED_BYTES: Final = 256 * 1024  # of statements sealed together: a unit's parts are cut between them
SEALED_AS: Final = b"c360 statements"

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Statement]).decode


def signals_of(event: RawEvent) -> list[tuple[SignalKind, str]]:
    """As they were sent; of what isn't text, its JSON, equal for equals."""
    found: list[tuple[SignalKind, str]] = [("gpc", "1")] if event.gpc else []
    consent = event.context.get("consent")
    if isinstance(consent, dict):
        found += [(kind, _text(consent[field])) for field, kind in FIELDS.items() if consent.get(field) is not None]
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _encode_sorted(value).decode()


def seal(statements: Iterable[Statement], key: DataKey) -> list[bytes]:
    """Under the evidence key. One may be larger than what is sealed together."""
    parts: list[list[Statement]] = [[]]
    size = 0
    for one in statements:
        size += sum(len(text) for _, text in one.signals)
        if size > MOST_SEALED_BYTES and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(one)
    return [key.seal(_encode(part), SEALED_AS) for part in parts if part]


def unseal(sealed: Iterable[bytes], key: DataKey) -> list[Statement]:
    """Raises EnvelopeBroken, msgspec.DecodeError."""
    return [one for part in sealed for one in _decode(key.open(part, SEALED_AS))]

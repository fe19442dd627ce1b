"""What all signals have in common: the raw text, who decoded it, and how one is refused.

No error repeats what was sent: a signal says what one person chose.
"""

from typing import ClassVar, Self

import msgspec

from shared.errors import InvalidInput

MOST_CHARACTERS = 16_384  # of one signal: twice what fits in an address line, twenty times a string with a thousand vendors


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Says in no log what is in it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sealed>"


class Signal(Sealed, frozen=True, kw_only=True):
    """`raw` is what was sent, to the letter: it is the evidence, decoded anew whenever a decoder is corrected."""

    decoder: ClassVar[str]
    decoder_version: ClassVar[int]  # raised when the same text is decoded to something else

    raw: str


class Evidence(Sealed, frozen=True, kw_only=True):
    decoder: str
    decoder_version: int
    raw: str

    @classmethod
    def of(cls, signal: Signal) -> Self:
        return cls(decoder=signal.decoder, decoder_version=signal.decoder_version, raw=signal.raw)


def check_length(text: str, most: int = MOST_CHARACTERS) -> None:
    """Raises InvalidInput (SIGNAL_TOO_LONG)."""
    if len(text) > most:
        raise InvalidInput(f"a signal of this kind is at most {most} characters", reason="SIGNAL_TOO_LONG", limit=most)


def malformed(what: str) -> InvalidInput:
    return InvalidInput(f"this signal can't be decoded: {what}", reason="SIGNAL_MALFORMED")


def truncated() -> InvalidInput:
    return InvalidInput("this signal ends before all that it announces was read", reason="SIGNAL_TRUNCATED")


def unknown_version(version: int) -> InvalidInput:
    return InvalidInput("this version of the format is not known", reason="SIGNAL_VERSION_UNKNOWN", version=version)

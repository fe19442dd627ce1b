"""Signals that are read as they stand: US Privacy strings, the GPC header, replies to an SMS, categories on an event."""

import re
import unicodedata
from typing import ClassVar, Final, Literal, Self

import msgspec

from services.consent.domain.signals.signal import Sealed, Signal, check_length, malformed, unknown_version

UspValue = Literal["Y", "N", "-"]
USP = re.compile("[0-9][YN-]{3}")


class UspString(Signal, frozen=True, kw_only=True):
    """IAB's U.S. Privacy String 1.0, deprecated for GPP and still sent. Y yes, N no, - doesn't apply."""

    decoder: ClassVar[str] = "usp"
    decoder_version: ClassVar[int] = 1

    notice: UspValue
    sale_opt_out: UspValue
    lspa_covered: UspValue

    @classmethod
    def decode(cls, text: str) -> Self:
        """Small letters are read as capitals: an opt-out isn't lost by them.

        Raises InvalidInput (SIGNAL_MALFORMED, SIGNAL_VERSION_UNKNOWN).
        """
        if not text.isascii() or not USP.fullmatch(text.upper()):
            raise malformed("a US Privacy string is a digit and three of Y, N and -")
        if text[0] != "1":
            raise unknown_version(int(text[0]))
        notice, sale_opt_out, lspa_covered = msgspec.convert(tuple(text[1:].upper()), tuple[UspValue, UspValue, UspValue])
        return cls(raw=text, notice=notice, sale_opt_out=sale_opt_out, lspa_covered=lspa_covered)


class GpcHeader(Signal, frozen=True, kw_only=True):
    """`Sec-GPC` of a request (W3C Global Privacy Control). Only `1` means anything; that it isn't there is no consent."""

    decoder: ClassVar[str] = "gpc"
    decoder_version: ClassVar[int] = 1

    opted_out: bool

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidInput (SIGNAL_TOO_LONG)."""
        check_length(text)
        return cls(raw=text, opted_out=text.strip(" \t") == "1")


SmsWord = Literal["stop", "start", "help"]
MOST_REPLY_CHARACTERS: Final = 1_600  # the longest that gateways join to one message
# 47 CFR 64.1200(a)(10) and CTIA's Messaging Principles; what carriers add to them is STOPALL, OPTOUT and REMOVE.
STOP_WORDS: Final = frozenset(
    ["stop", "stopall", "stop all", "end", "cancel", "unsubscribe", "quit", "revoke", "opt out", "optout", "remove"]
)
START_WORDS: Final = frozenset(["start", "unstop"])
HELP_WORDS: Final = frozenset(["help", "info"])
NO_WORD = re.compile(r"[\W_]+")


class SmsReply(Signal, frozen=True, kw_only=True):
    """A word counts if it is the whole message, whatever its case, spaces and punctuation.

    `unclear`: a word that stops is in it beside others. Who else revokes "by any reasonable means" is for people to read.
    """

    decoder: ClassVar[str] = "sms"
    decoder_version: ClassVar[int] = 1

    word: SmsWord | None
    unclear: bool

    @classmethod
    def decode(cls, text: str) -> Self:
        """Raises InvalidInput (SIGNAL_TOO_LONG)."""
        check_length(text, MOST_REPLY_CHARACTERS)
        said = NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
        word = _word(said)
        return cls(raw=text, word=word, unclear=word is None and any(f" {stop} " in f" {said} " for stop in STOP_WORDS))


def _word(said: str) -> SmsWord | None:
    if said in STOP_WORDS:
        return "stop"
    if said in START_WORDS:
        return "start"
    return "help" if said in HELP_WORDS else None


MOST_CATEGORIES: Final = 100
MOST_CATEGORY_CHARACTERS: Final = 128


class Category(Sealed, frozen=True, kw_only=True):
    name: str
    consented: bool


class CategoryPreferences(Signal, frozen=True, kw_only=True):
    """`context.consent.categoryPreferences` of an event (Segment's Consent Management). `raw` is its JSON.

    A category that isn't named says nothing, neither yes nor no.
    """

    decoder: ClassVar[str] = "category_preferences"
    decoder_version: ClassVar[int] = 1

    categories: tuple[Category, ...]

    @classmethod
    def decode(cls, value: object) -> Self:
        """`value` is what JSON was parsed to. Raises InvalidInput (SIGNAL_MALFORMED)."""
        if not isinstance(value, dict) or len(value) > MOST_CATEGORIES:
            raise malformed(f"preferences are an object of at most {MOST_CATEGORIES} categories")
        for name, consented in value.items():
            if not isinstance(name, str) or not 0 < len(name) <= MOST_CATEGORY_CHARACTERS or not isinstance(consented, bool):
                raise malformed(f"a category is named in 1 to {MOST_CATEGORY_CHARACTERS} characters and is true or false")
            if not name.isprintable():
                raise malformed("a category's name is printable")
        categories = tuple(Category(name=name, consented=value[name]) for name in sorted(value))
        return cls(raw=msgspec.json.encode(value, order="sorted").decode(), categories=categories)

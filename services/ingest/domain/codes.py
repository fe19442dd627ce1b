"""Countries (ISO 3166-1) and currencies (ISO 4217) by every code and name, from Unicode's CLDR as Babel carries it."""

import unicodedata
from functools import lru_cache
from typing import Any, Final

from babel import Locale
from babel.core import UnknownLocaleError, get_global

# Territories that CLDR knows and ISO 3166-1 has no code of its own for. XK stays: Kosovo's, by convention of those who need one.
NO_COUNTRIES: Final = frozenset({"AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"})

# Reserved by ISO 3166-1 for a country whose code is another, and written by many.
RESERVED: Final = {"UK": "GB"}

# Several currencies are written so (CLDR, over all its locales), though a language may know one by it. The pound sign stays: most of
# the others stand at par with sterling, and none is written so outside its country.
SHARED_SYMBOLS: Final = frozenset({"$", "¥", "￥", "kr", "kr.", "Rs", "C$", "Br", "F", "K", "L", "\u200b"})

MAX_NAME: Final = 256  # characters


def is_language(language: str) -> bool:
    try:
        Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        return False
    return True


def folded(name: str) -> str:
    """Equal for names that differ in case, spaces, hyphens and underscores alone. A longer one is no name, and stays."""
    if len(name) > MAX_NAME:  # normalising takes time by the square of the combining marks that stand together
        return name
    return "".join(char for char in unicodedata.normalize("NFKC", name).casefold() if not char.isspace() and char not in "-_")


@lru_cache(maxsize=64)
def countries(languages: tuple[str, ...]) -> dict[str, str]:
    """From code or folded name to the code in two letters; codes win over names."""
    codes = {code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()} - NO_COUNTRIES
    found: dict[str, str] = {}
    for language in languages:
        for code, name in _texts(Locale.parse(language, sep="-").territories):
            if code in codes:
                found.setdefault(folded(name), code)
    for alias, names in get_global("territory_aliases").items():
        if len(alias) == 3 and len(names) == 1 and names[0] in codes:
            found[alias] = found[alias.lower()] = names[0]
    written = {code: code for code in codes} | RESERVED
    return found | written | {code.lower(): country for code, country in written.items()}


@lru_cache(maxsize=64)
def currencies(languages: tuple[str, ...]) -> dict[str, str]:
    """From code, folded name, or symbol to the code."""
    codes = set(get_global("all_currencies"))
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    for language in languages:
        locale = Locale.parse(language, sep="-")
        for code, name in _texts(locale.currencies):
            if code in codes:
                found.setdefault(folded(name), code)
        for code, symbol in _texts(locale.currency_symbols):
            if found.setdefault(symbol, code) != code:
                ambiguous.add(symbol)
    for symbol in ambiguous | SHARED_SYMBOLS:
        found.pop(symbol, None)
    return found | {code: code for code in codes} | {code.lower(): code for code in codes}


def _texts(names: Any) -> list[tuple[str, str]]:
    return [(str(code), str(name)) for code, name in names.items()]

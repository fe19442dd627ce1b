"""The normal form of what is compared. Pure; a change here is a new `NORMAL_FORM`, for which models are trained anew.

Every function takes a value as it was sent, and gives None for one that says nothing: empty, null, 000, 1900-01-01.
"""

import re
import unicodedata
from functools import lru_cache

from shared.errors import InvalidInput
from shared.identifiers import KEPT_TEXTS, normalise

NORMAL_FORM = 1
# What stands where a name should; not those that are names too (No, Na, Guest).
PLACEHOLDERS = frozenset(
    {"null", "none", "nil", "undefined", "anonymous", "unknown", "nan", "test", "tester", "testing", "dummy", "customer", "user"}
    | {"firstname", "lastname", "xx", "xxx", "xxxx", "asdf", "missing", "nn"}
)
NO_BIRTH_DATES = frozenset({"1900-01-01", "1970-01-01", "1901-01-01"})  # what forms and systems send for "not known"
NO_LETTER_FORM = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "þ": "th", "ł": "l", "đ": "d", "\u0131": "i", "ħ": "h"}
UNLETTERED = str.maketrans(NO_LETTER_FORM)
MOST_REPEATED_DIGITS = re.compile(r"^(\d)\1*$")
COUNTED_UP = frozenset({"123456789", "1234567890", "987654321", "0123456789"})
WORDS = re.compile(r"[^\W_]+")
YEAR_FIRST = re.compile(r"^(\d{4})\D?(\d{1,2})\D?(\d{1,2})(?:[T ].*)?$")
YEAR_LAST = re.compile(r"^(\d{1,2})(\D)(\d{1,2})\D(\d{4})$")
STREET_WORDS = {
    "street": "st",
    "avenue": "ave",
    "av": "ave",
    "road": "rd",
    "drive": "dr",
    "lane": "ln",
    "place": "pl",
    "court": "ct",
    "boulevard": "blvd",
    "circuit": "cct",
    "crescent": "cr",
    "terrace": "tce",
    "strasse": "str",
    "square": "sq",
    "highway": "hwy",
    "parkway": "pkwy",
    "close": "cl",
}


def words(text: str) -> list[str]:
    """Lower case, without accents and punctuation: NFKC first, so that full-width and composed letters are one."""
    return WORDS.findall(fold(text))


@lru_cache(maxsize=KEPT_TEXTS)
def fold(text: str) -> str:
    """Without case and accents; letters of other scripts stay."""
    lowered = unicodedata.normalize("NFKC", text).casefold().translate(UNLETTERED)
    if lowered.isascii():
        return lowered
    apart = unicodedata.normalize("NFD", lowered)
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if unicodedata.category(letter) != "Mn"))


def name(text: str) -> str | None:
    """O'Neill-Smith, Dr. -> oneill smith."""
    found = words(text.replace("'", "").replace("\u2019", "").replace(".", ""))
    if not found or all(word in PLACEHOLDERS or word.isdigit() for word in found):
        return None
    return " ".join(found)


def initial(text: str) -> str | None:
    found = name(text)
    return found[0] if found else None


def birth_date(text: str, day_first: bool = True) -> str | None:
    """YYYY-MM-DD, also of a day that no calendar has: a slip of the finger is still worth comparing.

    `day_first` reads 03/04/1990; with dots the day is always first.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    if found := YEAR_FIRST.match(text):
        year, month, day = found.groups()
    elif found := YEAR_LAST.match(text):
        one, separator, two, year = found.groups()
        day, month = (one, two) if day_first or separator == "." else (two, one)
    else:
        return None
    if int(month) > 12 >= int(day):
        day, month = month, day  # there is one way only to read it
    date = f"{year}-{month:0>2}-{day:0>2}"
    return None if date in NO_BIRTH_DATES or year in {"0000", "0001", "9999"} else date


def street(*parts: str) -> str | None:
    """Street and number as one value, the number in front: alone, neither says where somebody lives."""
    found = [STREET_WORDS.get(word, word) for part in parts for word in words(part)]
    found = [f"{word.removesuffix('strasse')}str" if len(word) > 9 and word.endswith("strasse") else word for word in found]
    numbers = [word for word in found if word[0].isdigit()]
    rest = [word for word in found if not word[0].isdigit()]
    if not rest or all(word in PLACEHOLDERS for word in rest):
        return None
    return " ".join(numbers + rest)


def code(text: str) -> str | None:
    """A postcode or number of an authority: letters and digits only."""
    found = "".join(words(text))
    if not found or found in PLACEHOLDERS or found in COUNTED_UP or MOST_REPEATED_DIGITS.match(found):
        return None
    return found


def email(text: str) -> str | None:
    return _identifier("email", text)


def phone(text: str, region: str | None = None) -> str | None:
    """E.164; without a region that completes it, the digits as they were sent."""
    found = _identifier("phone", text, region)
    digits = re.sub(r"\D", "", text)
    return found or (digits if len(digits) >= 6 and not MOST_REPEATED_DIGITS.match(digits) else None)


def _identifier(namespace: str, text: str, region: str | None = None) -> str | None:
    try:
        return normalise(namespace, text, region).value
    except InvalidInput:
        return None

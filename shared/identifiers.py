"""Identifiers: how they are normalised and hashed. Pure; the keyed hash gets its key as an argument."""

import hashlib
import hmac
import re
import unicodedata
from functools import lru_cache
from typing import Final

import email_validator
import msgspec
import phonenumbers

from shared.errors import InvalidInput

MAX_VALUE = 512  # characters; longer ones are mistakes, and would make every index row large
MAX_RAW = 2 * MAX_VALUE  # as it comes: with spaces around it, and with its accents apart
KEPT_TEXTS: Final = 16_384  # whose normal form is kept, about 300 bytes each
HASH_BYTES = 16  # of HMAC-SHA-256: 10 million identifiers collide with a chance below 1e-24

# Strongest first. What is not listed (external ids) stands between people's names and the devices.
STRENGTH: Final = ("user_id", "email", "phone")
PLATFORMS: Final = ("ios", "android")
# Of a phone or tablet itself; they outlive a logout, which an anonymous id doesn't, and so their owners.
HARDWARE: Final = frozenset(f"{platform}.{what}" for platform in PLATFORMS for what in ("id", "idfa", "push_token"))
DEVICES: Final = HARDWARE | {"anonymous_id"}
EMAIL_SHA256: Final = "email_sha256"
SHA256 = re.compile(r"[0-9a-f]{64}")
NAMESPACE = re.compile(r"[a-zA-Z0-9_.\-]{1,64}")
LEAST_DIGITS: Final = 7  # of a phone number that no numbering plan lists; a shorter one is an extension, or a mistake
# Values that SDKs and forms send for "nobody"; linking people by them would join strangers.
PLACEHOLDERS: Final = frozenset({"null", "none", "nil", "undefined", "anonymous", "unknown", "n/a", "nan", "-1", "test@test.com"})
ZEROS = re.compile(r"^[0\-]*$")


class Identifier(msgspec.Struct, frozen=True, order=True):
    """A normalised identifier. Its value is personal data: it never prints."""

    namespace: str
    value: str

    def __repr__(self) -> str:
        return f"<Identifier {self.namespace} sealed>"

    __str__ = __repr__


def normalise(namespace: str, value: str, region: str | None = None) -> Identifier:
    """Raises InvalidInput (IDENTIFIER_INVALID). `region` (ISO 3166, "DE") completes phone numbers without a country code."""
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidInput("an identifier's namespace is 1 to 64 letters, digits, '_', '.', '-'", reason="IDENTIFIER_INVALID")
    if len(value) > MAX_RAW:  # first: normalising takes time by the square of the combining marks that stand together
        raise _invalid(namespace)
    text = unicodedata.normalize("NFKC", value).strip()
    if not text or len(text) > MAX_VALUE or text.lower() in PLACEHOLDERS or ZEROS.match(text):
        raise _invalid(namespace)
    if namespace == "email":
        return Identifier(namespace, _email(text))
    if namespace == "phone":
        return Identifier(namespace, _phone(text, region))
    return Identifier(namespace, text)


@lru_cache(maxsize=KEPT_TEXTS)
def _email(text: str) -> str:
    try:
        checked = email_validator.validate_email(text, check_deliverability=False, test_environment=True)
    except email_validator.EmailNotValidError:
        raise _invalid("email") from None
    return checked.normalized.casefold()


@lru_cache(maxsize=KEPT_TEXTS)
def _phone(text: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise _invalid("phone") from None
    if not phonenumbers.is_valid_number(number) and not (
        phonenumbers.is_possible_number(number) and len(phonenumbers.national_significant_number(number)) >= LEAST_DIGITS
    ):
        raise _invalid("phone")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def of_a_person(collection: object) -> bool:
    """Of an external id. Segment knows two collections: `users`, which is the default, and `accounts`, of which many are at one."""
    return collection in (None, "", "users")


def forget_normalised() -> None:
    """What was normalised lately is kept to save time, and is personal data: whoever is erased must not stay in memory."""
    _email.cache_clear()
    _phone.cache_clear()


def _invalid(namespace: str) -> InvalidInput:
    return InvalidInput(f"not a usable value for {namespace}", reason="IDENTIFIER_INVALID", namespace=namespace)


def strength(namespace: str) -> int:
    """Smaller is stronger."""
    if namespace in STRENGTH:
        return STRENGTH.index(namespace)
    return len(STRENGTH) + (namespace in DEVICES) + (namespace in HARDWARE)


def hash_of(identifier: Identifier, key: bytes) -> bytes:
    """Keyed (per installation), so that a stolen index can't be searched by guessing. Of an e-mail address its plain SHA-256 goes in:
    lists of those who opted out are exchanged as such hashes."""
    value = identifier.value
    if identifier.namespace == "email":
        value = hashlib.sha256(value.encode()).hexdigest()
    return _keyed(identifier.namespace, value, key)


def name_and_hash(namespace: str, value: str, key: bytes) -> tuple[str, bytes]:
    """What something is bound to: an identifier's namespace and keyed hash. `email_sha256` names an e-mail address that the caller
    doesn't know, by the SHA-256 (hexadecimal) of its normal form. Raises InvalidInput (IDENTIFIER_INVALID)."""
    if namespace == EMAIL_SHA256:
        text = value.strip().lower()
        if not SHA256.fullmatch(text):
            raise _invalid(namespace)
        return "email", _keyed("email", text, key)
    identifier = normalise(namespace, value)
    return identifier.namespace, hash_of(identifier, key)


def _keyed(namespace: str, value: str, key: bytes) -> bytes:
    """HMAC-SHA-256, gone on with from where the key is taken in already: well under half the time of its one-shot form."""
    keyed = _with_key(key).copy()
    keyed.update(f"{namespace}\0{value}".encode())
    return keyed.digest()[:HASH_BYTES]


@lru_cache(maxsize=4)  # an installation has one key
def _with_key(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod=hashlib.sha256)

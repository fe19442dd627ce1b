"""What callers of the HTTP Profile API prove themselves by: a file of tokens' hashes, each bound to one space and one purpose.

`c360 profile tokens` writes it and the door goes by it from the next request on. No token can be made from what stands in it.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import msgspec

from shared import private_files
from shared.errors import AlreadyExists, InvalidInput, NotFound, Unavailable, WrongState
from shared.limits import Limited

PREFIX: Final = "at_"  # recognisable in logs and scanners
TOKEN_BYTES: Final = 32
HINT_CHARACTERS: Final = 9
MAX_TOKENS: Final = 1_000  # one a calling program and purpose; all of them are in memory
NAME: Final = re.compile(r"[a-z0-9\-]{1,64}")
PURPOSE: Final = re.compile(r"[a-z0-9_]{1,64}")
PREFIX_BYTES: Final = 8  # of a hash, that tokens are looked up by
MAX_FILE_BYTES: Final = 1024 * 1024  # more than so many tokens take
MOST_READS_PER_S: Final = 1_000_000
MOST_CUSTOMERS_PER_HOUR: Final = 250_000  # as of a caller


class TokenLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """In each process. 0: no limit."""

    reads_per_s: Annotated[int, msgspec.Meta(ge=0, le=MOST_READS_PER_S)] = 500
    misses_per_min: Annotated[int, msgspec.Meta(ge=0, le=MOST_READS_PER_S)] = 600  # reads of users whom nobody knows
    customers_per_hour: Annotated[int, msgspec.Meta(ge=0, le=MOST_CUSTOMERS_PER_HOUR)] = 0  # different ones


class AccessToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`sha256` is hexadecimal: a plain hash is enough for what is random."""

    name: str
    space: str
    purpose: str
    hint: str  # how the token begins
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    limits: TokenLimits = TokenLimits()

    def limited(self) -> Limited:
        """A token that is made anew is counted from the beginning."""
        most = self.limits
        version = int(self.sha256[:8], 16)
        return Limited(self.name, version, most.reads_per_s, 0, most.misses_per_min, most.customers_per_hour)


class TokenList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of the file."""

    tokens: tuple[AccessToken, ...] = ()


NO_LIMITS_SAID: Final = TokenLimits()
TOKEN_LISTS: Final = msgspec.json.Decoder(TokenList)


class TokenFile:
    """Reads are of the newest file. One that isn't there has no tokens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._by_prefix: dict[bytes, tuple[bytes, AccessToken]] = {}

    def find(self, token: str) -> AccessToken | None:
        """How long it takes says nothing of how near a token came: hashes are looked up and compared, the latter in constant time.

        Raises Unavailable (TOKENS_UNREADABLE): then nobody is let in, because a revocation may stand there.
        """
        self._notice_change()
        presented = hashlib.sha256(token.encode()).digest()
        held = self._by_prefix.get(presented[:PREFIX_BYTES])
        return held[1] if held is not None and hmac.compare_digest(held[0], presented) else None

    def all(self) -> tuple[AccessToken, ...]:
        """Oldest first. Raises Unavailable (TOKENS_UNREADABLE)."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise _unreadable()
            return TOKEN_LISTS.decode(content).tokens
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise _unreadable() from error

    def add(self, name: str, space: str, purpose: str, random: Callable[[int], bytes], limits: TokenLimits = NO_LIMITS_SAID) -> str:
        """The token, which stands nowhere else.

        Raises InvalidInput (NAME_INVALID, SPACE_INVALID, PURPOSE_INVALID), AlreadyExists (TOKEN_EXISTS), WrongState (TOO_MANY_TOKENS),
        Unavailable (TOKENS_UNREADABLE).
        """
        _check(name, space, purpose)
        token = PREFIX + base64.urlsafe_b64encode(random(TOKEN_BYTES)).rstrip(b"=").decode()
        digest = hashlib.sha256(token.encode()).hexdigest()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with private_files.alone(self._path):
            held = self.all()
            if any(other.name == name for other in held):
                raise AlreadyExists("there is a token of this name", reason="TOKEN_EXISTS", name=name)
            if len(held) >= MAX_TOKENS:
                raise WrongState(
                    "there are as many tokens as there may be; revoke some", reason="TOO_MANY_TOKENS", limit=MAX_TOKENS
                )
            self._replace((*held, AccessToken(name, space, purpose, token[:HINT_CHARACTERS], digest, limits)))
        return token

    def revoke(self, name: str) -> None:
        """Raises NotFound (TOKEN_UNKNOWN), Unavailable (TOKENS_UNREADABLE)."""
        if not self._path.parent.is_dir():
            raise _unknown(name)
        with private_files.alone(self._path):
            held = self.all()
            if all(token.name != name for token in held):
                raise _unknown(name)
            self._replace(tuple(token for token in held if token.name != name))

    def _replace(self, tokens: tuple[AccessToken, ...]) -> None:
        private_files.write(self._path, msgspec.to_builtins(TokenList(tokens)))

    def _notice_change(self) -> None:
        """One look at the file's state a request."""
        try:
            stamp = private_files.stamp(self._path)
        except FileNotFoundError:
            self._stamp, self._by_prefix = None, {}
            return
        except OSError as error:
            raise _unreadable() from error
        if stamp != self._stamp:
            digests = ((bytes.fromhex(token.sha256), token) for token in self.all())
            self._by_prefix = {digest[:PREFIX_BYTES]: (digest, token) for digest, token in digests}
            self._stamp = stamp


def _check(name: str, space: str, purpose: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput("a token's name is 1 to 64 lower-case letters, digits and hyphens", reason="NAME_INVALID")
    if not NAME.fullmatch(space):
        raise InvalidInput("a space's name is 1 to 64 lower-case letters, digits and hyphens", reason="SPACE_INVALID")
    if not PURPOSE.fullmatch(purpose):
        raise InvalidInput("a purpose's name is 1 to 64 lower-case letters, digits and underscores", reason="PURPOSE_INVALID")


def _unreadable() -> Unavailable:
    return Unavailable("the list of access tokens can't be read", reason="TOKENS_UNREADABLE")


def _unknown(name: str) -> NotFound:
    return NotFound("there is no token of this name", reason="TOKEN_UNKNOWN", name=name)

"""What a JSON Web Token (RFC 7519) proves: that an issuer we trust knows the caller by a name. One that holds is looked at once."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final

import jwt
import msgspec

from shared.errors import NotAuthenticated
from shared.instants import SECOND, Clock
from shared.rpc.keys import ALGORITHMS, KeySet

MOST_CHARACTERS: Final = 8_192  # of a token; gRPC takes no more in a header
MOST_HELD: Final = 10_000  # verified tokens that are remembered
HELD_US: Final = 60 * SECOND  # for so long: then keys may have been taken back
LEEWAY_US: Final = 30 * SECOND  # an issuer's clock and ours may differ by so much

NAME: Final = msgspec.Meta(min_length=1, max_length=200)


class TrustedIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens count, where its keys are (a path or URL of a JWKS), and for whom its tokens have to be made."""

    issuer: Annotated[str, NAME]
    keys: Annotated[str, NAME]
    audience: Annotated[str, NAME] = "customer360"


class Proven(msgspec.Struct, frozen=True):
    issuer: str
    subject: str
    expires_at: int


class _Claims(msgspec.Struct):
    iss: str
    sub: Annotated[str, NAME]
    exp: Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
    nbf: float = 0


class Tokens:
    def __init__(self, issuers: Iterable[TrustedIssuer], clock: Clock, steady: Callable[[], float] = time.monotonic) -> None:
        """`steady` never runs backwards, in seconds."""
        self._issuers: Mapping[str, tuple[TrustedIssuer, KeySet]] = {one.issuer: (one, KeySet(one.keys, steady)) for one in issuers}
        self._clock = clock
        self._held: OrderedDict[bytes, tuple[Proven, int]] = OrderedDict()

    def known(self, token: str) -> Proven | None:
        """What it proves, if it was verified a moment ago and hasn't ended."""
        held = self._held.get(_digest(token))
        return None if held is None or held[1] <= self._clock() else held[0]

    async def verify(self, token: str) -> Proven:
        """Raises NotAuthenticated (CREDENTIAL_INVALID, CREDENTIAL_EXPIRED), Unavailable (KEYS_UNREADABLE)."""
        if len(token) > MOST_CHARACTERS:
            raise _invalid()
        try:
            issuer, keys = self._issuers[str(_unverified(token)["iss"])]
            header = jwt.get_unverified_header(token)
            key = await keys.find(str(header["kid"]))
            if key is None or header.get("alg") != key.algorithm_name:
                raise _invalid()
            claims = _claims(token, key, issuer)
        except (KeyError, RecursionError, jwt.PyJWTError, msgspec.ValidationError):
            raise _invalid() from None
        return self._checked(token, claims)

    def _checked(self, token: str, claims: _Claims) -> Proven:
        now = self._clock()
        proven = Proven(claims.iss, claims.sub, int(claims.exp * SECOND) + LEEWAY_US)
        _require_living(proven, now)
        if claims.nbf * SECOND > now + LEEWAY_US:
            raise _invalid()
        digest = _digest(token)
        self._held[digest] = (proven, min(now + HELD_US, proven.expires_at))
        self._held.move_to_end(digest)
        while len(self._held) > MOST_HELD:
            self._held.popitem(last=False)
        return proven


def _digest(token: str) -> bytes:
    """The tokens themselves aren't kept."""
    return hashlib.sha256(token.encode()).digest()


def _unverified(token: str) -> Mapping[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def _claims(token: str, key: jwt.PyJWK, issuer: TrustedIssuer) -> _Claims:
    """Clocks are ours to check."""
    found = jwt.decode(
        token,
        key.key,
        algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
        audience=issuer.audience,
        issuer=issuer.issuer,
        options={"require": ["exp", "sub", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    return msgspec.convert(found, _Claims)


def _require_living(proven: Proven, now: int) -> None:
    if proven.expires_at <= now:
        raise NotAuthenticated("the token has expired", reason="CREDENTIAL_EXPIRED")


def _invalid() -> NotAuthenticated:
    """Which of the things that can be wrong with it, is for nobody who tries tokens out."""
    return NotAuthenticated("the token isn't one that this installation trusts", reason="CREDENTIAL_INVALID")

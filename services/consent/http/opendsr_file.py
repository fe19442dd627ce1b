"""Who hands over requests as OpenDSR has it, and what our answers are signed with: a file, in force from the next request on."""

import base64
import hashlib
import hmac
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from shared.errors import NotAuthenticated, Unavailable

MOST_FILE_BYTES: Final = 64 * 1024
MOST_PEM_BYTES: Final = 64 * 1024

UPWARDS: Final = re.compile(r"\.\.|%2e", re.IGNORECASE)
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Controller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`callbacks`: below these addresses it may be told of what becomes of its requests, and nowhere else."""

    controller_id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9_-]{1,40}$")]
    token_sha256: Sha256  # of its bearer token
    callbacks: tuple[str, ...] = ()

    def may_be_told_at(self, url: str) -> bool:
        try:
            asked = urlsplit(url)
        except ValueError:
            return False
        if not url.isprintable() or UPWARDS.search(asked.path):
            return False
        return any(_is_below(asked, urlsplit(one)) for one in self.callbacks)


def _is_below(asked: SplitResult, agreed: SplitResult) -> bool:
    path = agreed.path.rstrip("/")
    return (asked.scheme, asked.netloc) == (agreed.scheme, agreed.netloc) and f"{asked.path}/".startswith(f"{path}/")


class Processor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Paths of PEM files; the certificate is issued for the domain. `calendar`: whose public holidays count."""

    domain: str
    certificate: str
    key: str
    controllers: tuple[Controller, ...]
    calendar: str = ""

    def controller_of(self, token: str) -> Controller:
        """Raises NotAuthenticated (TOKEN_MISSING, TOKEN_INVALID)."""
        if not token:
            raise NotAuthenticated("give a bearer token", reason="TOKEN_MISSING")
        presented = hashlib.sha256(token.encode()).hexdigest()
        found = [one for one in self.controllers if hmac.compare_digest(one.token_sha256, presented)]
        if not found:
            raise NotAuthenticated("this token is not known", reason="TOKEN_INVALID")
        return found[0]

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers that prove whose body it is (OpenDSR 4.2: FIPS 186-4, so RSA or ECDSA). Raises Unavailable (OPENDSR_UNREADABLE)."""
        try:
            key = load_pem_private_key(_read(Path(self.key), MOST_PEM_BYTES), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
            raise _unreadable() from None
        match key:
            case rsa.RSAPrivateKey():
                signature = key.sign(body, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey():
                signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
            case _:
                raise _unreadable()
        return {"x-opendsr-processor-domain": self.domain, "x-opendsr-signature": base64.b64encode(signature).decode()}

    def certificate_pem(self) -> bytes:
        """Raises Unavailable (OPENDSR_UNREADABLE)."""
        try:
            return _read(Path(self.certificate), MOST_PEM_BYTES)
        except OSError:
            raise _unreadable() from None


_decode = msgspec.json.Decoder(Processor).decode


class OpenDsrFile:
    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> Processor | None:
        """None where there is no file: then nobody hands over requests so. Raises Unavailable (OPENDSR_UNREADABLE)."""
        if self._path is None:
            return None
        try:
            return _decode(_read(self._path, MOST_FILE_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            raise _unreadable() from None


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)


def _unreadable() -> Unavailable:
    return Unavailable("what OpenDSR is set up by can't be read", reason="OPENDSR_UNREADABLE")

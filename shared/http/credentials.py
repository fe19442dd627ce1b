"""What stands in an `authorization` header (RFC 7617, RFC 6750)."""

import base64
import binascii


def basic_user(credentials: str) -> str:
    """Of "user:password"; some clients leave the colon out. Empty when it isn't that."""
    return (decoded(credentials) or "").partition(":")[0]


def bearer_token(header: str) -> str:
    """Empty when it is of another scheme."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def decoded(credentials: str) -> str | None:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None

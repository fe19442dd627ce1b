"""Where senders put their write key: into the head, into the address when a page is being left, or into the body."""

from typing import Any

from starlette.requests import Request

from services.ingest.domain.sources import KEY_PREFIX
from shared.http.credentials import basic_user, bearer_token, decoded


def of_request(request: Request) -> str:
    """As the user of basic authentication, as a bearer token, or as `writeKey` in the address; empty: look into the body.

    A token that doesn't look like a write key is of somebody else, of a gateway perhaps.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic" and (write_key := basic_user(credentials)):
        return write_key
    if (token := bearer(request)).startswith(KEY_PREFIX):
        return token
    return request.query_params.get("writeKey", "") if request.scope["query_string"] else ""


def presented(request: Request) -> str:
    """What the head has that is no write key: when none is found anywhere else, it was meant as one, and is unknown."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("basic", "bearer") or (scheme.lower() == "basic" and decoded(credentials) is not None):
        return ""
    return credentials.strip()


def of_body(write_key: Any) -> str:
    return write_key if isinstance(write_key, str) else ""


def bearer(request: Request) -> str:
    return bearer_token(request.headers.get("authorization", ""))

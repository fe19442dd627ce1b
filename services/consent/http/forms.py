"""What a form says that was sent to us, in the two forms that browsers have (and RFC 8058, 3.2, names)."""

from email import message_from_bytes
from urllib.parse import parse_qsl

from starlette.requests import Request

from shared.errors import InvalidInput

FIELDS_AT_MOST = 50  # gateways add many


async def body_of(request: Request, at_most: int) -> bytes:
    """Raises InvalidInput (BODY_TOO_LARGE)."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > at_most:
            raise InvalidInput(f"a body has at most {at_most} bytes", reason="BODY_TOO_LARGE", limit_bytes=at_most)
    return body


def fields_of(content_type: str, body: bytes) -> dict[str, str]:
    """Nothing of what can't be read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_AT_MOST))
    except ValueError:
        return {}


def _multipart(content_type: str, body: bytes) -> dict[str, str]:
    message = message_from_bytes(b"content-type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n" + body)
    found: dict[str, str] = {}
    for part in message.walk():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            found[name] = content.decode(errors="replace").rstrip("\r\n")
    return found

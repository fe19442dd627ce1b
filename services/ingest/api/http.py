"""The HTTP door: the Segment tracking protocol (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api)."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.api import answers
from services.ingest.api.bodies import BodyReader, delivery_of, read_batch, read_item, read_single
from services.ingest.api.settings import browser_settings
from services.ingest.app import Ingest
from services.ingest.domain.call import Delivery
from services.ingest.domain.settings import SourceSettings
from shared.errors import InvalidInput
from shared.telemetry import HTTP_REQUESTS

SINGLE_PATHS: Final = {
    "identify": ("/v1/identify", "/v1/i"),
    "track": ("/v1/track", "/v1/t"),
    "page": ("/v1/page", "/v1/p"),
    "screen": ("/v1/screen", "/v1/s"),
    "group": ("/v1/group", "/v1/g"),
    "alias": ("/v1/alias", "/v1/a"),
}
BATCH_PATHS: Final = ("/v1/batch", "/v1/b")
CLIENT_GONE: Final = 499  # nobody reads it; it is counted

Handler = Callable[[Request], Awaitable[Response]]


class HttpDoor:
    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._bodies = BodyReader()

    async def batch(self, request: Request) -> Response:
        source = await self._source_of_header(request)
        batch = read_batch(await self._bodies.read(request))
        source = source or await self._source_of_body(batch.write_key)
        delivery = delivery_of(batch, source, self._ingest.now())
        return answers.receipt(await self._ingest.record(map(read_item, batch.batch), delivery))

    async def single(self, request: Request, kind: str) -> Response:
        source = await self._source_of_header(request)
        call = read_single(await self._bodies.read(request), kind)
        source = source or await self._source_of_body(call.write_key)
        receipt = await self._ingest.record([call], Delivery(source=source.name, received_at=self._ingest.now(), settings=source))
        verdict = receipt.verdicts[0]
        if verdict.status == "rejected":
            raise InvalidInput(verdict.message, reason=verdict.reason)
        return answers.receipt(receipt)

    async def settings(self, request: Request) -> Response:
        write_key = request.path_params["write_key"]
        await self._ingest.authenticate(write_key)
        scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
        return answers.json_response(200, browser_settings(write_key, scheme, request.url.netloc))

    async def health(self, request: Request) -> Response:
        return answers.json_response(200, {"status": "ok"})

    async def _source_of_header(self, request: Request) -> SourceSettings | None:
        """None: look into the body. Asked first, so that nobody unknown makes us read one."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic" or not (write_key := _write_key_of(credentials)):
            return None
        return await self._ingest.authenticate(write_key)

    async def _source_of_body(self, write_key: Any) -> SourceSettings:
        return await self._ingest.authenticate(write_key if isinstance(write_key, str) else "")


def _write_key_of(credentials: str) -> str:
    """The user of "user:password"; some clients leave the colon out."""
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return decoded.partition(":")[0]


def make_app(ingest: Ingest) -> Starlette:
    door = HttpDoor(ingest)
    routes = [_route(path, "POST", _single(door, kind)) for kind, paths in SINGLE_PATHS.items() for path in paths]
    routes += [_route(path, "POST", door.batch) for path in BATCH_PATHS]
    routes.append(_route("/v1/projects/{write_key}/settings", "GET", door.settings))
    routes.append(_route("/health", "GET", door.health))
    cors = Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-retry-count"],
        max_age=86_400,
    )
    return Starlette(
        routes=routes,
        middleware=[cors],
        exception_handlers={404: _counted("other", answers.not_found), 405: _counted("other", answers.method_not_allowed)},
    )


def _single(door: HttpDoor, kind: str) -> Handler:
    async def handle(request: Request) -> Response:
        return await door.single(request, kind)

    return handle


def _route(path: str, method: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            response = await handler(request)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_GONE)
        except Exception as error:
            response = answers.of_error(error)
        HTTP_REQUESTS.labels(path, str(response.status_code)).inc()
        return response

    return Route(path, endpoint, methods=[method])


def _counted(
    path: str, handler: Callable[[Request, Exception], Awaitable[Response]]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def endpoint(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        HTTP_REQUESTS.labels(path, str(response.status_code)).inc()
        return response

    return endpoint

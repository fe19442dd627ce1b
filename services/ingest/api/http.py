"""The HTTP door: the Segment tracking protocol (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api),
with what the SDKs of other vendors of it call besides.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.ingest.api import answers, away, cloudevents, keys
from services.ingest.api.bodies import BodyReader, delivery_of, key_of, read_batch, read_items, read_single
from services.ingest.api.settings import browser_settings, source_config
from services.ingest.app import Ingest, Recorded
from services.ingest.domain.call import Delivery
from services.ingest.domain.settings import KnownSource
from shared import tracing
from shared.errors import InvalidInput
from shared.http.request_ids import RequestIds
from shared.telemetry import HTTP_REQUESTS

BATCH_PATHS: Final = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
SINGLE_PATHS: Final = {
    "identify": ("/v1/identify", "/v1/i"),
    "track": ("/v1/track", "/v1/t"),
    "page": ("/v1/page", "/v1/p"),
    "screen": ("/v1/screen", "/v1/s"),
    "group": ("/v1/group", "/v1/g"),
    "alias": ("/v1/alias", "/v1/a"),
}
CLOUDEVENTS_PATH: Final = "/v1/cloudevents"
CLIENT_GONE: Final = 499  # nobody reads it; it is counted

Handler = Callable[[Request], Awaitable[Response]]


class HttpDoor:
    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._bodies = BodyReader()

    async def batch(self, request: Request) -> Response:
        source = await self._source_of_head(request)
        async with self._bodies.body_of(request) as body:
            source = source or await self._source_of_body(body, request)
            batch = read_batch(body)
            delivery = delivery_of(batch, source, self._ingest.now(), gpc=_says_gpc(request))
            return answers.recorded(await self._ingest.record(read_items(batch), delivery, len(batch.batch)))

    async def single(self, request: Request, kind: str) -> Response:
        source = await self._source_of_head(request)
        async with self._bodies.body_of(request) as body:
            source = source or await self._source_of_body(body, request)
            recorded = await self._ingest.record([read_single(body, kind)], self._delivery(source, request), 1)
            return answers.recorded(_not_rejected(recorded))

    async def cloudevents(self, request: Request) -> Response:
        source = await self._ingest.authenticate(keys.of_request(request) or keys.presented(request))
        async with self._bodies.body_of(request) as body:
            if cloudevents.is_batch(request.headers):
                items = cloudevents.read_batch(body)
                return answers.recorded(
                    await self._ingest.record(cloudevents.read_items(items), self._delivery(source, request), len(items))
                )
            recorded = await self._ingest.record([cloudevents.read_one(request.headers, body)], self._delivery(source, request), 1)
            return answers.recorded(_not_rejected(recorded))

    async def webhook(self, request: Request) -> Response:
        return cloudevents.allow_webhook()

    async def settings(self, request: Request) -> Response:
        write_key = request.path_params["write_key"]
        await self._ingest.authenticate(write_key)
        scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else request.url.scheme
        settings = browser_settings(write_key, scheme, request.url.netloc)
        return answers.json_response(200, settings, {"cache-control": "no-store"})  # they name the host that was asked

    async def source_config(self, request: Request) -> Response:
        write_key = keys.of_request(request) or keys.presented(request)
        return answers.json_response(200, source_config(write_key, (await self._ingest.authenticate(write_key)).name))

    async def health(self, request: Request) -> Response:
        return answers.json_response(200, {"status": "ok"})

    def _delivery(self, source: KnownSource, request: Request) -> Delivery:
        return Delivery(source=source, received_at=self._ingest.now(), gpc=_says_gpc(request))

    async def _source_of_head(self, request: Request) -> KnownSource | None:
        """None: look into the body. Asked first, so that nobody unknown makes us read one."""
        write_key = keys.of_request(request)
        return await self._ingest.authenticate(write_key) if write_key else None

    async def _source_of_body(self, body: bytes, request: Request) -> KnownSource:
        """Of a body nothing but its key is decoded before we know who sent it."""
        return await self._ingest.authenticate(keys.of_body(key_of(body)) or keys.presented(request))


def _says_gpc(request: Request) -> bool:
    """Only `1` means anything (W3C Global Privacy Control)."""
    return request.headers.get("sec-gpc", "").strip() == "1"


def _not_rejected(recorded: Recorded) -> Recorded:
    """Of one event: raises InvalidInput when it was rejected, so that its sender sees an error."""
    verdict = recorded.verdicts[0]
    if verdict.status == "rejected":
        raise InvalidInput(verdict.message, reason=verdict.reason)
    return recorded


def make_app(ingest: Ingest) -> Starlette:
    door = HttpDoor(ingest)
    routes = [*_routes("POST", door.batch, *BATCH_PATHS)]
    for kind, paths in SINGLE_PATHS.items():
        routes += _routes("POST", _single(door, kind), *paths)
    routes += _routes("POST", door.cloudevents, CLOUDEVENTS_PATH)
    routes += _routes("OPTIONS", door.webhook, CLOUDEVENTS_PATH)
    routes += _routes("GET", door.settings, "/v1/projects/{write_key}/settings")
    routes += _routes("GET", door.source_config, "/sourceConfig")
    routes += _routes("GET", door.health, "/health")
    app = Starlette(
        routes=routes,
        middleware=[Middleware(RequestIds, make=ingest.new_request_id), _cors()],
        exception_handlers={404: _counted("other", answers.not_found), 405: _counted("other", answers.method_not_allowed)},
    )
    app.router.redirect_slashes = False  # SDKs don't follow
    return app


def _cors() -> Middleware:
    """Any page may send: a write key is no secret there, and no cookie is asked for. SDKs differ in the headers they add."""
    return Middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "retry-after"],
        max_age=86_400,
    )


def _single(door: HttpDoor, kind: str) -> Handler:
    async def handle(request: Request) -> Response:
        return await door.single(request, kind)

    return handle


def _routes(method: str, handler: Handler, *paths: str) -> list[Route]:
    """Some SDKs end a path with a slash."""
    return [Route(path + slash, _endpoint(path, handler), methods=[method]) for slash in ("", "/") for path in paths]


def _endpoint(path: str, handler: Handler) -> Handler:
    async def endpoint(request: Request) -> Response:
        try:
            with away.counted("http"), tracing.serving(tracing.begin_by(path, request.headers)):
                response = await handler(request)
        except ClientDisconnect:
            response = Response(status_code=CLIENT_GONE)
        except Exception as error:
            response = answers.of_error(error)
        HTTP_REQUESTS.labels(path, str(response.status_code)).inc()
        return response

    return endpoint


def _counted(
    path: str, handler: Callable[[Request, Exception], Awaitable[Response]]
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def endpoint(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        HTTP_REQUESTS.labels(path, str(response.status_code)).inc()
        return response

    return endpoint

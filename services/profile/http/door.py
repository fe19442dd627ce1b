"""The HTTP edge of profile: who asks, what for, and what of it they get. It decides nothing that the gRPC edge doesn't decide alike."""

import asyncio
import time
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.profile.app import Instant, Profiles
from services.profile.belonging import Belongings
from services.profile.choosing import RulesChoice
from services.profile.disclosed import Disclosed
from services.profile.disclosing import Call
from services.profile.http import answers, resources
from services.profile.http.activities import activities, filter_of
from services.profile.http.address import Target, named, target_of
from services.profile.http.contents import OF_PROFILES, content_of
from services.profile.http.disclosing import call_of, record_key, shown_by
from services.profile.http.queries import Query, query_of
from services.profile.http.resources import Read
from services.profile.origins import Origins
from services.profile.timelines import Filter, Timelines
from shared import tracing
from shared.access_tokens import AccessToken, TokenFile
from shared.errors import DeadlineExceeded, LimitExceeded, NotAuthenticated, NotFound, NotPermitted
from shared.http.credentials import basic_user, bearer_token
from shared.http.request_ids import RequestIds, current
from shared.identifiers import Identifier
from shared.ids import NewId, to_text
from shared.instants import END_OF_TIME
from shared.limits import Limits
from shared.positions import Progress
from shared.rpc.callers import TOLD_OF_NOBODY
from shared.telemetry import HTTP_REQUESTS

METHODS: Final = ("GET", "HEAD")
ANSWER_S: Final = 20.0  # from a whole head to the answer, waiting for a position included
FRESH_WAIT_S: Final = 2.0  # for a position; an event is usually there within a fifth of a second
MAX_READS: Final = 256  # at a time; each holds a profile, and waits for one of a few connections
TAKEN: Final = ("application/json", "application/*", "*/*")


class ProfileDoor:
    """An ASGI application."""

    def __init__(
        self,
        profiles: Profiles,
        belongings: Belongings,
        timelines: Timelines,
        origins: Origins,
        progress: Progress,
        tokens: TokenFile,
        lookup_key: bytes,
        disclosed: Disclosed,
    ) -> None:
        self._profiles = profiles
        self._belongings = belongings
        self._timelines = timelines
        self._origins = origins
        self._progress = progress
        self._tokens = tokens
        self._disclosed = disclosed
        self._tag_key = answers.tag_key(lookup_key)
        self._record_key = record_key(lookup_key)
        self._reading = 0
        self._limits = Limits(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        with tracing.serving(tracing.begin_by("HTTP profile", request.headers)):
            part, response = await self._answer(request)
        HTTP_REQUESTS.labels(part, str(response.status_code)).inc()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> tuple[str, Response]:
        """With the name of what was asked for, which has nothing of the address in it."""
        part = "other"
        try:
            if request.scope["raw_path"] == b"/health":
                return "health", _refused(request) or answers.health()
            target = target_of(request.scope["raw_path"])
            part = target.part
            return part, _refused(request) or await self._part(request, target)
        except Exception as error:
            return part, answers.of_error(error)

    async def _part(self, request: Request, target: Target) -> Response:
        token = self._caller(request)
        if token.space != target.space:
            raise NotPermitted("this access token is for another space", reason="SPACE_NOT_PERMITTED")
        query = query_of(request.scope["query_string"], target.part)
        limited = token.limited()
        self._limits.check(limited, "", 1, (target.person.encode(),))
        if self._reading >= MAX_READS:
            raise LimitExceeded("too many requests at a time; ask again later", reason="OVERLOADED")
        self._reading += 1
        try:
            async with asyncio.timeout(ANSWER_S) as limit:
                content = await self._read(target, query, token)
        except NotFound as unknown:
            if unknown.reason in TOLD_OF_NOBODY:
                self._limits.missed(limited, 1)
            raise
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded("this took too long; ask again", reason="READ_TOO_SLOW") from None
            raise
        finally:
            self._reading -= 1
        return answers.found(content, request.headers.get("if-none-match", ""), self._tag_key)

    def _caller(self, request: Request) -> AccessToken:
        """Raises NotAuthenticated, Unavailable (TOKENS_UNREADABLE)."""
        header = request.headers.get("authorization", "")
        scheme, _, credentials = header.partition(" ")
        presented = basic_user(credentials) if scheme.lower() == "basic" else bearer_token(header)
        if not presented:
            raise NotAuthenticated("give an access token as the user name of basic authentication", reason="TOKEN_MISSING")
        if (token := self._tokens.find(presented)) is None:
            raise NotAuthenticated("this access token is not known, or no longer", reason="TOKEN_INVALID")
        return token

    async def _read(self, target: Target, query: Query, token: AccessToken) -> answers.Content:
        wanted, happened, instant = resources.wanted_by(query, target.part, token.purpose), filter_of(query), self._instant(query)
        choice, version = query.rules(), query.version()
        person = named(target.person)
        await self._progress.wait_all(query.fresh(), FRESH_WAIT_S)
        purpose, call = self._profiles.purpose(token.purpose), Call(call_of(target.part), token.name, current())
        customer = await self._profiles.customer_of(person) if isinstance(person, Identifier) else person
        async with self._disclosed.read(call) as reading:
            reading.asks(purpose, customer)
            if version:
                instant = await self._profiles.at_version(customer, purpose, instant.valid_at, version)
            if target.part == "events":  # the log itself knows what of it is of the past
                profile = await self._disclosed.steady(lambda: self._profiles.permit(customer, purpose))
            else:
                profile = await self._disclosed.steady(lambda: self._profiles.profile(customer, purpose, instant, choice))
            read = Read(target, customer, query, wanted, purpose, instant, profile)
            content = await self._content(read, customer, happened, choice)
            await self._disclosed.give(call, reading, shown_by(read, content, self._record_key))
        return content

    async def _content(self, read: Read, customer: bytes, happened: Filter, choice: RulesChoice) -> answers.Content:
        if read.target.part not in OF_PROFILES:
            told = await activities(read, self._timelines, happened)
            return answers.Content(told, told)
        verbose_traits = read.target.part == "traits" and read.wanted.verbose
        verified = await self._profiles.verified(read.profile, read.instant) if verbose_traits else frozenset()
        belonging = await self._belongings.of(customer, read.purpose, read.instant, choice) if read.asks_for_segments else None
        return await content_of(read, verified, belonging, self._origins)

    def _instant(self, query: Query) -> Instant:
        def past(name: str) -> int:
            return END_OF_TIME if (given := query.instant(name)) is None else self._profiles.past(given)

        return Instant(past("valid_at"), past("known_at"))


def make_app(door: ProfileDoor, new_id: NewId) -> ASGIApp:
    return RequestIds(door, lambda: to_text(new_id()))


def _refused(request: Request) -> Response | None:
    """What no address takes."""
    if request.method not in METHODS:
        return answers.refusal(405, "METHOD_NOT_ALLOWED", "this door is for reading alone", {"allow": ", ".join(METHODS)})
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        return answers.refusal(413, "BODY_NOT_TAKEN", "a read has no body", {"connection": "close"})
    if not _takes_json(request.headers.get("accept", "*/*")):
        return answers.refusal(406, "NOT_ACCEPTABLE", "the answer is application/json")
    return None


def _takes_json(accept: str) -> bool:
    """Of a list of types, whether one is ours and not refused by a weight of nothing (RFC 9110, 12.5.1)."""
    for item in accept.lower().split(","):
        kind, *parameters = (word.strip() for word in item.split(";"))
        if kind in TAKEN and not any(word.startswith("q=") and not word[2:].strip("0.") for word in parameters):
            return True
    return not accept.strip()

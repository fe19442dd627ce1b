"""What tests of the HTTP Profile API share: tokens for purposes, and asking with them."""

import os
import uuid
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from c360.common.v1.common_pb2 import Position

from services.stack.stack import Stack
from shared.access_tokens import TokenFile
from tests.e2e.client import DEADLINE_S

PURPOSES = ("service", "audit", "marketing")


class Reader:
    """A backend with a token for each purpose. A context manager."""

    def __init__(self, stack: Stack, *more: str) -> None:
        self.url = stack.endpoints.profile_http
        self.list = TokenFile(Path(stack.environment_of("profile")["C360_ACCESS_TOKENS_FILE"]))
        self.tokens = {
            purpose: self.list.add(f"{purpose}-{uuid.uuid4().hex[:8]}", "main", purpose, os.urandom)
            for purpose in (*PURPOSES, *more)
        }
        self._client = httpx.Client(base_url=self.url, timeout=DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, person: str, part: str, purpose: str = "audit", headers: Any = None, **parameters: Any) -> httpx.Response:
        return self._client.get(address(person, part), params=parameters, auth=(self.tokens[purpose], ""), headers=headers)

    def get(self, url: str, purpose: str = "audit") -> httpx.Response:
        """As a cursor tells it."""
        return self._client.get(url, auth=(self.tokens[purpose], ""))


def address(person: str, part: str) -> str:
    return f"/v1/spaces/main/collections/users/profiles/{quote(person, safe='')}/{part}"


def fresh(position: Position) -> str:
    return f"{position.log}/{position.partition}/{position.number}"

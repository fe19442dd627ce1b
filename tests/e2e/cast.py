"""Who and what is in the story: synthetic, and new at every run, so that runs can share a stack."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from segment.analytics.client import Client

from tests.e2e.client import Platform

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Cast:
    """One person, her devices, and the instants at which things happen."""

    run: str
    now: datetime
    phone: str

    @staticmethod
    def assemble() -> "Cast":
        # +44 7700 900000-900999 is set aside for fiction and belongs to nobody.
        return Cast(uuid.uuid4().hex[:8], datetime.now(UTC), f"+447700900{random.randrange(1000):03}")

    @property
    def user_id(self) -> str:
        return f"ada-{self.run}"

    @property
    def email(self) -> str:
        return f"ada.{self.run}@example.com"

    @property
    def browser(self) -> str:
        return f"browser-{self.run}"

    @property
    def app_install(self) -> str:
        return f"app-{self.run}"

    @property
    def order_id(self) -> str:
        return f"order-{self.run}"

    def source(self, channel: str) -> str:
        return f"{channel}-{self.run}"

    def ago(self, hours: float) -> datetime:
        return self.now - hours * HOUR


class SdkFailed(AssertionError):
    """The SDK gave up on a batch."""


@contextmanager
def segment_sdk(platform: Platform, write_key: str) -> Iterator[Client]:
    """analytics-python as it comes from PyPI, pointed at our door; on leaving, everything it was given is answered."""
    failures: list[object] = []
    sdk = Client(write_key, host=platform.url, on_error=lambda error, _: failures.append(error), upload_interval=0.1)
    try:
        yield sdk
        sdk.flush()
    finally:
        sdk.join()
    if failures:
        raise SdkFailed(f"the SDK gave up: {failures}")

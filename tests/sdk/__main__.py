"""`make sdk-test`: unmodified SDKs send events to a whole system, and what they sent is counted in profiles.

Exits 0 only when each event of each SDK is found once.
"""

import sys
import tempfile
import time
import uuid

from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.sdk.browsing import BrowsingFailed, browser
from tests.sdk.counting import expected, wait_found
from tests.sdk.installing import has_node
from tests.sdk.senders import BROWSER, SDKS, SendingFailed, Visits, delivered, needs_node

PEOPLE, STEPS = 20, 20
PEOPLE_IN_BROWSER, STEPS_IN_BROWSER = 3, 5  # a request each


def main() -> int:
    sdks = sys.argv[1:] or (SDKS if has_node() else [sdk for sdk in SDKS if not needs_node(sdk)])
    if not has_node():
        print("node and npm are missing (on Debian: apt-get install nodejs npm): only the Python SDKs are tried")
    with (
        tempfile.TemporaryDirectory(prefix="c360-sdk-") as directory,
        Stack(directory, disposable=True) as stack,
        Platform(stack.endpoints) as platform,
    ):
        results = [_try(platform, sdk) for sdk in sdks]
    print(f"{sum(results)} of {len(sys.argv[1:] or SDKS)} SDKs delivered every event once")
    return 0 if all(results) and (len(sys.argv) > 1 or len(results) == len(SDKS)) else 1


def visits_of(sdk: str) -> Visits:
    people, steps = (PEOPLE_IN_BROWSER, STEPS_IN_BROWSER) if sdk in BROWSER else (PEOPLE, STEPS)
    return Visits(f"{''.join(filter(str.isalnum, sdk))}-{uuid.uuid4().hex[:8]}", people, steps)


def _try(platform: Platform, sdk: str) -> bool:
    write_key = platform.register_source(f"sdk-{uuid.uuid4().hex[:12]}")
    visits, started = visits_of(sdk), time.monotonic()
    wanted = expected(sdk, visits)
    try:
        with delivered(sdk, platform.url, write_key, visits):
            seen = wait_found(platform, write_key, sdk, visits)
    except (SendingFailed, BrowsingFailed) as failure:
        print(f"{sdk:<26} failed: {failure}", flush=True)
        return False
    missing, more = (wanted - seen).total(), (seen - wanted).total()
    where = f" in {browser().rpartition('/')[2]}" if sdk in BROWSER else ""
    took = f"{time.monotonic() - started:.1f} s"
    print(
        f"{sdk + where:<36} sent={wanted.total():<4} found={(seen & wanted).total():<4} missing={missing} doubled={more} {took}",
        flush=True,
    )
    return not missing and not more


if __name__ == "__main__":
    sys.exit(main())

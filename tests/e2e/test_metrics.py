"""Every label of a metric has few values, whatever callers send; and what happened is counted."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.ingest.api.http import BATCH_PATHS, CLOUDEVENTS_PATH, SINGLE_PATHS
from services.stack.stack import Stack
from tests.e2e.client import Platform, by_identifier

WORD, REASON = r"[a-z_]{1,40}", r"[A-Z][A-Z_]{2,60}"
PATHS = [*BATCH_PATHS, CLOUDEVENTS_PATH, *(path for paths in SINGLE_PATHS.values() for path in paths)]
# What a label may say. Sources and callers are defined by people, one by one; all else stands in the code.
SAYS = {
    "source": r"[\w.:-]{1,100}",
    "caller": r"[\w.:+-]{0,200}",
    "door": "http|grpc",
    "reason": REASON,
    "rule": REASON,
    "action": WORD,
    "service": "ingest|identity|profile|consent",
    "consumer": r"[a-z ]{1,60}",
    "doing": r"[a-z ]{1,60}",
    "right": WORD,
    "kind": WORD,
    "stream": "INGEST|CUSTOMER|CONSENT|SOURCE|PROFILE|CALLERS",
    "method": r"/[\w.]+/\w+",
    "code": r"[A-Z_]{2,30}",
    "path": "|".join([*map(re.escape, PATHS), r"/[\w/{}.]*", "other", r"[a-z_]{1,30}"]),
    "status": r"[1-5]\d\d",
    "log": WORD,
    "partition": r"\d{1,3}",
    "cache": "answers|states|decisions|owners",
    "outcome": "hit|miss",
    "server": "standby|primary",
    "version": r"\d+\.\d+\.\d+",
    "le": r"[\d.+Inf]+",
}
ODD = f"odd-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def scraped(stack: Stack) -> dict[str, str]:
    """What each service tells, after all kinds of requests."""
    key = stack.write_key()
    with Platform(stack.endpoints) as platform, httpx.Client(base_url=stack.endpoints.ingest_http, auth=(key, "")) as door:
        for path in (f"/{ODD}", f"/v1/{ODD}", f"/v1/track/{ODD}", f"/v1/projects/{ODD}/settings", "/v1/track"):
            door.post(path, json={"userId": ODD, "event": ODD, "type": ODD, "context": {"consent": {ODD: ODD}}})
            door.request(ODD.upper()[:8], path)
        door.post("/v1/batch", json={"batch": [{"type": ODD, "userId": ODD}, {"type": "track", "userId": ODD, "timestamp": ODD}]})
        for _ in range(2):
            platform.get_profile(by_identifier("user_id", ODD), "audit", platform.newest_position(key))
        with suppress(grpc.RpcError):
            platform.get_profile(by_identifier(ODD, ODD), ODD)
        httpx.get(f"{stack.endpoints.consent_http}/{ODD}")
        httpx.get(f"{stack.endpoints.profile_http}/v1/spaces/{ODD}/collections/users/profiles/user_id:{ODD}/{ODD}")
    return {name: httpx.get(url).raise_for_status().text for name, url in stack.endpoints.metrics.items()}


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(text):
        if family.name.startswith("c360_"):
            yield from ((sample.name, sample.labels, sample.value) for sample in family.samples)


def test_a_label_says_what_is_known_beforehand(scraped: dict[str, str]) -> None:
    found = {
        (name, label, said) for text in scraped.values() for name, labels, _ in samples(text) for label, said in labels.items()
    }
    assert {label for _, label, _ in found} <= SAYS.keys()
    assert sorted(one for one in found if not re.fullmatch(SAYS[one[1]], one[2])) == []
    assert [one for one in found if ODD.lower()[:12] in one[2].lower()] == []


def test_what_happened_is_counted(scraped: dict[str, str]) -> None:
    counted: Counter[tuple[str, ...]] = Counter()
    for text in scraped.values():  # each tells of all metrics; of those that aren't its own, nothing happened
        for name, labels, value in samples(text):
            counted[(name, *sorted(labels.values()))] += value  # type: ignore[assignment]
    for name in ("c360_ack_seconds_count", "c360_freshness_seconds_count", "c360_disclosures_total"):
        assert counted[(name,)] > 0, name
    assert counted[("c360_cache_lookups_total", "miss", "owners")] > 0
    assert counted[("c360_writers_fenced_total",)] == 0

"""Asks the services: their health, their metrics, what they have parked."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from services.cli.doctor.finding import Finding, Metrics, of_clock, of_health, of_metrics, of_process, of_untold, of_versions
from services.cli.endpoints import SERVICES, Service, find_address
from services.cli.errors import CommandError

PARKING: Final[tuple[Service, ...]] = ("identity", "profile")
MOST_METRICS_BYTES: Final = 8 * 1024 * 1024
DEFAULT_METRICS: Final = {service: f"http://127.0.0.1:{9101 + place}/metrics" for place, service in enumerate(SERVICES)}


def services(timeout_s: float) -> list[Finding]:
    """Raises Misused."""
    from services.cli.status import ask, ask_all

    found: list[Finding] = []
    versions: dict[str, str] = {}
    for service, told in zip(SERVICES, ask_all(timeout_s), strict=True):
        found += of_health(service, told["address"], told["status"])
        found += _metrics_of(service, timeout_s, versions)
        if service in PARKING and told["status"] in ("SERVING", "NOT_SERVING"):
            found += _parked(service, timeout_s)
        if told["status"] == "SERVING":
            processes = [(service, address) for address in several(told["address"])]
            found += [one for process in ask(processes, timeout_s) for one in of_process(**process)]
    return found + of_versions(versions)


def several(address: str) -> list[str]:
    """The processes that an address names, where it names each: what a name of several has is known to its server alone."""
    scheme, _, named = address.partition(":")
    return named.split(",") if scheme in ("ipv4", "ipv6") else []


def _metrics_of(service: str, timeout_s: float, versions: dict[str, str]) -> list[Finding]:
    url = metrics_address(service, os.environ)
    asked = time.time()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310  # an address of the operator's own # nosec B310
            text = answer.read(MOST_METRICS_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        hint = f"C360_{service.upper()}_METRICS says where they are; without them nothing is known of lag, alarms and its clock"
        return [Finding("unseen", service, f"its metrics at {url} can't be read ({type(error).__name__})", hint)]
    answered, metrics = time.time(), parse(text)
    for labels, _ in metrics.get("c360_build_info", ()):
        versions[service] = labels["version"]
    found = of_metrics(service, metrics)
    for _, theirs in metrics.get("c360_clock_seconds", ()):
        found += of_clock(service, theirs, asked, answered)
    return found


def metrics_address(service: str, environ: Mapping[str, str]) -> str:
    if named := environ.get(f"C360_{service.upper()}_METRICS"):
        return named if "://" in named else f"http://{named}/metrics"
    endpoints = Path(environ.get("C360_DATA_DIR") or ".data") / "endpoints.json"
    try:
        return str(json.loads(endpoints.read_bytes())["metrics"][service])
    except (OSError, ValueError, KeyError, TypeError):
        return DEFAULT_METRICS[service]  # type: ignore[index]


def parse(text: str) -> Metrics:
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        if family.name.startswith("c360_"):
            for sample in family.samples:
                found[sample.name].append((sample.labels, sample.value))
    return found


def _parked(service: Service, timeout_s: float) -> list[Finding]:
    import grpc
    from c360.parked.v1 import parked_pb2, parked_pb2_grpc

    from services.cli.client import open_channel

    try:
        with open_channel(find_address(service, os.environ)) as channel:
            stub: Any = parked_pb2_grpc.ParkedServiceStub(channel)
            page = stub.ListParked(parked_pb2.ListParkedRequest(page_size=100), timeout=timeout_s)
    except grpc.RpcError as error:
        return [of_untold(service, error.code().name)]
    except CommandError as error:
        return [Finding("unseen", service, f"what it has parked can't be asked for: {error}", "mend that")]
    if not page.parked:
        return []
    reasons = ", ".join(sorted({one.reason for one in page.parked}))
    several = f"{len(page.parked)}{' or more' if page.next_page_token else ''}"
    return [
        Finding(
            "wrong",
            service,
            f"{several} parked: {reasons}",
            f"`c360 parked list {service}`, mend the cause, `c360 parked replay {service} --all`; docs/operations.md has the reasons",
        )
    ]

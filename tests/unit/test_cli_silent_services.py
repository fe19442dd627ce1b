"""`c360 status` and `c360 doctor` are asked when something is broken: whatever services answer, they tell what they know."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.doctor.command import SAID
from services.cli.endpoints import SERVICES

FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


class Failing(grpc.GenericRpcHandler):
    """Fails any call in one way."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def service(self, handler_call_details: Any) -> Any:
        def fail(_: bytes, context: Any) -> None:
            context.abort(self._code, "it can't\x1b[2J")

        return grpc.unary_unary_rpc_method_handler(fail)


@contextmanager
def serving(code: grpc.StatusCode) -> Iterator[dict[str, str]]:
    """All services at one address, healthy, and failing whatever else they are asked. Their environment."""
    server = grpc.server(ThreadPoolExecutor(8))
    health = HealthServicer()
    health.set("", health_pb2.HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(health, server)
    server.add_generic_rpc_handlers((Failing(code),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield {f"C360_{service.upper()}_ADDRESS": f"127.0.0.1:{port}" for service in SERVICES}
    finally:
        server.stop(None).wait()


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner(env=environment).invoke(app, [*arguments, "--timeout", "20"])


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_status_shows_its_table_and_says_what_wasnt_told(code: grpc.StatusCode) -> None:
    with serving(code) as environment:
        shown, told = run(environment, "status"), run(environment, "status", "--json")
    assert (shown.exit_code, shown.stdout.count("SERVING"), "Traceback" in shown.stderr) == (0, len(SERVICES), False)
    reason = "NOT_REACHABLE" if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED) else code.name
    lines = shown.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "identity didn't tell of its rules",
        "identity didn't tell of its model",
        "consent didn't tell of rights requests",
        "consent didn't tell of reviews of broken glass",
    ]
    assert all(f": {reason}: " in line and line.isprintable() for line in lines)
    ingest, identity, profile, consent = json.loads(told.stdout)
    assert identity["under_way"] == consent["due"] == []
    assert identity["not_told"] + consent["not_told"] == lines
    assert "not_told" not in ingest | profile


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_the_doctor_blames_a_token_for_no_more_than_it_causes(code: grpc.StatusCode, nothing_else: dict[str, str]) -> None:
    with serving(code) as environment:
        told = json.loads(run(environment | nothing_else, "doctor", "--json").stdout)
    parked = [one for one in told["findings"] if "parked" in one["what"]]
    assert [(one["subject"], one["severity"], code.name in one["what"]) for one in parked] == [
        ("identity", "unseen", True),
        ("profile", "unseen", True),
    ]
    of_token = code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    assert ["C360_TOKEN" in one["to_do"] for one in parked] == [of_token, of_token]


def test_the_doctor_says_what_to_do_on_a_line_of_its_own(nothing_else: dict[str, str]) -> None:
    with serving(grpc.StatusCode.DEADLINE_EXCEEDED) as environment:
        shown = run(environment | nothing_else, "doctor").stdout.splitlines()
        told = json.loads(run(environment | nothing_else, "doctor", "--json").stdout)["findings"]
    assert "\\x" not in "".join(shown)
    expected = [line for one in told for line in (*one["what"].splitlines(), one["to_do"])]
    assert [line.strip().removeprefix(begin) for line, begin in zip(shown[:-1], _begins(told), strict=True)] == expected
    assert {line.startswith("    ") for line in shown if line.strip() in {one["to_do"] for one in told}} == {True}


def _begins(told: list[dict[str, str]]) -> list[str]:
    """What stands before each line that a finding has: only before its first."""
    return [
        begin for one in told for begin in (f"{SAID[one['severity']]}: {one['subject']}: ", *[""] * len(one["what"].splitlines()))
    ]


@pytest.fixture
def nothing_else(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Neither a stack nor servers of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    metrics = {f"C360_{service.upper()}_METRICS": "http://127.0.0.1:1/metrics" for service in SERVICES}
    return metrics | {"C360_NATS_MONITOR": "http://127.0.0.1:1"}

"""`c360 status`: are the services there?"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import typer

from services.cli import render
from services.cli.client import connect, open_channel
from services.cli.endpoints import SERVICES, Service, find_address
from services.cli.errors import CommandError
from services.cli.options import DEFAULT_TIMEOUT_S, AsJson, TimeoutS
from services.cli.paging import PAGE
from shared.health import STANDS_BY


class Question(NamedTuple):
    service: Service
    kind: str
    of: str
    ask: Callable[[float], list[str]]


def status(as_json: AsJson = False, timeout_s: TimeoutS = DEFAULT_TIMEOUT_S) -> None:
    """Show the health and address of every service, what identity is still following, and which rights requests and reviews are due. Exit code 1 if any is not SERVING."""
    found = ask_all(timeout_s)
    serving = {item["service"] for item in found if item["status"] == "SERVING"}
    told, unasked = _answers([question for question in QUESTIONS if question.service in serving], timeout_s)
    if as_json:
        kinds: dict[str, dict[str, list[str]]] = {"identity": {"under_way": []}, "consent": {"due": []}}
        more = {service: named | {"not_told": []} for service, named in kinds.items()}
        for question, lines in told:
            more[question.service][question.kind] += lines
        for question, line in unasked:
            more[question.service]["not_told"].append(line)
        render.document([item | more.get(item["service"], {}) for item in found])
    else:
        render.table("Services", ("service", "address", "status"), [tuple(item.values()) for item in found])
        for line in [*(line for _, lines in told for line in lines), *(line for _, line in unasked)]:
            render.note(line)
    if any(item["status"] != "SERVING" for item in found):
        raise typer.Exit(1)


def _answers(
    questions: Sequence[Question], timeout_s: float
) -> tuple[list[tuple[Question, list[str]]], list[tuple[Question, str]]]:
    """What was told, and in words what wasn't: who asks this first has trouble, and no question may cost the others. All at once,
    since what one of them waits for the others wait for too."""
    from concurrent.futures import ThreadPoolExecutor

    told: list[tuple[Question, list[str]]] = []
    unasked: list[tuple[Question, str]] = []
    with ThreadPoolExecutor(len(QUESTIONS)) as threads:
        for question, asked in [(question, threads.submit(question.ask, timeout_s)) for question in questions]:
            try:
                told.append((question, asked.result()))
            except CommandError as error:
                why = render.printable(f"{error.reason}: {error.message}")
                unasked.append((question, f"{question.service} didn't tell of {question.of}: {why}"))
    return told, unasked


def ask_all(timeout_s: float) -> list[dict[str, str]]:
    """Each service at the address, or the addresses, that it is known by."""
    return ask([(service, find_address(service, os.environ)) for service in SERVICES], timeout_s)


def ask(processes: Sequence[tuple[Service, str]], timeout_s: float) -> list[dict[str, str]]:
    """All at once, so that several silent ones cost one timeout, not four."""
    from contextlib import ExitStack

    from grpc_health.v1 import health_pb2_grpc

    with ExitStack() as open_channels:
        asked: list[tuple[Service, str, Any, Any]] = []
        for service, address in processes:
            channel = open_channels.enter_context(open_channel(address))
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its type stub knows no methods
            asked.append((service, address, stub, _check(stub, "", timeout_s)))
        return [
            {"service": service, "address": address, "status": _of_standby(stub, _word(call), timeout_s)}
            for service, address, stub, call in asked
        ]


def _check(stub: Any, name: str, timeout_s: float) -> Any:
    from grpc_health.v1 import health_pb2

    return stub.Check.future(health_pb2.HealthCheckRequest(service=name), timeout=timeout_s)


def _of_standby(stub: Any, word: str, timeout_s: float) -> str:
    """What doesn't serve may stand by for another process, and then says so."""
    stands_by = word == "NOT_SERVING" and _word(_check(stub, STANDS_BY, timeout_s)) == "SERVING"
    return "STANDBY" if stands_by else word


def _rules(timeout_s: float) -> list[str]:
    """How far the graph follows rules that were activated."""
    from c360.identity.v1 import rules_pb2, rules_pb2_grpc

    with connect("identity") as channel:
        stub: rules_pb2_grpc.RulesServiceStub = rules_pb2_grpc.RulesServiceStub(channel)
        rules = stub.GetRules(rules_pb2.GetRulesRequest(), timeout=timeout_s)
    if rules.rules.settled:
        return []
    return [f"rules v{rules.rules.version}: {rules.settled_identifiers} of {rules.identifiers} identifiers follow"]


def _model(timeout_s: float) -> list[str]:
    """How far it follows a model that was."""
    from c360.identity.v1 import matching_pb2, matching_pb2_grpc

    with connect("identity") as channel:
        stub: matching_pb2_grpc.MatchingServiceStub = matching_pb2_grpc.MatchingServiceStub(channel)
        model = stub.GetModel(matching_pb2.GetModelRequest(), timeout=timeout_s)
    if model.activation.settled:
        return []
    return [f"model {model.version}: {model.compared_records} of {model.records} records are compared by it"]


def _due(timeout_s: float) -> list[str]:
    """How many rights requests are open, and until when the first of them has to be answered."""
    from c360.consent.v1 import rights_pb2, rights_pb2_grpc

    with connect("consent") as channel:
        stub: rights_pb2_grpc.RightsServiceStub = rights_pb2_grpc.RightsServiceStub(channel)
        page = stub.ListRightsRequests(rights_pb2.ListRightsRequestsRequest(page_size=PAGE), timeout=timeout_s)
    if not page.requests:
        return []
    several = f"{len(page.requests)}{' or more' if page.next_page_token else ''}"
    overdue = sum(one.overdue for one in page.requests)
    return [f"rights requests: {several} open, {overdue} overdue, the first due on {page.requests[0].due_date}; `c360 rights list`"]


def _reviews(timeout_s: float) -> list[str]:
    """Of what was read while the glass was broken."""
    from services.cli.definitions import reviews_due

    due = reviews_due(timeout_s)
    return [f"break-glass: {len(due)} over and not reviewed, {due[0]} first; `c360 consent overrides list`"] if due else []


def _word(call: Any) -> str:
    import grpc
    from grpc_health.v1 import health_pb2

    try:
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(call.result().status))
    except grpc.RpcError as error:
        code = error.code()
        return "NOT_REACHABLE" if code is grpc.StatusCode.UNAVAILABLE else code.name


QUESTIONS = (
    Question("identity", "under_way", "its rules", _rules),
    Question("identity", "under_way", "its model", _model),
    Question("consent", "due", "rights requests", _due),
    Question("consent", "due", "reviews of broken glass", _reviews),
)

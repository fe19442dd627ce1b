"""Whatever comes over gRPC, every method of every service answers or says what is wrong: never an internal error, and it lives on."""

from collections.abc import Iterator
from typing import Final

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.stack.ports import SERVICES
from services.stack.stack import Stack
from tests.e2e.client import Platform
from tests.live.erasing import identify
from tests.live.messages import requests
from tests.live.served import called, methods_of, path_of
from tests.stacks import fresh_stack

BROKEN: Final = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
PATIENCE_S: Final = 2.0  # of what waits for a position that never comes, and of watches that have nothing to tell
REQUESTS_EACH: Final = 4  # an example; of one method


class Fuzzed:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.channels = {name: grpc.insecure_channel(getattr(stack.endpoints, name)) for name in SERVICES}
        self.methods = {name: {path_of(one): one for one in methods_of(channel)} for name, channel in self.channels.items()}
        self.pids = {name: stack.pid(name) for name in SERVICES}

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Fuzzed]:
    """Of its own: who may be anybody erases, merges and defines what they like."""
    with fresh_stack() as stack:
        with Platform(stack.endpoints) as platform:
            platform.record(platform.register_source("demo"), identify({"email": "ada@example.com"}, user_id="ada"))
        made = Fuzzed(stack)
        yield made
        made.close()


@pytest.mark.parametrize("service", SERVICES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_request_gets_an_internal_error(fuzzed: Fuzzed, service: str, data: st.DataObject) -> None:
    methods = fuzzed.methods[service]
    method = methods[data.draw(st.sampled_from(sorted(methods)), label="method")]
    for request in data.draw(st.lists(requests(method.input_type), min_size=1, max_size=REQUESTS_EACH), label="requests"):
        status, reason = called(fuzzed.channels[service], method, request, timeout_s=PATIENCE_S)
        assert status not in BROKEN, (method.full_name, reason, fuzzed.stack.log_tail(service))


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_of_it_was_unforeseen_and_the_service_lives_on(fuzzed: Fuzzed, service: str) -> None:
    log = fuzzed.stack.log_lines(service)
    assert [line for line in log if "Traceback" in line or '"unforeseen error"' in line] == []
    assert fuzzed.stack.pid(service) == fuzzed.pids[service]
    assert fuzzed.stack.is_ready(service)


@pytest.mark.parametrize("method", ["PlanService/ListPlans", "PlanService/GetPlan", "SourceService/ListKeys"])
def test_a_text_that_no_column_takes_is_refused(fuzzed: Fuzzed, method: str) -> None:
    called_one = fuzzed.methods["ingest"][f"/c360.ingest.v1.{method}"]
    assert called(fuzzed.channels["ingest"], called_one, b"\n\x01\x00") == ("INVALID_ARGUMENT", "TEXT_INVALID")

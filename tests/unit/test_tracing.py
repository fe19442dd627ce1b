"""What is carried between processes, and that nothing is where traces are off."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared import tracing
from shared.tracing.spans import MOST_BEGUN_A_SECOND, Spans

PARENTS = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 40)]
SAID = "somebody@example.com"


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.carry_on(Spans(provider, 0.5, lambda: 0.6, lambda: 0.0))
    yield exporter
    tracing.carry_on(None)


@pytest.mark.usefixtures("kept")
def test_what_goes_into_headers_comes_out_of_them() -> None:
    for traces in ((), (PARENTS[0],), tuple(PARENTS[:5])):
        assert tracing.of_headers(tracing.to_headers(traces)) == traces


@pytest.mark.usefixtures("kept")
def test_headers_of_others_bring_at_most_so_many_and_nothing_that_is_no_trace() -> None:
    headers = {"traceparent": SAID, "c360-traceparents": ",".join([SAID, "", PARENTS[0].upper(), *PARENTS])}
    assert set(tracing.of_headers(headers)) <= set(PARENTS)
    assert len(tracing.of_headers(headers)) <= tracing.MOST_CARRIED


@pytest.mark.usefixtures("kept")
def test_a_batch_goes_on_in_each_trace_once_and_in_a_bounded_number() -> None:
    assert tracing.together([(PARENTS[0],), (), (PARENTS[1], PARENTS[0])]) == tuple(PARENTS[:2])
    assert len(tracing.together([(one,) for one in PARENTS])) == tracing.MOST_CARRIED


@pytest.mark.parametrize("given", ["", "00-", SAID, f"00-{'0' * 32}-{1:016x}-01", f"01-{1:032x}-{1:016x}-01"])
@pytest.mark.usefixtures("kept")
def test_what_is_no_traceparent_leaves_it_to_chance(given: str) -> None:
    assert tracing.is_sampled(given) is None
    assert tracing.begin("door", given) is None


@pytest.mark.usefixtures("kept")
def test_a_process_begins_so_many_traces_a_second_whoever_asks() -> None:
    begun = [tracing.begin("door", PARENTS[0]) for _ in range(2 * MOST_BEGUN_A_SECOND)]
    assert sum(one is not None for one in begun) == MOST_BEGUN_A_SECOND


def test_a_failure_is_told_by_its_class_alone(kept: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match=SAID), tracing.serving(tracing.begin("door", PARENTS[0])):
        raise ValueError(SAID)
    [span] = kept.get_finished_spans()
    assert span.status.description is None
    assert span.attributes == {"error.type": "ValueError"}
    assert SAID not in span.to_json()


def test_a_stage_has_a_span_in_every_trace_and_carries_on_from_there(kept: InMemorySpanExporter) -> None:
    with tracing.stage("unit", tuple(PARENTS[:3]), messages=2):
        carried = tracing.carried()
    assert tracing.carried() == ()
    spans: list[Any] = list(kept.get_finished_spans())
    assert [f"{span.context.trace_id:032x}" for span in spans] == [one.split("-")[1] for one in PARENTS[:3]]
    assert [f"{span.context.span_id:016x}" for span in spans] == [one.split("-")[2] for one in carried]
    assert {tuple((span.attributes or {}).items()) for span in spans} == {(("c360.messages", 2),)}


def test_where_there_are_no_traces_nothing_is_made_and_nothing_read() -> None:
    assert tracing.begin("door", PARENTS[0]) is None
    assert tracing.of_headers({"traceparent": PARENTS[0]}) == ()
    with tracing.stage("unit", tuple(PARENTS)):
        assert tracing.carried() == ()

"""Traces (OpenTelemetry): one trace id from the request that brings an event to the profile that shows it.

Off unless started; then nothing of OpenTelemetry is imported, and a stage costs one look at a variable. What is carried between
processes, and between tasks, are W3C `traceparent`s of the requests that were sampled, as a tuple: a stage works on what many requests
brought, and has a span in the trace of each. Attributes are counts and words of ours; what came in a request has no attribute.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from shared.tracing.spans import Spans

MOST_CARRIED: Final = 16  # traces that a batch goes on in; of more that are sampled the first
HEADER: Final = "traceparent"  # https://www.w3.org/TR/trace-context/
OTHERS: Final = "c360-traceparents"  # of a batch, behind the first
_SAMPLED: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf]")
_UNSAMPLED: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][02468ace]")

Traces = tuple[str, ...]

_spans: "Spans | None" = None
_carried: ContextVar[Traces] = ContextVar("traces", default=())
_nothing: Final = nullcontext()


def carry_on(spans: "Spans | None") -> None:
    """From here on spans are made; None: no more."""
    global _spans  # noqa: PLW0603  # as loggers and metrics, this is one for a process
    _spans = spans


def carried() -> Traces:
    """The sampled traces that this task works for."""
    return _carried.get()


def begin(name: str, given: str) -> Any:
    """A span at a door, None of what isn't sampled. `given` is the `traceparent` that came with the request, if any."""
    return None if _spans is None else _spans.at_door(name, given, is_sampled(given))


def begin_of(name: str, metadata: Iterable[tuple[str, str | bytes]]) -> Any:
    """As `begin`, by a gRPC call's metadata."""
    if _spans is None:  # what most calls cost
        return None
    given = next((value for key, value in metadata if key == HEADER), "")
    return begin(name, given if isinstance(given, str) else "")


def begin_by(name: str, headers: Mapping[str, str]) -> Any:
    """As `begin`, by an HTTP request's headers."""
    return None if _spans is None else begin(name, headers.get(HEADER, ""))


def finish(span: Any, failure: str = "") -> None:
    """`failure` is a word of ours, such as a status."""
    if span is not None and _spans is not None:
        _spans.end(span, failure)


def serving(span: Any) -> AbstractContextManager[None]:
    """What is done within is done for the request of `span`, which it ends."""
    return _nothing if span is None or _spans is None else _in_spans(_spans, [span], _spans.within(span))


def stage(name: str, traces: Traces, **counts: int) -> AbstractContextManager[None]:
    """A span in each of `traces`; what is done within carries on from there."""
    if _spans is None or not traces:
        return _nothing
    begun = [_spans.behind(name, trace, counts) for trace in traces]
    return _in_spans(_spans, begun, tuple(map(_spans.traceparent, begun)))


@contextmanager
def _in_spans(spans: "Spans", begun: Sequence[Any], traces: Traces) -> Iterator[None]:
    """Log lines of what is done within tell the first of the traces."""
    failure = ""
    try:
        with carrying(traces), bound_contextvars(trace_id=traces[0].split("-")[1]):
            yield
    except BaseException as error:
        failure = type(error).__name__
        raise
    finally:
        for span in begun:
            spans.end(span, failure)


@contextmanager
def carrying(traces: Traces) -> Iterator[None]:
    token = _carried.set(traces)
    try:
        yield
    finally:
        _carried.reset(token)


def together(each: Iterable[Traces]) -> Traces:
    """Of a batch, each trace once."""
    if _spans is None:
        return ()
    return tuple(dict.fromkeys(trace for traces in each for trace in traces))[:MOST_CARRIED]


def to_headers(traces: Traces) -> dict[str, str]:
    if not traces:
        return {}
    return {HEADER: traces[0], OTHERS: ",".join(traces[1:])} if len(traces) > 1 else {HEADER: traces[0]}


def of_headers(headers: Mapping[str, str] | None) -> Traces:
    """What is no `traceparent` of a sampled trace is left out."""
    if _spans is None or not headers or HEADER not in headers:
        return ()
    others: Sequence[str] = headers.get(OTHERS, "").split(",")[: MOST_CARRIED - 1]
    return tuple(one for one in (headers[HEADER], *others) if _SAMPLED.fullmatch(one))


def is_sampled(given: str) -> bool | None:
    """None: whoever asks says nothing of it."""
    if _SAMPLED.fullmatch(given):
        return True
    return False if _UNSAMPLED.fullmatch(given) else None

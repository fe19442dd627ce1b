"""The reference of metrics, made of `shared/telemetry.py`."""

from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

from docs_site.naming import cell
from shared import telemetry

_KINDS = (Counter, Gauge, Histogram)


def metrics_page() -> str:
    lines = [
        "# Metrics",
        "",
        "What services tell Prometheus at `/metrics` ([where](../index.md#configure-it)); no label has personal data. Counters end in `_total`",
        "there, histograms in `_bucket`, `_sum` and `_count`. What to watch: [operations](../operations.md#a-consumer-lags); what to do:",
        "[runbooks](../runbooks/index.md).",
        "",
        "| metric | kind | labels | |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *sorted(_rows())]) + "\n"


def _rows() -> Iterator[str]:
    for metric in vars(telemetry).values():
        if isinstance(metric, _KINDS):
            told = next(iter(metric.describe()))
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"| `{told.name}` | {told.type} | {labels} | {cell(told.documentation)} |"

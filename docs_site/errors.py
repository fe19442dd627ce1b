"""The reasons of refusals, as the comments of the methods list them: `NOT_FOUND (CUSTOMER_UNKNOWN, ...)`."""

import re
from collections import defaultdict

import grpc

from docs_site.descriptors import METHODS, Described
from docs_site.naming import anchor, page_of, prose

_STATUSES = "|".join(status.name for status in grpc.StatusCode)
_LISTED = re.compile(rf"\b({_STATUSES})\s+\(([^)]*)\)")
_REASON = re.compile(r"(?:^|[,;]|\bor|\band)\s*([A-Z][A-Z_]{2,})\b")
_REFUSALS = re.compile(r"\n(Errors\b)")
_WORD = re.compile(r"`[^`]*`|\b[A-Z][A-Z_]+\b")

Reasons = dict[str, dict[str, list[str]]]
"""By status, by reason: links to the methods that say so."""


def listed(comment: str) -> list[tuple[str, str]]:
    """Each status with a reason that the comment of a method names behind it."""
    found = _LISTED.findall(comment.replace("\n", " "))
    return [(status, reason) for status, inside in found for reason in _REASON.findall(inside)]


def method_prose(comment: str) -> str:
    """A method's comment as Markdown, with its refusals in a paragraph of their own and their names as code."""
    names = {word for pair in listed(comment) for word in pair}
    apart = _REFUSALS.sub(r"\n\n\1", comment, count=1)
    return prose(_WORD.sub(lambda found: f"`{found.group()}`" if found.group() in names else found.group(), apart))


def errors_page(files: list[Described]) -> str:
    lines = [
        "# Errors",
        "",
        "A refusal has a gRPC status and, in `google.rpc.ErrorInfo`, a reason for machines: `grpc-status-details-bin` of the trailers. `UNAVAILABLE` says",
        "when to come again (`google.rpc.RetryInfo`). What the text says is for people and may change; the reason stays. Below is what the methods",
        "themselves name; many answer as another does (`Errors: as GetProfile`).",
    ]
    for status, reasons in sorted(_reasons(files).items()):
        lines += ["", f"## {status}", "", "| reason | named by |", "|---|---|"]
        lines += [f"| `{reason}` | {', '.join(methods)} |" for reason, methods in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def _reasons(files: list[Described]) -> Reasons:
    reasons: Reasons = defaultdict(lambda: defaultdict(list))
    for each in files:
        page = page_of(each.file.name).removeprefix("reference/")
        for place, service in each.services():
            for index, method in enumerate(service.method):
                at = anchor(f"{each.file.package}.{service.name}.{method.name}")
                for status, reason in dict.fromkeys(listed(each.comment(*place, METHODS, index))):
                    reasons[status][reason].append(f"[{service.name}.{method.name}]({page}#{at})")
    return reasons

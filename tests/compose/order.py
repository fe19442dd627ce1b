"""In which order containers came to be: what waits for another one started after that was well, or done."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LABEL = "com.docker.compose.service"


class Happened(NamedTuple):
    container: str
    what: str  # "start", "healthy", or "die 0" with the exit code
    at_ns: int


def happenings(events: Sequence[Mapping[str, Any]]) -> list[Happened]:
    """Of what `docker events --format '{{json .}}'` tells, the part that counts here."""
    found = []
    for event in events:
        action = str(event.get("Action", ""))
        about = event.get("Actor", {}).get("Attributes", {})
        what = {"start": "start", "die": f"die {about.get('exitCode')}", "health_status: healthy": "healthy"}.get(action)
        if what and LABEL in about:
            found.append(Happened(str(about[LABEL]), what, int(event["timeNano"])))
    return found


def cut_off(happened: Sequence[Happened]) -> list[str]:
    """Who was asked to end and didn't do so by itself, or not well."""
    return [f"{one.container}: {one.what}" for one in happened if one.what.startswith("die ") and one.what != "die 0"]


def too_early(dependencies: Mapping[str, Mapping[str, str]], happened: Sequence[Happened]) -> list[str]:
    """`dependencies`: container, what it waits for, and the condition, as in docker-compose.yml."""
    first: dict[tuple[str, str], int] = {}
    for one in happened:
        first.setdefault((one.container, one.what), one.at_ns)
    found = []
    for container, awaited in dependencies.items():
        for other, condition in awaited.items():
            needed = "die 0" if condition == "service_completed_successfully" else "healthy"
            started, was = first.get((container, "start")), first.get((other, needed))
            if started is None or was is None or was > started:
                found.append(f"{container} started before {other} was {needed}")
    return found

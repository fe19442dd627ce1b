"""What the services of a whole stack have written, one JSON object a line."""

import json

import httpx

from services.stack.ports import SERVICES
from services.stack.stack import Stack


def test_every_line_of_every_service_is_an_object(stack: Stack) -> None:
    httpx.post(f"{stack.endpoints.ingest_http}/v1/track", content=b"\xff", auth=(stack.write_key(), ""))
    for service in SERVICES:
        lines = (stack.data_directory / "logs" / f"{service}.log").read_text().splitlines()
        assert lines
        for line in lines:
            entry = json.loads(line)
            assert {"event", "level", "timestamp", "service", "pid"} <= entry.keys(), line
            assert entry["service"] == service

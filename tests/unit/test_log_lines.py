"""A service's log is one JSON object a line, whoever writes it."""

import json
import subprocess
import sys

SAYS_ALL = """
import asyncio, gc, logging, threading, warnings
import structlog
from shared import telemetry
from shared.logs import start_logging

class Fails:
    def __del__(self):
        raise ValueError("unraisable")

async def fail():
    raise ValueError("forgotten")

async def forget():
    asyncio.create_task(fail())
    await asyncio.sleep(0)
    gc.collect()

def raises():
    raise ValueError("in a thread")

start_logging("ingest", "info")
structlog.contextvars.bind_contextvars(request_id="r1", trace_id="t1")
telemetry.logger("door").info("ours", source="shop")
logging.getLogger("uvicorn.error").error("theirs\\nin two lines of %s", "text")
try:
    raises()
except ValueError:
    logging.getLogger("nats").exception("with a traceback")
warnings.warn("a warning")
other = threading.Thread(target=raises)
other.start()
other.join()
Fails()
asyncio.run(forget())
raises()
"""


def test_every_line_is_one_object_that_says_whose_it_is() -> None:
    done = subprocess.run((sys.executable, "-c", SAYS_ALL), capture_output=True, text=True, check=False)
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(entries) == 8
    for entry in entries:
        assert {"event", "level", "timestamp"} <= entry.keys()
        assert entry["service"] == "ingest"
        assert isinstance(entry["pid"], int)
    tracebacks = [entry["exception"] for entry in entries if "exception" in entry]
    assert len(tracebacks) == 5
    assert all(told.startswith("Traceback") and told.count("\n") > 1 for told in tracebacks)
    assert [entry["request_id"] for entry in entries[:3]] == ["r1", "r1", "r1"]
    assert {entry.get("trace_id") for entry in entries[:3]} == {"t1"}
    assert (done.returncode, done.stdout) == (1, "")

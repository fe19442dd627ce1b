"""Sends the visits of some people with one SDK: python send.py MODULE URL WRITE_KEY PREFIX PEOPLE STEPS"""

import importlib
import sys
from typing import Any

RETRIES = 30  # a door that is being restarted is back within seconds


def main(module: str, url: str, write_key: str, prefix: str, people: int, steps: int) -> int:
    client_of = importlib.import_module(f"{module}.client").Client
    failures: list[Any] = []
    client = client_of(write_key, host=url, max_retries=RETRIES, on_error=lambda error, batch: failures.append(error))
    for number in range(people):
        user_id = f"{prefix}-{number}"
        client.identify(user_id, {"email": f"{user_id}@example.com", "seat": number})
        for step in range(1, steps + 1):
            client.track(user_id, f"Step {step}", {"step": step})
        client.page(user_id, name="Home", properties={"path": "/"})
        client.screen(user_id, name="Start")
        client.group(user_id, f"{prefix}-club", {"size": 3})
        client.alias(f"{user_id}-before", user_id)
    client.shutdown()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    named = dict(zip(("module", "url", "write_key", "prefix"), sys.argv[1:5], strict=True))
    sys.exit(main(**named, people=int(sys.argv[5]), steps=int(sys.argv[6])))

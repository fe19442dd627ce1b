"""`python -m tests.e2e.demo`, or `make demo`: plays the story of one customer against a throw-away stack."""

import sys
import tempfile

import grpc

from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.stack import Stack
from shared.rpc.errors import reason_of
from tests.e2e.cast import SdkFailed
from tests.e2e.client import Platform
from tests.e2e.narrator import StoryBroken
from tests.e2e.story import Story

SEPARATOR = "-" * 100


def main() -> int:
    print("customer360: the story of one customer, on a stack of its own")
    with tempfile.TemporaryDirectory(prefix="c360-demo-") as directory:
        stack = Stack(directory, console=Console(sys.stdout), disposable=True)
        try:
            with stack:
                return _play(stack)
        except StackError as error:
            return _failed(str(error))


def _play(stack: Stack) -> int:
    try:
        with Platform(stack.endpoints) as platform:
            told = Story(platform, {"C360_DATA_DIR": str(stack.data_directory)}).play()
    except (StoryBroken, SdkFailed) as error:
        return _failed(str(error), stack)
    except grpc.RpcError as error:
        return _failed(f"a call was refused: {error.code().name} {reason_of(error)}: {error.details()}", stack)
    print(f"\nthe story holds: {told.chapters} chapters, {told.checks} checks", flush=True)
    return 0


def _failed(why: str, stack: Stack | None = None) -> int:
    print(f"\nTHE STORY DOES NOT HOLD\n{why}", flush=True)
    for name in stack.services if stack else ():
        print(f"{SEPARATOR}\nend of the log of {name}\n{stack.log_tail(name) if stack else ''}", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())

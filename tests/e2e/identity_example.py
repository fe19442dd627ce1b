"""`python -m tests.e2e.identity_example` plays the commands of docs/identity.md on a throw-away stack and writes down what they say.

A block ```console of the page is what a person types, after "$ ", and what the terminal answers. `$DECISION` and `$PROPOSAL`
are the ids of the last decision and the last open proposal, as a person would copy them.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg

from services.stack.stack import Stack

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
SERVICES = ("ingest", "identity")
COLUMNS = "250"  # nothing is folded
DEADLINE_S = 30.0
SECONDS_AGO = re.compile(r"^\$ .* -\d+s\b", re.M)
LISTED = {"$DECISION": ("decisions", "decision_id"), "$PROPOSAL": ("proposals", "proposal_id")}
# What is another at every installation: ids, keyed hashes, instants, positions; and the width of columns, which follows from them.
VARIES = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"#[0-9a-f]{8}|\b[0-9a-f]{32}\b"), "HASH"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"(ingest|customer)/\d+/\d+"), "POSITION"),
    (re.compile(r"─+"), "─"),
    (re.compile(r" +"), " "),
)


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="c360-example-") as directory,
        Stack(directory, services=SERVICES, disposable=True) as stack,
    ):
        PAGE.write_text(play(PAGE.read_text(), stack))
    return 0


def canonical(page: str) -> str:
    """Without what is another at every installation."""
    for pattern, word in VARIES:
        page = pattern.sub(word, page)
    return re.sub(r" +$", "", page, flags=re.MULTILINE)


def play(page: str, stack: Stack) -> str:
    """The page as its commands answer now. Raises AssertionError when one fails."""
    terminal = Terminal(stack)
    return BLOCK.sub(lambda block: f"```console\n{terminal.play(block[1])}```", page)


class Terminal:
    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._folder = Path(stack.data_directory) / "example"
        self._folder.mkdir()
        path = os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"))
        key, data = stack.write_key(), str(stack.data_directory)
        self._environment = {"PATH": path, "C360_DATA_DIR": data, "C360_WRITE_KEY": key, "COLUMNS": COLUMNS, "PYTHONUTF8": "1"}

    def play(self, block: str) -> str:
        assert not SECONDS_AGO.search(block), f"by the machine's speed this is before or after the command above it\n{block}"
        return "".join(f"$ {command}\n{self._answer(command)}" for command in commands_of(block))

    def _answer(self, command: str) -> str:
        typed = command
        for name, (listing, field) in LISTED.items():
            if name in command:
                last = self._run(f"c360 identity {listing} --json").stdout.splitlines()[-1]
                typed = typed.replace(name, json.loads(last)[field])
        done = self._run(typed)
        said = done.stdout + done.stderr
        assert done.returncode == (1 if said.startswith("IDENTIFIER_") else 0), f"{command}\n{said}"
        self._wait_until_settled(said)
        return "".join(f"{line.rstrip()}\n" for line in said.splitlines() if line.strip())

    def _run(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(["sh", "-c", command], env=self._environment, cwd=self._folder, capture_output=True, text=True)

    def _wait_until_settled(self, said: str) -> None:
        """Until identity has what was sent, and has compared whom it names."""
        for position in re.findall(r"ingest/\d+/\d+", said):
            self._run(f"c360 identity resolve user_id:nobody --fresh {position} --timeout {DEADLINE_S:g}")
        give_up_at = time.monotonic() + DEADLINE_S
        with psycopg.connect(self._stack.admin_url.rsplit("/", 1)[0] + "/c360", autocommit=True) as admin:
            while not self._is_settled(admin):
                assert time.monotonic() < give_up_at, "identity hasn't settled"
                time.sleep(0.05)

    def _is_settled(self, admin: "psycopg.Connection[tuple[bool]]") -> bool:
        matched = "(SELECT consumed FROM identity.matching) = (SELECT max(number) FROM identity.outbox)"
        row = admin.execute(f"SELECT {matched} AND NOT EXISTS (SELECT FROM identity.resettling)").fetchone()
        return row is not None and bool(row[0])


def commands_of(block: str) -> Iterator[str]:
    """A command may go on after a backslash."""
    lines = iter(block.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
            while command.endswith("\\"):
                command += "\n" + next(lines)
            yield command


if __name__ == "__main__":
    sys.exit(main())

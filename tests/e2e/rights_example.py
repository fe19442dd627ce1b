"""`python -m tests.e2e.rights_example` plays the commands of docs/rights.md on a throw-away stack and writes down what they say.

As docs/identity.md is played; `$REQUEST` is the id of the request that was told last, `$EARLIER` of the one that a request
duplicates, `$RESTRICTION` of the last restriction that was listed, as a person would copy them.
"""

import re
import sys
import tempfile
from pathlib import Path

from services.stack.stack import Stack
from tests.e2e.identity_example import BLOCK, DEADLINE_S, Terminal
from tests.e2e.identity_example import canonical as without_ids

PAGE = Path(__file__).parents[2] / "docs" / "rights.md"
ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TOLD = {
    "$REQUEST": re.compile(rf"^rights request id +({ID})", re.M),
    "$EARLIER": re.compile(rf"^duplicate of id +({ID})", re.M),
    "$RESTRICTION": re.compile(rf" restricted .*({ID}) *$", re.M),
}
REFUSED = re.compile(r"^[A-Z][A-Z_]+: ", re.M)
VARIES = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"\b(\w+/\d+/\d+)\b"), "POSITION"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DAY"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="c360-example-") as directory, Stack(directory, disposable=True) as stack:
        PAGE.write_text(play(PAGE.read_text(), stack))
    return 0


def canonical(page: str) -> str:
    """Without what is another at every installation and on every day."""
    page = without_ids(page)
    for pattern, word in VARIES:
        page = pattern.sub(word, page)
    return page


def play(page: str, stack: Stack) -> str:
    """The page as its commands answer now. Raises AssertionError when one fails."""
    terminal = Desk(stack)
    return BLOCK.sub(lambda block: f"```console\n{terminal.play(block[1])}```", page)


class Desk(Terminal):
    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self._told: dict[str, str] = {}

    def _answer(self, command: str) -> str:
        typed = command
        for name, told in self._told.items():
            typed = typed.replace(name, told)
        done = self._run(typed)
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is bool(REFUSED.search(said)), f"{command}\n{said}"
        self._told |= {name: found[-1] for name, pattern in TOLD.items() if (found := pattern.findall(said))}
        self._wait_until_settled(said)
        return "".join(f"{line.rstrip()}\n" for line in said.splitlines() if line.strip())

    def _wait_until_settled(self, said: str) -> None:
        """Until profile and consent have what identity has."""
        super()._wait_until_settled(said)
        for position in re.findall(r"ingest/\d+/\d+", said):
            fresh = f"--fresh {position} --timeout {DEADLINE_S:g}"
            self._run(f"c360 profile get user_id:nobody --purpose audit {fresh}")
            self._run(f"c360 consent check user_id:nobody audit {fresh}")


if __name__ == "__main__":
    sys.exit(main())

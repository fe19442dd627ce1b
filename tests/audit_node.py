"""`python -m tests.audit_node FOLDER`, of `make audit`: whether something that a package for Node brings along is known to be vulnerable.

Where nobody tells (no network, or a registry without such data) it says so loudly, and ends with 0, as `tests.audit` does.
"""

import subprocess
import sys
from typing import Any

import msgspec

from tests.audit import RULE, TIMEOUT_S


def findings(told: bytes) -> tuple[list[str], int]:
    """(what is vulnerable, how many were told of). Raises msgspec.DecodeError and KeyError."""
    answer: dict[str, Any] = msgspec.json.decode(told)
    vulnerable = [
        f"{name}: {cause['url']}"
        for name, found in sorted(answer["vulnerabilities"].items())
        for cause in found["via"]
        if isinstance(cause, dict)  # others are names of packages that are listed themselves
    ]
    return vulnerable, answer["metadata"]["dependencies"]["prod"]


def main() -> int:
    (folder,) = sys.argv[1:]
    command = ("npm", "audit", "--omit=dev", "--package-lock-only", "--json")
    asked = subprocess.run(command, cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=False)
    try:
        vulnerable, told_of = findings(asked.stdout)
    except (msgspec.DecodeError, KeyError):
        print(f"\n{RULE} NOT LOOKED FOR VULNERABILITIES OF {folder}: nobody here tells of them {RULE}\n")
        return 0
    for one in vulnerable:
        print(one)
    print(f"{folder}: {len(vulnerable)} known vulnerabilities in {told_of} dependencies")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())

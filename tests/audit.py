"""`python -m tests.audit PIP_AUDIT LOCK`, of `make audit`: whether something that we are built of is known to be vulnerable.

Where nobody tells (no network, or an index without such data) it says so loudly, and ends with 0: pip-audit itself would call that clean.
"""

import subprocess
import sys
from typing import Any

import msgspec

TIMEOUT_S = 300
RULE = "*" * 3


def findings(told: bytes) -> tuple[list[str], list[str], int]:
    """(what is vulnerable, what nobody could tell of, how many were told of). Raises msgspec.DecodeError."""
    dependencies: list[dict[str, Any]] = msgspec.json.decode(told)["dependencies"]
    vulnerable = [f"{one['name']} {one['version']}: {found['id']}" for one in dependencies for found in one.get("vulns", [])]
    unknown = [str(one["name"]) for one in dependencies if "skip_reason" in one]
    return vulnerable, unknown, len(dependencies) - len(unknown)


def main() -> int:
    program, lock = sys.argv[1:]
    command = (program, "--require-hashes", "--disable-pip", "-r", lock, "--format", "json", "--progress-spinner", "off")
    asked = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=False)
    try:
        vulnerable, unknown, told_of = findings(asked.stdout)
    except msgspec.DecodeError:
        print(f"\n{RULE} NOT LOOKED FOR VULNERABILITIES: {asked.stderr.decode().strip().splitlines()[-1:]} {RULE}\n")
        return 0
    for one in vulnerable:
        print(one)
    if unknown:
        print(f"\n{RULE} NOT LOOKED FOR VULNERABILITIES OF {len(unknown)} DEPENDENCIES: nobody here tells of them {RULE}\n")
    print(f"{lock}: {len(vulnerable)} known vulnerabilities in {told_of} dependencies")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())

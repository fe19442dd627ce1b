"""What a running container may do, asked of the kernel and the engine and not of the file that asked for it."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.compose.containers import Containers

CGROUPS = Path("/sys/fs/cgroup")
NO_LIMIT = 2**60  # the kernel's way to say so in version 1
PUBLISHED = {
    "ingest": {"8080/tcp", "50051/tcp"},
    "identity": {"50052/tcp"},
    "profile": {"8081/tcp", "50053/tcp"},
    "consent": {"8082/tcp", "50054/tcp"},
}


def problems(containers: Containers) -> list[str]:
    secrets = _secrets(containers)
    assert len(secrets) > 5
    return [f"{name}: {problem}" for name in containers.names for problem in _of_container(containers, name, secrets)]


def _of_container(containers: Containers, name: str, secrets: Sequence[str]) -> Iterator[str]:
    about = containers.inspect(name)
    pid = int(about["State"]["Pid"])
    yield from _rights(containers, about, pid)
    yield from _limits(about, pid)
    yield from _doors(about, PUBLISHED.get(name, set()))
    if any(secret in str(about) for secret in secrets):
        yield "the engine tells a secret of it"
    if any(secret in line for line in containers.log_lines(name) for secret in secrets):
        yield "its log has a secret"
    if any(secret in line for line in _command_lines(containers, about) for secret in secrets):
        yield "the list of processes has a secret"


def _rights(containers: Containers, about: dict[str, Any], pid: int) -> Iterator[str]:
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    if "0" in containers.docker("top", about["Id"], "-eo", "pid,uid").split()[3::2]:
        yield "a process of it is root"
    if int(status["CapEff"], 16):
        yield f"it has capabilities: {status['CapEff']}"
    if status["NoNewPrivs"] != "1":
        yield "it may gain privileges"
    root = next(line.split() for line in Path(f"/proc/{pid}/mounts").read_text().splitlines() if line.split()[1] == "/")
    if "ro" not in root[3].split(","):
        yield "its file system can be written"


def _limits(about: dict[str, Any], pid: int) -> Iterator[str]:
    for kind, first, second in (("memory", "memory.limit_in_bytes", "memory.max"), ("pids", "pids.max", "pids.max")):
        limit = _limit(pid, kind, first, second)
        asked = about["HostConfig"]["Memory" if kind == "memory" else "PidsLimit"]
        if limit != asked or not 0 < limit < NO_LIMIT:
            yield f"its limit of {kind} is {limit}, asked for was {asked}"


def _limit(pid: int, controller: str, first: str, second: str) -> int:
    """0: none. Control groups of version 1 have a tree for each controller, those of version 2 one for all."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controller in controllers.split(","):
            return int((CGROUPS / controller / group[1:] / first).read_text().replace("max", "0"))
        if not controllers and (CGROUPS / group[1:] / second).exists():
            return int((CGROUPS / group[1:] / second).read_text().replace("max", "0"))
    return 0


def _doors(about: dict[str, Any], expected: set[str]) -> Iterator[str]:
    published = {port: bound for port, bound in about["NetworkSettings"]["Ports"].items() if bound}
    if published.keys() != expected:
        yield f"published are {sorted(published)}, not {sorted(expected)}"
    if any(one["HostIp"] != "127.0.0.1" for bound in published.values() for one in bound):
        yield "a door is open to others than this machine"


def _command_lines(containers: Containers, about: dict[str, Any]) -> list[str]:
    pids = containers.docker("top", about["Id"], "-eo", "pid").split()[1:]
    return subprocess.run(
        ("ps", "-o", "args=", "-p", ",".join(pids)), capture_output=True, text=True, check=False
    ).stdout.splitlines()


def _secrets(containers: Containers) -> list[str]:
    """Every password that there is, of the databases, the broker and Grafana, and the operator's token."""
    folders = {
        "secrets-migrate": "*-password",
        "secrets-nats": "*-password",
        "secrets-grafana": "password",
        "issuer": "operator-token",
    }
    files = [path for volume, names in folders.items() for path in containers.volume(volume).glob(names)]
    return [path.read_text().strip() for path in files]

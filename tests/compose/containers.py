"""The containers of one checkout, as an operator has them: through `docker` and `docker compose`, and their published doors."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from services.stack.ports import SERVICES, Endpoints, endpoints_of
from services.stack.probe import is_serving

READY_TIMEOUT_S = 120.0  # generous: a busy machine starts all of them at once
COMMAND_TIMEOUT_S = 900  # the first build installs everything
POLL_S = 0.2
SERVERS = ("postgres", "nats", "prometheus")
LABEL = "com.docker.compose"


class ContainersFailed(AssertionError):
    """A command or a container didn't do what it should; the text has the end of what it said."""


@dataclass(frozen=True)
class Containers:
    """`folder` holds docker-compose.yml; `environment` is the engine's; `ports` are those of the doors."""

    folder: Path
    environment: Mapping[str, str]
    ports: Mapping[str, int]
    project: str
    version: str  # the tag of our image
    services: tuple[str, ...] = field(default=SERVICES)

    @property
    def names(self) -> tuple[str, ...]:
        return (*SERVERS, *self.services)

    @property
    def processes(self) -> tuple[str, ...]:
        return self.services

    @property
    def endpoints(self) -> Endpoints:
        """What isn't published is told too, and nobody listens there."""
        return endpoints_of(dict(self.ports))

    @property
    def admin_url(self) -> str:
        """PostgreSQL has no door: from this machine it is reached where its container is."""
        networks = self.inspect("postgres")["NetworkSettings"]["Networks"]
        address = next(iter(networks.values()))["IPAddress"]
        return f"postgresql://postgres:{self.ask('postgres', 'cat', '/secrets/password').strip()}@{address}:5432"

    def operator_token(self) -> str:
        """Empty while it isn't made."""
        if not self.docker("volume", "ls", "-q", "--filter", f"name=^{self.project}_issuer$").strip():
            return ""
        file = self.volume("issuer") / "operator-token"
        return file.read_text().strip() if file.exists() else ""

    def compose(self, *words: str) -> str:
        """What it wrote. Raises ContainersFailed."""
        return self._run("docker", "compose", *words)

    def docker(self, *words: str) -> str:
        return self._run("docker", *words)

    def inspect(self, name: str) -> dict[str, Any]:
        ids = self.docker("ps", "-aq", *self._mine(), "--filter", f"label={LABEL}.service={name}").split()
        if not ids:
            raise ContainersFailed(f"there is no container of {name}")
        [found] = [
            document
            for document in json.loads(self.docker("inspect", *ids))
            if document["Config"]["Labels"].get(f"{LABEL}.oneoff") != "True"
        ]
        return dict(found)

    def volume(self, name: str) -> Path:
        """Where the engine keeps it."""
        [found] = json.loads(self.docker("volume", "inspect", f"{self.project}_{name}"))
        return Path(found["Mountpoint"])

    def log_lines(self, name: str) -> list[str]:
        said = subprocess.run(
            ("docker", "logs", self.inspect(name)["Id"]), env=self._environment(), capture_output=True, text=True, check=True
        )
        return [*said.stdout.splitlines(), *said.stderr.splitlines()]

    def ask(self, name: str, *command: str) -> str:
        """What a command says inside of it."""
        return self.docker("exec", self.inspect(name)["Id"], *command)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; returns when it is dead. `docker kill` won't do: the engine takes that for a wish."""
        dead = self.inspect(name)["State"]["Pid"]
        os.kill(dead, signal.SIGKILL)
        _until(lambda: self.inspect(name)["State"]["Pid"] != dead, f"{name} outlived a SIGKILL")

    @contextmanager
    def listening(self) -> Iterator[list[dict[str, Any]]]:
        """What happens to them while the block lasts, told when it has ended. The engine remembers but the last 256 events."""
        heard: list[dict[str, Any]] = []
        wanted = [f"event={event}" for event in ("start", "die", "health_status")] + [f"label={LABEL}.project={self.project}"]
        filters = [word for one in wanted for word in ("--filter", one)]
        with TemporaryFile("w+") as told:
            command = ("docker", "events", *filters, "--format", "{{json .}}")
            listener = subprocess.Popen(command, stdout=told, env=self._environment())
            try:
                yield heard
            finally:
                listener.terminate()
                listener.wait()
            told.seek(0)
            heard += map(json.loads, told)

    def restart(self, name: str) -> None:
        self.compose("restart", name)

    def wait_ready(self, *names: str) -> None:
        """A service takes calls at its door; a server is healthy in the engine's eyes."""
        for name in names or self.names:
            _until(partial(self._is_ready, name), f"{name} doesn't get ready", partial(self._last_words, name))

    def wait_healthy(self) -> None:
        """All of them, in the engine's eyes."""
        for name in self.names:
            _until(partial(self._is_healthy, name), f"{name} isn't healthy", partial(self._last_words, name))

    def down(self, *, with_data: bool = False) -> None:
        self.compose("down", "--remove-orphans", *(["--volumes"] if with_data else []))

    def forget_image(self) -> None:
        """What it was built of stays in the engine's cache."""
        self.docker("image", "rm", "--force", f"customer360:{self.version}")

    def _is_ready(self, name: str) -> bool:
        return is_serving(f"127.0.0.1:{self.ports[name]}") if name in self.services else self._is_healthy(name)

    def _is_healthy(self, name: str) -> bool:
        state = self.inspect(name)["State"]
        return bool(state["Running"] and state["Health"]["Status"] == "healthy")

    def _last_words(self, name: str) -> list[str]:
        return self.log_lines(name)[-20:]

    def _mine(self) -> tuple[str, str]:
        return "--filter", f"label={LABEL}.project={self.project}"

    def _run(self, *command: str) -> str:
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if ran.returncode != 0:
            raise ContainersFailed(f"{' '.join(command)} ended with {ran.returncode}\n{(ran.stdout + ran.stderr)[-4000:]}")
        return ran.stdout

    def _environment(self) -> dict[str, str]:
        """The operator's own settings are none of ours: a variable is stronger than a line in .env."""
        kept = {name: value for name, value in self.environment.items() if not name.startswith("C360_")}
        return kept | {"COMPOSE_PROJECT_NAME": self.project, "C360_VERSION": self.version, "C360_PARTITIONS": "4"} | self._doors()

    def _doors(self) -> dict[str, str]:
        doors = {"C360_HTTP_PORT": "ingest_http"} | {f"C360_{name.upper()}_PORT": name for name in self.services}
        doors |= {f"C360_{name.upper()}_HTTP_PORT": f"{name}_http" for name in ("profile", "consent")}
        return {"C360_BIND": "127.0.0.1"} | {variable: str(self.ports[port]) for variable, port in doors.items()}


def _until(happened: Callable[[], bool], otherwise: str, more: Callable[[], list[str]] = list) -> None:
    give_up_at = time.monotonic() + READY_TIMEOUT_S
    while not happened():
        if time.monotonic() > give_up_at:
            raise ContainersFailed("\n".join((otherwise, *more())))
        time.sleep(POLL_S)

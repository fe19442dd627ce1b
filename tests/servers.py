"""PostgreSQL servers of a test's own beside a stack's: a standby, or one that is recovered from an archive."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from services.stack import unprivileged
from services.stack.files import make_private_directory, read_or_make_password
from services.stack.installation import Installation
from services.stack.ports import choose_ports
from services.stack.postgres import Postgres
from services.stack.settings import whole_environment
from services.stack.stack import Stack
from tests.waiting import eventually

STARTS_WITHIN_S = 60.0
STOPS_WITHIN_S = 30.0
TYPED_WITHIN_S = 120.0


@contextmanager
def programs() -> Iterator[Path]:
    """The folder of PostgreSQL's own commands."""
    installation = Installation()
    try:
        yield Path(installation.program("pg_basebackup", ())).parent
    finally:
        installation.close()


def writable_directory(path: Path) -> Path:
    """By the account that the servers run under."""
    unprivileged.give_away(make_private_directory(path))
    return path


def give(directory: Path) -> None:
    """What a command wrote becomes the property of the account that the servers run under."""
    if os.geteuid() == 0:
        subprocess.run(("chown", "-R", unprivileged.ACCOUNT, directory), check=True)
    directory.chmod(0o700)


def superuser_password(stack: Stack) -> str:
    return read_or_make_password(stack.data_directory / "secrets" / "postgres-superuser-password")


def free_port() -> int:
    return choose_ports(prefer_defaults=False)["postgres"]


def type_in(typed: str, where: Path, **environment: str) -> None:
    """As somebody does who has PostgreSQL's commands and ours at hand, and has set these variables."""
    with programs() as folder:
        path = os.pathsep.join((str(folder), str(Path(sys.executable).parent), os.environ["PATH"]))
        whole = whole_environment(environment) | {"PATH": path}
        ran = subprocess.run(["sh", "-euc", typed], cwd=where, env=whole, capture_output=True, text=True, timeout=TYPED_WITHIN_S)
    assert ran.returncode == 0, ran.stderr


def set_forever(stack: Stack, **settings: str) -> None:
    """In the server's own configuration; what needs a start waits for the next one."""
    with psycopg.connect(stack.admin_url, autocommit=True) as admin:
        for name, value in settings.items():
            admin.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        admin.execute("SELECT pg_reload_conf()")


@contextmanager
def running(directory: Path, port: int, password: str) -> Iterator[Postgres]:
    """Ready for questions; ended as by a crash, since nothing of it is wanted."""
    with ExitStack() as cleanup:
        postgres = Postgres(directory, port, password)
        cleanup.callback(postgres.close)
        program = postgres.program(disposable=True)
        log = cleanup.enter_context(directory.with_suffix(".log").open("wb"))
        process = subprocess.Popen((*program.as_user, *program.command), env=program.environment, stdout=log, stderr=log)
        cleanup.callback(_end, process)
        eventually(lambda: process.poll() is not None or postgres.is_ready(), STARTS_WITHIN_S)
        assert process.poll() is None, directory.with_suffix(".log").read_text()[-2_000:]
        yield postgres


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGQUIT)
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ask(url: str, query: str) -> object:
    """The first value of the first row."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]

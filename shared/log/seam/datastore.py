"""A few synchronous connections, lent out one transaction at a time; the driver's errors become the library's."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock

import psycopg
from eventsourcing import persistence as library
from psycopg.rows import DictRow, dict_row

from shared.store.pool import COMMAND_TIMEOUT_S, IDLE_IN_TRANSACTION_MS, KEEPALIVES

MAX_CONNECTIONS = 4  # one writes, the others replay
CONNECT_TIMEOUT_S = 5
LEND_TIMEOUT_S = 30.0  # as long as a statement of the hot path may take
# As on the hot path: no transaction of a paused or cut-off process keeps its locks.
SESSION = KEEPALIVES | {
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
    "statement_timeout": str(int(COMMAND_TIMEOUT_S * 1000)),
}

# From the most to the least specific, as in PEP 249.
TRANSLATIONS: tuple[tuple[type[psycopg.Error], type[library.PersistenceError]], ...] = (
    (psycopg.IntegrityError, library.IntegrityError),
    (psycopg.OperationalError, library.OperationalError),
    (psycopg.InterfaceError, library.InterfaceError),
    (psycopg.DataError, library.DataError),
    (psycopg.ProgrammingError, library.ProgrammingError),
    (psycopg.InternalError, library.InternalError),
    (psycopg.NotSupportedError, library.NotSupportedError),
    (psycopg.DatabaseError, library.DatabaseError),
)


class Datastore:
    """`schema` holds the log's tables. Opens no connection before it is used."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._permits = BoundedSemaphore(MAX_CONNECTIONS)
        self._idle_lock = Lock()
        self._idle: list[psycopg.Connection[DictRow]] = []
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Cursor[DictRow]]:
        """Commits at the end. Raises the library's PersistenceError family, without what the statement carried."""
        if not self._permits.acquire(timeout=LEND_TIMEOUT_S):
            raise library.OperationalError(f"all {MAX_CONNECTIONS} connections are in use")
        try:
            connection = self._take()
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    yield cursor
            finally:
                self._give_back(connection)
        except psycopg.Error as error:
            raise _translated(error) from None
        finally:
            self._permits.release()

    def close(self) -> None:
        with self._idle_lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> psycopg.Connection[DictRow]:
        with self._idle_lock:
            if self._closed:
                raise library.InterfaceError("the datastore is closed")
            while self._idle:
                connection = self._idle.pop()
                if not _has_something_to_say(connection):
                    return connection
                connection.close()
        connection = psycopg.connect(
            self._url,
            row_factory=dict_row,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=f"c360 seam {self._schema}",
        )
        settings = SESSION | {"search_path": self._schema}
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
            [list(settings), list(settings.values())],
        )
        return connection

    def _give_back(self, connection: psycopg.Connection[DictRow]) -> None:
        with self._idle_lock:
            if connection.broken:
                # The server went away: the idle ones are as dead.
                while self._idle:
                    self._idle.pop().close()
            if connection.broken or self._closed:
                connection.close()
            else:
                self._idle.append(connection)


def _has_something_to_say(connection: psycopg.Connection[DictRow]) -> bool:
    """An idle connection is silent; the only news on it is that the server has closed it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _translated(error: psycopg.Error) -> library.PersistenceError:
    for theirs, ours in TRANSLATIONS:
        if isinstance(error, theirs):
            return ours(f"{type(error).__name__} (SQLSTATE {error.sqlstate})")
    return library.PersistenceError(type(error).__name__)

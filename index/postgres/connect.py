"""Connections to PostgreSQL: a pool for each server, what is tried again, and errors that hold no secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

import psycopg
from pgvector.psycopg import register_vector
from psycopg import OperationalError, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import IdleInTransactionSessionTimeout, QueryCanceled, SerializationFailure
from psycopg_pool import ConnectionPool

from index.errors import StoreError

Connection = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")

CONNECT_SECONDS = 5
"""Time for a connection to be made, or to become free."""
REPLICA_SECONDS = 1
"""The same for a replica, since the primary answers too."""
READ_SECONDS = 10
"""Time for one statement of a search."""
CONNECTIONS = 10
"""Most that one process opens to one server."""
AVOIDED_SECONDS = 15
"""A replica that did not answer is left alone for so long."""
REPEATED_SECONDS = 60
"""How long what is written is tried again where the server is lost: a failover takes less."""

# What passes: a server that is lost, a replica that gave way to its primary, a process that was stopped for too long.
_TRANSIENT = (OperationalError, SerializationFailure, IdleInTransactionSessionTimeout)
_REPEATING = (psycopg.DataError, errors.SyntaxError)
_CONNECTION = {
    "application_name": "onrecord",
    "connect_timeout": CONNECT_SECONDS,
    # A machine that vanished says nothing: we ask, and wait for ten seconds.
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_ALWAYS = (
    # The tables, and the extension's types wherever this database has them.
    "SELECT set_config('search_path', 'onrecord,' || current_setting('search_path'), false)",
    "SET jit = off",  # compiling takes longer than any of our statements
    # A machine that vanished holds its locks for as long as the server believes in it; two hours by default.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_READING = (
    f"SET statement_timeout = '{READ_SECONDS}s'",
    # Off, a filter that keeps one passage in ten leaves an index scan with a tenth of what was asked for.
    "SET hnsw.iterative_scan = relaxed_order",
    "SET hnsw.ef_search = 400",
    "SET hnsw.max_scan_tuples = 100000",
)
_WRITING = ("SET idle_in_transaction_session_timeout = '60s'",)  # one that was stopped keeps nobody else waiting


def parsed(url: str) -> dict[str, Any]:
    """What a URL says, by the names that libpq has for it. The error does not show it: it may hold a password."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise StoreError("the store is not a URL that PostgreSQL understands: postgresql://user@host/name") from None


def address(url: str) -> str:
    """Which server and database a URL means, without the rest of it."""
    fields = parsed(url)
    where = fields.get("host") or fields.get("hostaddr") or "the local socket"
    port = f":{fields['port']}" if fields.get("port") else ""
    return f"PostgreSQL at {where}{port}, database {fields.get('dbname') or 'by default'}"


@contextmanager
def connected(*urls: str) -> Generator[Connection]:
    """A connection to the first of these servers that lets us in, its search path set.

    Raises StoreError where none does, and for whatever else PostgreSQL has against us meanwhile.
    """
    with _first(urls) as connection:
        try:
            yield connection
        except psycopg.Error as error:
            raise StoreError(f"{address(urls[0])}: {reason(error)}") from error


def _first(urls: Sequence[str]) -> Connection:
    failure: OperationalError | None = None
    for url in urls:
        try:
            connection: Connection = psycopg.connect(_conninfo(url), autocommit=True)
        except OperationalError as error:
            failure = error
        else:
            _execute_all(connection, _ALWAYS)
            return connection
    raise StoreError(f"{address(urls[-1])} cannot be reached: {failure and reason(failure)}") from failure


def reason(error: Exception) -> str:
    """The first line of what the server or libpq says, neither of which repeats a password; but where they may repeat
    what they were given, which may be a question, only what kind of error it is.
    """
    first, *_ = [*str(error).splitlines(), ""]
    return type(error).__name__ if isinstance(error, _REPEATING) or not first else first


class Database:
    """The servers of one index: a primary, and maybe a replica, which answers first. Safe to use from several threads.

    A connection that was lost is replaced, and what it was needed for is tried again.
    """

    def __init__(self, url: str, replica_url: str | None = None, *, writing: bool = False) -> None:
        self._settings = (*_ALWAYS, *(_WRITING if writing else _READING))
        self._primary = self._pool(url)
        self._replica = self._pool(replica_url, REPLICA_SECONDS) if replica_url else None
        self._replica_from = 0.0
        self._users = 1
        self._lock = Lock()

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from the replica where there is one that answers, else from the primary."""
        failure: Exception | None = None
        for pool in self._readers():
            try:
                with pool.connection() as connection:
                    return work(connection)
            except QueryCanceled as error:
                raise StoreError(f"{pool.name} took more than {READ_SECONDS} seconds") from error
            except _TRANSIENT as error:
                failure = error
                self._lost(pool)
            except psycopg.Error as error:
                raise StoreError(f"{pool.name}: {reason(error)}") from error
        raise StoreError(f"{self._primary.name} does not answer: {failure and reason(failure)}") from failure

    def write(self, work: Callable[[Connection], T], seconds: float = REPEATED_SECONDS) -> T:
        """What `work` returns, from the primary. For so many seconds it is called again where the connection was lost,
        though what it did may have been committed by then."""
        last = time.monotonic() + seconds
        while True:
            try:
                with self._primary.connection() as connection:
                    return work(connection)
            except _TRANSIENT as error:
                if time.monotonic() > last:
                    raise StoreError(f"{self._primary.name} does not answer: {reason(error)}") from error
                self._primary.check()
                time.sleep(0.2)
            except psycopg.Error as error:
                raise StoreError(f"{self._primary.name}: {reason(error)}") from error

    def share(self) -> Database:
        """Itself, for one more to use and close."""
        with self._lock:
            self._users += 1
        return self

    def close(self) -> None:
        """Closes all connections, when all who use it have said so."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        for pool in filter(None, (self._replica, self._primary)):
            pool.close()

    def _pool(self, url: str, seconds: float = CONNECT_SECONDS) -> ConnectionPool[Connection]:
        def configure(connection: Connection) -> None:
            _execute_all(connection, self._settings)
            register_vector(connection)

        return ConnectionPool(
            _conninfo(url),
            kwargs={"autocommit": True, "prepare_threshold": 0},
            min_size=1,
            max_size=CONNECTIONS,
            timeout=seconds,
            reconnect_timeout=CONNECT_SECONDS,  # later attempts are made when somebody asks
            configure=configure,
            name=address(url),
            open=True,
        )

    def _readers(self) -> Generator[ConnectionPool[Connection]]:
        """Which to ask, one after the other: a connection may have been lost since it was last used."""
        if self._replica and time.monotonic() >= self._replica_from:
            yield self._replica
        yield self._primary
        yield self._primary

    def _lost(self, pool: ConnectionPool[Connection]) -> None:
        """Replaces the connections that the pool has lost, in the background."""
        if pool is self._replica:
            self._replica_from = time.monotonic() + AVOIDED_SECONDS
        pool.check()


def _conninfo(url: str) -> str:
    return make_conninfo("", **(_CONNECTION | parsed(url)))


def _execute_all(connection: Connection, statements: tuple[str, ...]) -> None:
    for statement in statements:
        connection.execute(statement.encode())

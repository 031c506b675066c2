"""A SQLite file of ours: for the eyes of its owner alone, known by its marks, shared by threads and processes."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

MEMORY = ":memory:"
BUSY_SECONDS = 5.0
"""How long another process may hold the file."""
HURRIED_SECONDS = 0.1
"""The same once one has held it for longer, until something can be written again: all who write wait in one line."""
ROOM = 100
"""How many more entries than are kept there may be, before those are deleted together: each deletion is wiped, which
waits for the disk, and a busy server would wait with every answer."""


@dataclass(frozen=True, slots=True)
class Schema:
    """How a file is known as ours, and made where there is none. `application` marks what it is for."""

    application: int
    version: int
    statements: tuple[str, ...]


class Database:
    """One file, or with `:memory:` none. Safe to use from several threads, and from several processes on one file.

    What was written survives the end of the process, however it comes; a power cut may take the last transactions but
    leaves the file whole (WAL, synchronous=NORMAL). What is deleted is wiped.

    Whatever SQLite or the file system has against it is raised as `error(path, reason)`.
    """

    def __init__(self, path: str, schema: Schema, error: Callable[[str, object], Exception]) -> None:
        """Opens the file, made with its folder where there is none.

        A file that is no such database, is of another version, or cannot be written, is an error and left as it is.
        """
        self._path = path
        self._error = error
        self._lock = Lock()
        self._unclean = True
        self._busy_seconds = BUSY_SECONDS
        with self._reported(), _alone(path):
            # One connection: a database in memory has no other, and transactions are too short to gain from more.
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(schema)
            except BaseException:
                self._db.close()
                raise

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query."""
        with self._lock, self._reported():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """One transaction, kept when the block ends without an error."""
        with self._lock, self._reported():
            with self._db:
                self._begin()
                yield self._db
            self._clean()

    def delete(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Deletes within `writing`, so that nothing of it is left when that ends; the number of rows."""
        deleted = self._db.execute(statement, values).rowcount
        self._unclean = self._unclean or deleted > 0
        return deleted

    def save(self, copy: Path) -> None:
        """Copies what is here at one moment, while others may write on, into a new file that stands by itself."""
        with self._lock, self._reported(), closing(sqlite3.connect(copy)) as target:
            self._db.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")

    def load(self, copy: Path) -> None:
        """Puts what a copy of such a file holds in place of all that is here, at once, for other processes too.

        Nothing of what was here is left in the file. A copy that is damaged, or is no such database, is an error and
        changes nothing.
        """
        with self._lock, self._reported(), closing(sqlite3.connect(copy)) as source:
            source.execute("PRAGMA trusted_schema = OFF")
            [(flaw,), *_] = source.execute("PRAGMA integrity_check(1)").fetchall()
            if flaw != "ok":
                raise self._error(self._path, f"what is to be put there is damaged ({flaw})")
            if _marks(source) != _marks(self._db):  # a trigger in what comes from elsewhere would run here
                raise self._error(self._path, "what is to be put there is no such database, or of another version")
            source.backup(self._db)
            self._unclean = True
            self._clean()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def _begin(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                self._wait_for(HURRIED_SECONDS)
            raise
        self._wait_for(BUSY_SECONDS)

    def _wait_for(self, seconds: float) -> None:
        if seconds != self._busy_seconds:
            self._db.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
            self._busy_seconds = seconds

    def _prepare(self, schema: Schema) -> None:
        """Makes the tables of a new file; alters nothing in a file that is not ours."""
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not (application or version or tables):
                for statement in schema.statements:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {schema.application}")
                self._db.execute(f"PRAGMA user_version = {schema.version}")
            elif application != schema.application:
                raise self._error(self._path, "it is a database of something else")
            elif version != schema.version:
                raise self._error(self._path, f"it is of version {version}, and {schema.version} is read here")
        self._db.execute("PRAGMA journal_mode = WAL")
        if self._path != MEMORY:
            for name in (self._path, f"{self._path}-wal", f"{self._path}-shm"):
                with suppress(FileNotFoundError):
                    Path(name).chmod(0o600)
        self._clean()

    def _clean(self) -> None:
        """Empties the write-ahead log after a deletion: secure_delete wipes the database, not the pages in the log."""
        if self._unclean:
            (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._unclean = bool(busy)

    @contextmanager
    def _reported(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self._error(self._path, error) from error


@contextmanager
def _alone(path: str) -> Generator[None]:
    """While one process opens the file, others wait: SQLite cannot make one database in several at once.

    A new file is for the eyes of its owner alone, and SQLite's files beside it inherit that. One that exists is not
    opened here: closing it would take the locks of this process's other connections.
    """
    if path == MEMORY:
        yield
        return
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        yield
    finally:
        os.close(lock)


def _marks(db: sqlite3.Connection) -> tuple[Any, ...]:
    """What a file is known by: its application, its version, and its tables as they were made."""
    return (
        *db.execute("PRAGMA application_id").fetchone(),
        *db.execute("PRAGMA user_version").fetchone(),
        *db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall(),
    )


def storable(text: str) -> str:
    """A text that SQLite takes: lone surrogates, which arguments of a command may hold, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""Conversations: what was asked before and what was answered, kept in a SQLite file until it is forgotten."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from app.errors import AnswerError

MEMORY = ":memory:"
KEPT_EXCHANGES = 20
"""Exchanges kept of a conversation, the last ones."""
KEPT_CONVERSATIONS = 10_000
"""Conversations kept, whoever owns them; those unused longest go first."""
LONGEST_TEXT = 4000
"""Characters kept of a text."""
MOST_SPEAKERS = 50
BUSY_SECONDS = 5.0
"""How long another process may hold the file."""

_APPLICATION = 0x4F6E5263
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE conversation (number INTEGER PRIMARY KEY, owner BLOB NOT NULL, id BLOB NOT NULL, used REAL NOT NULL,"
    " UNIQUE (owner, id))",
    "CREATE INDEX conversation_used ON conversation (used)",
    "CREATE TABLE exchange (number INTEGER PRIMARY KEY,"
    " conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE, question TEXT NOT NULL,"
    " answer TEXT NOT NULL, topic TEXT NOT NULL, speakers TEXT NOT NULL, answered INTEGER NOT NULL)",
    "CREATE INDEX exchange_conversation ON exchange (conversation)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


class ConversationError(AnswerError):
    """The file of conversations cannot be read or written; the message names it and its setting."""

    def __init__(self, path: str, reason: object) -> None:
        super().__init__(
            f"conversations cannot be kept in {path}: {reason}; ONRECORD_CONVERSATIONS names another file, or {MEMORY}"
        )


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its answer, as much of it as later questions need.

    `question` stands alone: it is the rewritten one where a follow-up was asked. `topic` is empty where that is left
    open. `speakers` are the canonical names of those whose words were asked for, else of those who were quoted.
    """

    question: str
    answer: str
    topic: str
    speakers: tuple[str, ...]
    answered: bool


class Conversations:
    """Exchanges by owner and conversation. Safe to use from several threads, and from several processes on one file.

    Nobody reads or writes a conversation of another owner, whatever id is chosen: the key is both. The file holds
    only SHA-256 digests of the two, since an owner may be derived from a credential and an id may be of any length.

    What `add` has written survives the end of the process, however it comes; a power cut may take the last exchanges
    but leaves the file whole (WAL, synchronous=NORMAL).

    Times are those of the wall clock. A conversation from the future counts as used now, so that a clock set back
    neither loses it nor keeps it for longer than `hours` from then on.
    """

    def __init__(self, path: str, hours: float) -> None:
        """Opens the file, made with its folder where there is none; `:memory:` keeps nothing beyond the process.

        A conversation is forgotten `hours` after its last exchange. Raises ConversationError for a file that is no
        such database, is of a newer version, or cannot be written.
        """
        self._path = path
        self._seconds = hours * 3600
        self._lock = Lock()
        self._unclean = True
        with self._reported(), _alone(path):
            # One connection: a database in memory has no other, and transactions are too short to gain from more.
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def history(self, conversation_id: str, owner: str) -> list[Exchange]:
        """The exchanges kept, oldest first; none for an unknown id, another owner's, or a forgotten conversation."""
        with self._lock, self._reported():
            found = self._db.execute(
                "SELECT question, answer, topic, speakers, answered FROM exchange"
                " JOIN conversation ON conversation.number = exchange.conversation"
                " WHERE owner = ? AND id = ? AND used >= ? ORDER BY exchange.number",
                (_digest(owner), _digest(conversation_id), time.time() - self._seconds),
            ).fetchall()
        return [
            Exchange(question, answer, topic, tuple(json.loads(names)), bool(answered))
            for question, answer, topic, names, answered in found
        ]

    def add(self, conversation_id: str, owner: str, exchange: Exchange) -> None:
        """Keeps an exchange as the last of its conversation, its texts cut to LONGEST_TEXT."""
        key = _digest(owner), _digest(conversation_id)
        texts = [_storable(text) for text in (exchange.question, exchange.answer, exchange.topic)]
        names = json.dumps([name[:LONGEST_TEXT] for name in exchange.speakers[:MOST_SPEAKERS]])
        with self._lock, self._reported():
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                now = self._forget()
                # Forgetting comes first, so that a conversation that is resumed too late begins anew.
                ((number,),) = self._db.execute(
                    "INSERT INTO conversation (owner, id, used) VALUES (?, ?, ?)"
                    " ON CONFLICT (owner, id) DO UPDATE SET used = excluded.used RETURNING number",
                    (*key, now),
                ).fetchall()
                self._db.execute(
                    "INSERT INTO exchange (conversation, question, answer, topic, speakers, answered)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (number, *texts, names, exchange.answered),
                )
                self._db.execute(
                    "DELETE FROM exchange WHERE number IN (SELECT number FROM exchange WHERE conversation = ?"
                    " ORDER BY number DESC LIMIT -1 OFFSET ?)",
                    (number, KEPT_EXCHANGES),
                )
                self._delete(
                    "number IN (SELECT number FROM conversation ORDER BY used DESC, number DESC LIMIT -1 OFFSET ?)",
                    KEPT_CONVERSATIONS,
                )
            self._clean()

    def close(self) -> None:
        """Closes the file; the exchanges stay in it."""
        with self._lock:
            self._db.close()

    def _prepare(self) -> None:
        """Makes the tables of a new file and forgets in an old one; alters nothing in a file that is not ours."""
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.execute("PRAGMA synchronous = NORMAL")
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (application,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not (application or version or tables):
                for statement in _SCHEMA:
                    self._db.execute(statement)
            elif application != _APPLICATION:
                raise ConversationError(self._path, "it is a database of something else")
            elif version != _VERSION:
                raise ConversationError(self._path, f"it is of version {version}, and {_VERSION} is read here")
            self._forget()
        self._db.execute("PRAGMA journal_mode = WAL")
        if self._path != MEMORY:
            for name in (self._path, f"{self._path}-wal", f"{self._path}-shm"):
                with suppress(FileNotFoundError):
                    Path(name).chmod(0o600)
        self._clean()

    def _forget(self) -> float:
        """Deletes what is expired, within a transaction; the time by which that was judged."""
        now = time.time()
        self._db.execute("UPDATE conversation SET used = ? WHERE used > ?", (now, now))
        self._delete("used < ?", now - self._seconds)
        return now

    def _delete(self, which: str, value: float) -> None:
        deleted = self._db.execute(f"DELETE FROM conversation WHERE {which}", (value,)).rowcount  # noqa: S608
        self._unclean = self._unclean or deleted > 0

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
            raise ConversationError(self._path, error) from error


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


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _storable(text: str) -> str:
    """The beginning of a text; lone surrogates, which arguments of a command may hold, become question marks."""
    return text[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")

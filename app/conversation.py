"""Conversations: what was asked before and what was answered, kept in a SQLite file until it is forgotten."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from sqlite3 import Connection

from app.database import MEMORY, ROOM, Database, Schema, storable
from app.errors import AnswerError

KEPT_EXCHANGES = 20
"""Exchanges kept of a conversation, the last ones."""
KEPT_CONVERSATIONS = 10_000
"""Conversations kept, whoever owns them, and up to ROOM more; those unused longest go first."""
LONGEST_TEXT = 4000
"""Characters kept of a text."""
MOST_SPEAKERS = 50

SCHEMA = Schema(
    application=0x4F6E5263,
    version=1,
    statements=(
        "CREATE TABLE conversation (number INTEGER PRIMARY KEY, owner BLOB NOT NULL, id BLOB NOT NULL,"
        " used REAL NOT NULL, UNIQUE (owner, id))",
        "CREATE INDEX conversation_used ON conversation (used)",
        "CREATE TABLE exchange (number INTEGER PRIMARY KEY,"
        " conversation INTEGER NOT NULL REFERENCES conversation ON DELETE CASCADE, question TEXT NOT NULL,"
        " answer TEXT NOT NULL, topic TEXT NOT NULL, speakers TEXT NOT NULL, answered INTEGER NOT NULL)",
        "CREATE INDEX exchange_conversation ON exchange (conversation)",
    ),
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

    Times are those of the wall clock. A conversation from the future counts as used now, so that a clock set back
    neither loses it nor keeps it for longer than `hours` from then on.
    """

    def __init__(self, path: str, hours: float) -> None:
        """Opens the file, made with its folder where there is none; `:memory:` keeps nothing beyond the process.

        A conversation is forgotten `hours` after its last exchange. Raises ConversationError for a file that is no
        such database, is of a newer version, or cannot be written.
        """
        self._seconds = hours * 3600
        self._file = Database(path, SCHEMA, ConversationError)
        try:
            with self._file.writing() as db:
                self._forget(db)
        except BaseException:
            self._file.close()
            raise

    def history(self, conversation_id: str, owner: str) -> list[Exchange]:
        """The exchanges kept, oldest first; none for an unknown id, another owner's, or a forgotten conversation."""
        found = self._file.read(
            "SELECT question, answer, topic, speakers, answered FROM exchange"
            " JOIN conversation ON conversation.number = exchange.conversation"
            " WHERE owner = ? AND id = ? AND used >= ? ORDER BY exchange.number",
            (_digest(owner), _digest(conversation_id), time.time() - self._seconds),
        )
        return [
            Exchange(question, answer, topic, tuple(json.loads(names)), bool(answered))
            for question, answer, topic, names, answered in found
        ]

    def add(self, conversation_id: str, owner: str, exchange: Exchange) -> None:
        """Keeps an exchange as the last of its conversation, its texts cut to LONGEST_TEXT."""
        key = _digest(owner), _digest(conversation_id)
        texts = [storable(text[:LONGEST_TEXT]) for text in (exchange.question, exchange.answer, exchange.topic)]
        names = json.dumps([name[:LONGEST_TEXT] for name in exchange.speakers[:MOST_SPEAKERS]])
        with self._file.writing() as db:
            now = self._forget(db)
            # Forgetting comes first, so that a conversation that is resumed too late begins anew.
            ((number,),) = db.execute(
                "INSERT INTO conversation (owner, id, used) VALUES (?, ?, ?)"
                " ON CONFLICT (owner, id) DO UPDATE SET used = excluded.used RETURNING number",
                (*key, now),
            ).fetchall()
            db.execute(
                "INSERT INTO exchange (conversation, question, answer, topic, speakers, answered)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (number, *texts, names, exchange.answered),
            )
            db.execute(
                "DELETE FROM exchange WHERE number IN (SELECT number FROM exchange WHERE conversation = ?"
                " ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (number, KEPT_EXCHANGES),
            )
            self._file.delete(
                "DELETE FROM conversation WHERE number IN"
                " (SELECT number FROM conversation ORDER BY used DESC, number DESC LIMIT -1 OFFSET ?)"
                " AND EXISTS (SELECT 1 FROM conversation LIMIT 1 OFFSET ?)",
                (KEPT_CONVERSATIONS, KEPT_CONVERSATIONS + ROOM),
            )

    def close(self) -> None:
        """Closes the file; the exchanges stay in it."""
        self._file.close()

    def _forget(self, db: Connection) -> float:
        """Deletes what is expired; the time by which that was judged."""
        now = time.time()
        db.execute("UPDATE conversation SET used = ? WHERE used > ?", (now, now))
        self._file.delete("DELETE FROM conversation WHERE used < ?", (now - self._seconds,))
        return now


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

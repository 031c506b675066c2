"""What was asked in Slack, and how far its answer is: a SQLite file, so that nothing is lost or answered twice."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Literal

from app.database import Database, Schema, storable
from app.errors import AnswerError

LEASE_SECONDS = 15.0
"""How long a question belongs to a worker that is not heard of any more."""
LONGEST_SECONDS = 60.0
"""The longest that a question is ever left alone: a time beyond that is of a clock that was set back since."""
KEPT_DAYS = 30.0
"""How long it is known that a message was answered, and that the bot takes part in its thread."""
SHARED_HOURS = 24.0
"""How long a private answer can be shared."""
_HOUR, _DAY = 3600.0, 86_400.0

SCHEMA = Schema(
    application=0x4F6E5273,
    version=1,
    statements=(
        # `parts` are the timestamps of the messages of the answer, `answer` a private one's messages.
        "CREATE TABLE question (key TEXT PRIMARY KEY, kind TEXT NOT NULL, team TEXT NOT NULL, channel TEXT NOT NULL,"
        " thread TEXT NOT NULL, ts TEXT NOT NULL, user TEXT NOT NULL, text TEXT NOT NULL, reply_url TEXT NOT NULL,"
        " received REAL NOT NULL, state TEXT NOT NULL"
        " CHECK (state IN ('received', 'posting', 'shown', 'withdrawn', 'done', 'refused')),"
        " parts TEXT NOT NULL DEFAULT '[]', answer TEXT, tries INTEGER NOT NULL DEFAULT 0,"
        " holder TEXT, lease REAL NOT NULL DEFAULT 0)",
        "CREATE INDEX question_thread ON question (team, channel, thread)",
        "CREATE INDEX question_user ON question (team, user, received)",
        "CREATE INDEX question_open ON question (ts) WHERE state NOT IN ('done', 'refused')",
        "CREATE INDEX question_received ON question (received)",
    ),
)

Kind = Literal["message", "command", "share"]
State = Literal["received", "posting", "shown", "withdrawn"]
Taken = Literal["taken", "known", "refused", "refused again"]


class LedgerError(AnswerError):
    """The file of what was asked in Slack cannot be read or written; the message names it and its setting."""

    def __init__(self, path: str, reason: object) -> None:
        super().__init__(
            f"what is asked in Slack cannot be kept in {path}: {reason}; ONRECORD_SLACK_LEDGER names another file"
        )


@dataclass(frozen=True, slots=True)
class SlackQuestion:
    """Something that Slack delivered and that has one answer.

    `key` is the same however often and in whatever form it is delivered. `ts` orders the questions of a `thread`.
    `text` is what was asked; for a `share` the key of the private answer. `reply_url` is where private answers go.
    """

    key: str
    kind: Kind
    team: str
    channel: str
    thread: str
    ts: str
    user: str
    text: str
    reply_url: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A question that a worker has for its own.

    `parts` are the timestamps of the messages that are known to be in its thread; while the state is `posting` there
    may be one more. `tries` counts how often somebody began to answer it, and did not come to the end.
    """

    question: SlackQuestion
    state: State
    parts: tuple[str, ...]
    tries: int


class Ledger:
    """Questions from their receipt to the end of their answer. Safe to use from several threads and processes.

    A question is worked on by whoever holds its lease; those of one thread come one after the other. When its answer
    is given its text is deleted. Times are those of the wall clock.
    """

    def __init__(self, path: str, lease_seconds: float = LEASE_SECONDS) -> None:
        """Opens the file, made with its folder where there is none.

        Raises LedgerError for a file that is no such database, is of another version, or cannot be written.
        """
        self._lease_seconds = lease_seconds
        self._file = Database(path, SCHEMA, LedgerError)

    def receive(self, question: SlackQuestion, most_per_hour: int) -> Taken:
        """Keeps a question, unless it is known, or its user has asked `most_per_hour` in the last hour (0: any)."""
        now = time.time()
        with self._file.writing() as db:
            self._forget(db, now)
            if db.execute("SELECT 1 FROM question WHERE key = ?", (question.key,)).fetchone():
                return "known"
            taken: Taken = "taken"
            if most_per_hour and question.kind != "share":
                asked, refused = db.execute(
                    "SELECT count(*) FILTER (WHERE state != 'refused'), count(*) FILTER (WHERE state = 'refused')"
                    " FROM question WHERE team = ? AND user = ? AND received BETWEEN ? AND ? AND kind != 'share'",
                    (question.team, question.user, now - _HOUR, now),
                ).fetchone()
                if asked >= most_per_hour:
                    taken = "refused again" if refused else "refused"
            kept = taken == "taken"
            db.execute(
                "INSERT INTO question (key, kind, team, channel, thread, ts, user, text, reply_url, received, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(question.key, question.kind, question.team, question.channel, question.thread, question.ts),
                    *(question.user, storable(question.text) if kept else "", question.reply_url if kept else ""),
                    *(now, "received" if kept else "refused"),
                ),
            )
        return taken

    def takes_part(self, team: str, channel: str, thread: str) -> bool:
        """Whether something in that thread was answered or is going to be."""
        found = self._file.read(
            "SELECT 1 FROM question WHERE team = ? AND channel = ? AND thread = ?"
            " AND state NOT IN ('refused', 'withdrawn') LIMIT 1",
            (team, channel, thread),
        )
        return bool(found)

    def withdraw(self, key: str) -> None:
        """No answer is wanted any more, if it is not given yet."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE question SET state = 'withdrawn', text = '' WHERE key = ? AND state NOT IN ('done', 'refused')",
                (key,),
            )

    def claim(self, holder: str) -> Claim | None:
        """A question that nobody holds and that no earlier one of its thread keeps waiting: the oldest of those that
        were tried least, so that one that cannot be answered keeps none from being.
        """
        now = time.time()
        with self._file.writing() as db:
            found = db.execute(
                "UPDATE question SET holder = ?, lease = ? WHERE key ="
                " (SELECT key FROM question AS this WHERE state NOT IN ('done', 'refused')"
                "  AND lease NOT BETWEEN ? AND ? AND NOT EXISTS"
                "  (SELECT 1 FROM question AS earlier WHERE earlier.team = this.team"
                "   AND earlier.channel = this.channel AND earlier.thread = this.thread AND earlier.ts < this.ts"
                "   AND earlier.state NOT IN ('done', 'refused'))"
                "  ORDER BY tries, ts LIMIT 1)"
                " RETURNING key, kind, team, channel, thread, ts, user, text, reply_url, state, parts, tries",
                (holder, now + self._lease_seconds, now, now + LONGEST_SECONDS),
            ).fetchall()
        if not found:
            return None
        *fields, state, parts, tries = found[0]
        return Claim(SlackQuestion(*fields), state, tuple(json.loads(parts)), tries)

    def renew(self, holder: str) -> None:
        """The holder lives: its leases begin anew."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE question SET lease = ? WHERE holder = ? AND state NOT IN ('done', 'refused') AND lease > ?",
                (time.time() + self._lease_seconds, holder, time.time()),
            )

    def begin_answering(self, key: str, holder: str) -> bool:
        """To be called before an answer is made, which may be what the process dies of; false as below."""
        return self._changed("tries = tries + 1", (), key, holder)

    def begin_posting(self, key: str, holder: str) -> bool:
        """To be called before a message is posted; false where that must not be, since somebody else has the question,
        or nobody wants the answer any more.
        """
        return self._changed("state = 'posting', lease = ?", (time.time() + self._lease_seconds,), key, holder)

    def posted(self, key: str, holder: str, parts: Sequence[str]) -> bool:
        """These are all the messages of the answer as yet; false as above."""
        return self._changed("state = 'shown', parts = ?", (json.dumps(parts),), key, holder)

    def wanted(self, key: str, holder: str) -> bool:
        """Whether the holder still has the question, and its answer is still wanted."""
        return self._changed("tries = tries", (), key, holder)

    def finish(self, key: str, holder: str, answer: str | None = None) -> None:
        """The answer is given: what was asked is deleted, `answer` kept for a while to be shared."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE question SET state = 'done', text = '', reply_url = '', answer = ?, holder = NULL"
                " WHERE key = ? AND holder = ?",
                (answer, key, holder),
            )

    def put_back(self, key: str, holder: str, seconds: float, *, counted: bool = True) -> None:
        """Somebody may try again, after so long (LONGEST_SECONDS at most); `counted` where that it failed is held
        against the question.
        """
        with self._file.writing() as db:
            db.execute(
                "UPDATE question SET holder = NULL, lease = ?, tries = max(0, tries - ?) WHERE key = ? AND holder = ?"
                " AND state NOT IN ('done', 'refused')",
                (time.time() + seconds, 0 if counted else 1, key, holder),
            )

    def release(self, holder: str) -> None:
        """The holder ends in order: what it had may be taken up at once, unless a message of it may be under way."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE question SET holder = NULL, lease = 0, tries = max(0, tries - 1)"
                " WHERE holder = ? AND state IN ('received', 'shown', 'withdrawn')",
                (holder,),
            )

    def answer_of(self, key: str) -> str | None:
        """A private answer that was kept to be shared."""
        found = self._file.read(
            "SELECT answer FROM question WHERE key = ? AND received > ?", (key, time.time() - SHARED_HOURS * _HOUR)
        )
        return found[0][0] if found else None

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        self._file.close()

    def _changed(self, change: str, values: tuple[str | float, ...], key: str, holder: str) -> bool:
        with self._file.writing() as db:
            changed = db.execute(
                f"UPDATE question SET {change} WHERE key = ? AND holder = ?"  # noqa: S608  all of it is written here
                " AND state IN ('received', 'posting', 'shown')",
                (*values, key, holder),
            )
            return changed.rowcount > 0

    def _forget(self, db: Connection, now: float) -> None:
        self._file.delete("DELETE FROM question WHERE received < ?", (now - KEPT_DAYS * _DAY,))
        db.execute(
            "UPDATE question SET answer = NULL WHERE answer IS NOT NULL AND received < ?", (now - SHARED_HOURS * _HOUR,)
        )

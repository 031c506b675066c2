"""The sources of a snapshot and who speaks in them, in one SQLite file that is small enough to be copied."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.errors import SnapshotError
from index.prepare import SourceRecord
from ingest.model import Person, Source
from ingest.speakers import Naming, Speaker

_SCHEMA = """
CREATE TABLE source (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, segment TEXT NOT NULL, first_row INTEGER NOT NULL,
    turns INTEGER NOT NULL, passages INTEGER NOT NULL, root TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
    title TEXT NOT NULL, kind TEXT NOT NULL, url TEXT, date TEXT, people TEXT NOT NULL, warnings TEXT NOT NULL,
    naming TEXT NOT NULL, canonical TEXT NOT NULL, seconds REAL, access TEXT NOT NULL,
    UNIQUE (root, path));
CREATE TABLE speaker (name TEXT PRIMARY KEY, aliases TEXT NOT NULL, roles TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A source and where it is kept: the folder of its segment, its number in it, and the row of its first passage.

    A number is never used for another state of any source. The rows of a source follow one another.
    """

    record: SourceRecord
    number: int
    segment: str
    first_row: int


def write_catalogue(path: Path, entries: Iterable[Entry], speakers: Iterable[Speaker]) -> None:
    """A new file."""
    with _writing(path) as db:
        db.executescript(_SCHEMA)
        _insert(db, entries, speakers)


def update_catalogue(
    path: Path, older: Path, gone: Iterable[Entry], new: Iterable[Entry], speakers: Iterable[Speaker]
) -> None:
    """A new file: what the file `older` has, without the entries `gone`, with the `new` ones, and other speakers."""
    shutil.copyfile(older, path)
    with _writing(path) as db:
        db.executemany("DELETE FROM source WHERE number = ?", ((entry.number,) for entry in gone))
        db.execute("DELETE FROM speaker")
        _insert(db, new, speakers)


@contextmanager
def _writing(path: Path) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db, db:
        # Whoever publishes the folder sees to it that it is on the disk; a crash before leaves nothing to mend.
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        yield db


def _insert(db: sqlite3.Connection, entries: Iterable[Entry], speakers: Iterable[Speaker]) -> None:
    db.executemany("INSERT INTO source VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", map(_fields, entries))
    db.executemany("INSERT INTO speaker VALUES (?,?,?)", ((s.name, _json(s.aliases), _json(s.roles)) for s in speakers))


def read_catalogue(path: Path) -> tuple[list[Entry], list[Speaker]]:
    """What `write_catalogue` wrote: sources by id, speakers by name."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as db:
            entries = [_entry(*fields) for fields in db.execute("SELECT * FROM source ORDER BY id")]
            found = db.execute("SELECT name, aliases, roles FROM speaker ORDER BY name").fetchall()
    except sqlite3.DatabaseError as error:
        raise SnapshotError(f"{path} is not a database that SQLite reads: {error}") from error
    return entries, [Speaker(name, tuple(json.loads(a)), tuple(json.loads(r))) for name, a, r in found]


def _fields(entry: Entry) -> Sequence[Any]:
    r, s = entry.record, entry.record.source
    kept = (entry.number, s.id, entry.segment, entry.first_row, r.turns, r.passages, r.root, s.path, r.digest)
    people = [[p.name, p.role, p.aliases] for p in s.people]
    described = (s.title, s.kind, s.url, s.date, _json(people), _json(r.warnings))
    return (*kept, *described, _json(r.naming.turns), _json(r.canonical), r.seconds, _json(s.access))


def _entry(
    number: int,
    source_id: str,
    segment: str,
    first_row: int,
    turns: int,
    passages: int,
    root: str,
    path: str,
    digest: str,
    title: str,
    kind: Any,
    url: str | None,
    date: str | None,
    people: str,
    warnings: str,
    naming: str,
    canonical: str,
    seconds: float | None,
    access: str,
) -> Entry:
    groups = tuple(_list(access))
    listed = tuple(Person(name, role, tuple(aliases)) for name, role, aliases in _list(people))
    record = SourceRecord(
        Source(source_id, path, title, kind, url, date, listed, groups),
        root,
        digest,
        Naming(json.loads(naming), listed, groups),
        json.loads(canonical),
        turns,
        passages,
        tuple((line, reason) for line, reason in _list(warnings)),
        seconds,
    )
    return Entry(record, number, segment, first_row)


def _list(text: str) -> list[Any]:
    """From JSON; most lists of thousands of sources are empty, and are not parsed."""
    return [] if text == "[]" else json.loads(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

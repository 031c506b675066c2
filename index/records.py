"""Text and metadata of a snapshot in one SQLite file: sources, turns, passages and speakers."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.dense import Rows
from index.errors import SnapshotError
from ingest.model import Cue, Document, Passage, Person, Source, Span, Turn
from ingest.speakers import Speaker

_SCHEMA = """
CREATE TABLE source (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, root TEXT NOT NULL, path TEXT NOT NULL, digest TEXT NOT NULL,
    title TEXT NOT NULL, kind TEXT NOT NULL, url TEXT, date TEXT, people TEXT NOT NULL, warnings TEXT NOT NULL,
    UNIQUE (root, path));
CREATE TABLE turn (
    source INTEGER NOT NULL REFERENCES source, number INTEGER NOT NULL, name TEXT, speaker TEXT,
    attribution TEXT NOT NULL, text TEXT NOT NULL, cues TEXT NOT NULL, heading TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (source, number)) WITHOUT ROWID;
CREATE TABLE passage (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source INTEGER NOT NULL REFERENCES source,
    ordinal INTEGER NOT NULL, words INTEGER NOT NULL, sentences TEXT NOT NULL, first_sentence INTEGER NOT NULL,
    digest TEXT NOT NULL);
CREATE TABLE speaker (name TEXT PRIMARY KEY, aliases TEXT NOT NULL, roles TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE spoken (
    speaker TEXT NOT NULL, row INTEGER NOT NULL REFERENCES passage, words INTEGER NOT NULL,
    PRIMARY KEY (speaker, row)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source with what the next ingest needs to know: where the file lies, and what was in it.

    `digest` is of the file and its sidecar. The turns carry canonical speakers; `names` are, for each turn, the name
    that the document itself uses.
    """

    source: Source
    root: str
    digest: str
    turns: tuple[Turn, ...]
    names: tuple[str | None, ...]
    warnings: tuple[tuple[int | None, str], ...] = ()

    @property
    def document(self) -> Document:
        """What the reader had read, before names were made canonical."""
        turns = tuple(replace(turn, speaker=name) for turn, name in zip(self.turns, self.names, strict=True))
        s = self.source
        return Document(s.title, s.kind, turns, s.people, s.url, s.date, self.warnings)


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """A passage with its row, the row of its first sentence's vector, and the digest of what was embedded."""

    passage: Passage
    row: int
    first_sentence: int
    digest: str


def write_records(
    path: Path, sources: Sequence[SourceRecord], passages: Iterable[PassageRecord], speakers: Iterable[Speaker]
) -> None:
    """A new file; `passages` come in row order, those of a source together and in the order of `sources`."""
    numbers = {record.source.id: number for number, record in enumerate(sources)}
    turns = {record.source.id: record.turns for record in sources}
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(_SCHEMA)
        for record in sources:
            s, number = record.source, numbers[record.source.id]
            people = [[p.name, p.role, p.aliases] for p in s.people]
            origin = (record.root, s.path, record.digest)
            described = (s.title, s.kind, s.url, s.date, _json(people), _json(record.warnings))
            db.execute("INSERT INTO source VALUES (?,?,?,?,?,?,?,?,?,?,?)", (number, s.id, *origin, *described))
            db.executemany(
                "INSERT INTO turn VALUES (?,?,?,?,?,?,?,?,?)",
                (
                    (number, i, name, t.speaker, t.attribution, t.text, _cues_json(t.cues), _json(t.heading), t.note)
                    for i, (t, name) in enumerate(zip(record.turns, record.names, strict=True))
                ),
            )
        for record in passages:
            p = record.passage
            sentences = _json([(s.turn, s.begin, s.end) for s in p.sentences])
            placed = (record.row, p.id, numbers[p.source_id], p.ordinal, p.words)
            db.execute(
                "INSERT INTO passage VALUES (?,?,?,?,?,?,?,?)",
                (*placed, sentences, record.first_sentence, record.digest),
            )
            spoken: Counter[str] = Counter()
            for s in p.sentences:
                turn = turns[p.source_id][s.turn]
                if turn.speaker:
                    spoken[turn.speaker] += len(turn.text[s.begin : s.end].split())
            db.executemany("INSERT INTO spoken VALUES (?,?,?)", ((name, record.row, n) for name, n in spoken.items()))
        db.executemany(
            "INSERT INTO speaker VALUES (?,?,?)", ((s.name, _json(s.aliases), _json(s.roles)) for s in speakers)
        )


class Records:
    """Reads what `write_records` wrote. Safe to use from several threads at once."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, check_same_thread=False)
            self._sources = {number: source for number, source in self._read_sources()}
            placed = self._db.execute("SELECT source, words FROM passage ORDER BY row").fetchall()
        except sqlite3.DatabaseError as error:
            raise SnapshotError(f"{path} is not a database that SQLite reads: {error}") from error
        self._numbers = {source.id: number for number, source in self._sources.items()}
        table = np.asarray(placed, dtype=np.int64).reshape(-1, 2)
        self.source_numbers: Rows = table[:, 0]
        """For each row, the number of its source."""
        self.words: Rows = table[:, 1]
        """For each row, the words of its passage."""
        self._speakers: dict[str | None, tuple[Speaker, ...]] = {}

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def sources(self) -> list[Source]:
        """All sources, in the order of their rows."""
        return list(self._sources.values())

    def source(self, source_id: str) -> Source | None:
        """The source of that id."""
        number = self._numbers.get(source_id)
        return None if number is None else self._sources[number]

    def source_records(self) -> list[SourceRecord]:
        """All that is known of all sources."""
        rows = self._db.execute("SELECT number, root, digest, warnings FROM source ORDER BY number")
        records: list[SourceRecord] = []
        for number, root, digest, warnings in rows.fetchall():
            found = self._db.execute("SELECT name FROM turn WHERE source = ? ORDER BY number", (number,))
            source = self._sources[number]
            records.append(
                SourceRecord(
                    source,
                    root,
                    digest,
                    self.turns(source.id),
                    tuple(name for (name,) in found),
                    tuple((line, reason) for line, reason in json.loads(warnings)),
                )
            )
        return records

    def turns(self, source_id: str, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        """The turns `first` to `last` (both included; to the end by default) of a source, in order."""
        found = self._db.execute(
            "SELECT speaker, attribution, text, cues, heading, note FROM turn"
            " WHERE source = ? AND number BETWEEN ? AND ? ORDER BY number",
            (self._numbers[source_id], first, last if last is not None else 1 << 62),
        )
        return tuple(
            Turn(speaker, text, _cues(cues), attribution, tuple(json.loads(heading)), note)
            for speaker, attribution, text, cues, heading, note in found.fetchall()
        )

    def passages(self, rows: Sequence[int] | None = None) -> list[PassageRecord]:
        """The passages of some rows in the order given, or all in row order."""
        columns = "row, id, source, ordinal, words, sentences, first_sentence, digest"
        if rows is None:
            found = self._db.execute(f"SELECT {columns} FROM passage ORDER BY row").fetchall()  # noqa: S608
            return [self._passage(*fields) for fields in found]
        marks = ",".join("?" * len(rows))
        query = f"SELECT {columns} FROM passage WHERE row IN ({marks})"  # noqa: S608
        by_row = {fields[0]: self._passage(*fields) for fields in self._db.execute(query, tuple(rows))}
        return [by_row[row] for row in rows]

    def speakers(self, source_id: str | None = None) -> Sequence[Speaker]:
        """All who speak in the corpus, or in one source, by name; read once, since every question needs them."""
        if source_id not in self._speakers:
            self._speakers[source_id] = self._read_speakers(source_id)
        return self._speakers[source_id]

    def _read_speakers(self, source_id: str | None) -> tuple[Speaker, ...]:
        query, values = "SELECT name, aliases, roles FROM speaker", ()
        if source_id is not None:
            query += (
                " WHERE name IN (SELECT spoken.speaker FROM spoken JOIN passage USING (row) WHERE passage.source = ?)"
            )
            values = (self._numbers[source_id],)
        found = self._db.execute(f"{query} ORDER BY name", values)
        return tuple(Speaker(name, tuple(json.loads(a)), tuple(json.loads(r))) for name, a, r in found.fetchall())

    def speaker_counts(self) -> list[tuple[str, str, int]]:
        """Speaker, source id and number of turns, for each speaker of each source."""
        found = self._db.execute(
            "SELECT turn.speaker, source.id, count(*) FROM turn JOIN source ON source.number = turn.source"
            " WHERE turn.speaker IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return found.fetchall()

    def source_counts(self) -> dict[str, tuple[int, int]]:
        """Numbers of turns and of passages of each source."""
        found = self._db.execute(
            "SELECT id, (SELECT count(*) FROM turn WHERE source = source.number),"
            " (SELECT count(*) FROM passage WHERE source = source.number) FROM source"
        )
        return {source_id: (turns, passages) for source_id, turns, passages in found}

    def rows(self, source_id: str | None = None, speakers: Sequence[str] = ()) -> Rows:
        """The rows of the passages of a source, or in which one of the speakers speaks, or both; ascending."""
        clauses: list[str] = []
        values: list[Any] = []
        if source_id is not None:
            clauses.append("source = (SELECT number FROM source WHERE id = ?)")
            values.append(source_id)
        if speakers:
            marks = ",".join("?" * len(speakers))
            clauses.append(f"row IN (SELECT row FROM spoken WHERE speaker IN ({marks}))")  # noqa: S608
            values += speakers
        where = " AND ".join(clauses) or "1"
        found = self._db.execute(f"SELECT row FROM passage WHERE {where} ORDER BY row", values)  # noqa: S608
        return np.asarray([row for (row,) in found.fetchall()], dtype=np.int64)

    def shares(self, speakers: Sequence[str], rows: Rows) -> NDArray[np.float64]:
        """For each row, the share of its words that these speakers say, 0 to 1."""
        marks = ",".join("?" * len(speakers))
        query = f"SELECT row, sum(words) FROM spoken WHERE speaker IN ({marks}) GROUP BY row"  # noqa: S608
        said = dict[int, int](self._db.execute(query, tuple(speakers)).fetchall())
        return np.asarray([said.get(row, 0) for row in rows.tolist()]) / np.maximum(self.words[rows], 1)

    def flaws(self) -> list[str]:
        """What SQLite and the references between the tables have against the file; a sentence each."""
        flaws = [f"records.sqlite: {message}" for (message,) in self._db.execute("PRAGMA integrity_check")]
        flaws = [flaw for flaw in flaws if not flaw.endswith(": ok")]
        flaws += [f"records.sqlite: {table} {row} refers to nothing" for table, row, *_ in self._foreign_keys()]
        for source in self.sources():
            flaws += self._source_flaws(source)
        return flaws

    def _foreign_keys(self) -> list[tuple[Any, ...]]:
        return self._db.execute("PRAGMA foreign_key_check").fetchall()

    def _source_flaws(self, source: Source) -> list[str]:
        turns = self.turns(source.id)
        flaws = [
            f"records.sqlite: turn {i} of {source.id} has no cue at its first character"
            for i, turn in enumerate(turns)
            if not turn.cues or turn.cues[0].offset != 0
        ]
        for record in self.passages(self.rows(source.id).tolist()):
            for s in record.passage.sentences:
                if not (0 <= s.turn < len(turns) and 0 <= s.begin < s.end <= len(turns[s.turn].text)):
                    flaws.append(f"records.sqlite: passage {record.passage.id} cites words that {source.id} lacks")
        return flaws

    def _read_sources(self) -> list[tuple[int, Source]]:
        found = self._db.execute("SELECT number, id, path, title, kind, url, date, people FROM source ORDER BY number")
        return [
            (
                number,
                Source(
                    source_id,
                    path,
                    title,
                    kind,
                    url,
                    date,
                    tuple(Person(name, role, tuple(aliases)) for name, role, aliases in json.loads(people)),
                ),
            )
            for number, source_id, path, title, kind, url, date, people in found.fetchall()
        ]

    def _passage(
        self,
        row: int,
        passage_id: str,
        source: int,
        ordinal: int,
        words: int,
        sentences: str,
        first_sentence: int,
        digest: str,
    ) -> PassageRecord:
        spans = tuple(Span(turn, begin, end) for turn, begin, end in json.loads(sentences))
        passage = Passage(passage_id, self._sources[source].id, ordinal, spans, words)
        return PassageRecord(passage, row, first_sentence, digest)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cues_json(cues: Iterable[Cue]) -> str:
    return _json([[c.position, c.offset, c.start, c.end, c.line] for c in cues])


def _cues(text: str) -> tuple[Cue, ...]:
    return tuple(Cue(*fields) for fields in json.loads(text))

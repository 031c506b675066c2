"""Segments: the turns, passages and vectors of some sources, written once and never changed.

    records.sqlite   turns and passages, and who speaks in which
    passages.npy     a row for each passage: what a search needs of all it looks at
    vectors.faiss    the passages' vectors
    graph.faiss      the same as a graph, where there are many
    sentences.npy    the sentences' vectors, int8

Passages are numbered by rows, which ascend in a segment and from one segment to the next.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from index.dense import GRAPH_FROM, DenseIndex, Rows, VectorFiles, write_graph, write_vectors
from index.embed import Matrix
from index.embedded import Embedded
from index.errors import SnapshotError
from index.prepare import Prepared, SourceRecord, passage_text
from ingest.model import Cue, Passage, Span, Turn

RECORDS, PASSAGES, VECTORS = "records.sqlite", "passages.npy", "vectors.faiss"
GRAPH, SENTENCES = "graph.faiss", "sentences.npy"
_UNPACKED = "vectors.npy"

_SCHEMA = """
CREATE TABLE turn (
    source INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT, speaker TEXT, attribution TEXT NOT NULL,
    text TEXT NOT NULL, cues TEXT NOT NULL, heading TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (source, number)) WITHOUT ROWID;
CREATE TABLE passage (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, ordinal INTEGER NOT NULL, sentences TEXT NOT NULL, digest TEXT NOT NULL);
CREATE INDEX passage_digest ON passage (digest);
CREATE TABLE spoken (speaker TEXT PRIMARY KEY, places BLOB NOT NULL, words BLOB NOT NULL) WITHOUT ROWID;
"""
_TURN = "speaker, attribution, text, cues, heading, note"
COLUMNS = np.dtype([("row", "<i8"), ("source", "<i8"), ("middle", "<f8"), ("first_sentence", "<i8"), ("words", "<i8")])
"""Of a passage: its row, the number of its source, the position of its middle word there, the place of its first
sentence's vector in the segment, and its number of words."""


class SegmentWriter:
    """Writes a segment into an empty folder, source by source; nothing is held in memory but some columns."""

    def __init__(self, folder: Path, dimension: int) -> None:
        self.folder = folder
        self._dimension = dimension
        self._db = sqlite3.connect(folder / RECORDS)
        # Whoever publishes the folder sees to it that it is on the disk; a crash before leaves nothing to mend.
        self._db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -64000;")
        self._db.executescript(_SCHEMA)
        self._columns: list[NDArray[Any]] = []
        self._spoken: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._vectors = _Rows(folder / _UNPACKED, np.dtype(np.float32), dimension)
        self._sentences = _Rows(folder / SENTENCES, np.dtype(np.int8), dimension)

    def add(self, number: int, first_row: int, source: Embedded) -> None:
        """Rows and numbers ascend from source to source."""
        prepared = source.prepared
        self._db.executemany(
            "INSERT INTO turn VALUES (?,?,?,?,?,?,?,?,?)",
            (
                (number, i, name, t.speaker, t.attribution, t.text, _cues_json(t.cues), _json(t.heading), t.note)
                for i, (t, name) in enumerate(zip(prepared.turns, prepared.names, strict=True))
            ),
        )
        columns = np.empty(len(prepared.passages), COLUMNS)
        columns["row"] = np.arange(first_row, first_row + len(columns))
        columns["source"] = number
        words = np.asarray([passage.words for passage in prepared.passages], np.int64)
        columns["words"], columns["middle"] = words, np.cumsum(words) - words / 2
        counts = np.asarray([len(passage.sentences) for passage in prepared.passages], np.int64)
        columns["first_sentence"] = self._sentences.count + np.cumsum(counts) - counts
        self._columns.append(columns)
        for i, (passage, text) in enumerate(zip(prepared.passages, prepared.texts, strict=True)):
            sentences = _json([(s.turn, s.begin, s.end) for s in passage.sentences])
            self._db.execute(
                "INSERT INTO passage VALUES (?,?,?,?,?)",
                (first_row + i, passage.id, passage.ordinal, sentences, text.digest),
            )
            for speaker, count in _spoken(passage, prepared.turns).items():
                self._spoken[speaker].append((self._vectors.count + i, count))
        self._vectors.append(source.vectors)
        self._sentences.append(source.sentences)

    def close(self) -> None:
        """Finishes the files."""
        for speaker, pairs in self._spoken.items():
            places, words = np.asarray(pairs, np.int64).T
            self._db.execute("INSERT INTO spoken VALUES (?,?,?)", (speaker, places.tobytes(), words.tobytes()))
        self._db.commit()
        self._db.close()
        np.save(self.folder / PASSAGES, np.concatenate(self._columns) if self._columns else np.empty(0, COLUMNS))
        self._sentences.close()
        self._vectors.close()
        unpacked = self.folder / _UNPACKED
        vectors = np.load(unpacked, mmap_mode="r")
        write_vectors(self.folder / VECTORS, vectors)
        if len(vectors) >= GRAPH_FROM:
            write_graph(self.folder / GRAPH, vectors)
        unpacked.unlink()

    def abandon(self) -> None:
        """Closes what is open, for a folder that is thrown away."""
        self._db.close()
        self._vectors.close()
        self._sentences.close()


class _Rows:
    """A .npy file that grows by rows."""

    def __init__(self, path: Path, dtype: np.dtype[Any], width: int) -> None:
        self._file = path.open("wb")
        self._header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False}
        self._width = width
        self.count = 0
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        self._file.write(np.ascontiguousarray(rows).data)
        self.count += len(rows)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()  # as long as before: numpy leaves room for the number of rows to grow
        self._file.close()

    def _write_header(self) -> None:
        npy.write_array_header_1_0(self._file, {**self._header, "shape": (self.count, self._width)})


class Segment:
    """Reads what a `SegmentWriter` wrote. Safe to use from several threads at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / RECORDS
        try:
            self._db = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, check_same_thread=False)
            self._db.execute("SELECT 1 FROM passage LIMIT 1")
            self.columns: NDArray[Any] = np.load(folder / PASSAGES, mmap_mode="r").view(np.ndarray)
            self.sentences: NDArray[np.int8] = np.load(folder / SENTENCES, mmap_mode="r").view(np.ndarray)
        except sqlite3.DatabaseError as error:
            raise SnapshotError(f"{path} is not a database that SQLite reads: {error}") from error
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{folder} holds what numpy cannot read: {error}") from error
        # Views of single columns: numpy is slow to take one out of a structured array.
        self._rows: Rows = self.columns["row"]
        self._words: Rows = self.columns["words"]
        self._first_sentences: Rows = self.columns["first_sentence"]
        self._dense: DenseIndex | None = None

    @property
    def files(self) -> VectorFiles:
        """Where its vectors are."""
        graph = self.folder / GRAPH
        return VectorFiles(self.folder / VECTORS, graph if graph.exists() else None)

    def close(self) -> None:
        """Closes its files."""
        self._db.close()

    def turns(self, source: int, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        """The turns `first` to `last` (both included; to the end by default) of a source, in order."""
        found = self._db.execute(
            f"SELECT {_TURN} FROM turn WHERE source = ? AND number BETWEEN ? AND ? ORDER BY number",  # noqa: S608
            (source, first, last if last is not None else 1 << 62),
        )
        return tuple(_turn(*fields) for fields in found.fetchall())

    def turns_in(self, ranges: Sequence[tuple[int, int, int]]) -> list[dict[int, Turn]]:
        """For each range, `(source, first, last)` with both ends included, its turns by their index."""
        marks = ",".join(["(?,?,?,?)"] * len(ranges))
        found = self._db.execute(
            f"WITH range(place, source, first, last) AS (VALUES {marks}) SELECT place, number, {_TURN} FROM range"  # noqa: S608
            " JOIN turn ON turn.source = range.source AND number BETWEEN first AND last",
            [value for place, wanted in enumerate(ranges) for value in (place, *wanted)],
        )
        turns: list[dict[int, Turn]] = [{} for _ in ranges]
        for place, number, *fields in found:
            turns[place][number] = _turn(*fields)
        return turns

    def names(self, source: int) -> tuple[str | None, ...]:
        """For each turn of a source, the name that the document itself uses."""
        found = self._db.execute("SELECT name FROM turn WHERE source = ? ORDER BY number", (source,))
        return tuple(name for (name,) in found.fetchall())

    def passages(self, rows: Sequence[int], source_ids: Sequence[str]) -> list[Passage]:
        """The passages of some rows of it, in the order given; each row's source has the id beside it."""
        marks = ",".join("?" * len(rows))
        query = f"SELECT row, id, ordinal, sentences FROM passage WHERE row IN ({marks})"  # noqa: S608
        words = self._words[self.places(np.asarray(rows, np.int64))].tolist()
        found = {row: fields for row, *fields in self._db.execute(query, tuple(rows))}
        passages: list[Passage] = []
        for row, source_id, count in zip(rows, source_ids, words, strict=True):
            passage_id, ordinal, sentences = found[row]
            spans = tuple(Span(turn, begin, end) for turn, begin, end in json.loads(sentences))
            passages.append(Passage(passage_id, source_id, ordinal, spans, count))
        return passages

    def spoken(self, speaker: str) -> tuple[Rows, NDArray[np.int64]]:
        """The places of the passages in which somebody speaks, ascending, and how many words in each."""
        found = self._db.execute("SELECT places, words FROM spoken WHERE speaker = ?", (speaker,)).fetchone()
        places, words = found or (b"", b"")
        return np.frombuffer(places, np.int64), np.frombuffer(words, np.int64)

    def known(self, digest: str) -> tuple[Matrix, NDArray[np.int8]] | None:
        """The vector of a passage that was embedded from the text of that digest, and those of its sentences."""
        query = "SELECT row, json_array_length(sentences) FROM passage WHERE digest = ? LIMIT 1"
        found = self._db.execute(query, (digest,)).fetchone()
        if found is None:
            return None
        (place,) = self.places(np.asarray(found[:1], np.int64))
        return self.vectors(np.asarray([place]))[0], self.sentence_vectors(place, found[1])

    def count_sentences(self, sources: NDArray[np.int64]) -> int:
        """Sentences of the passages of some sources."""
        counts = np.diff(self.columns["first_sentence"], append=len(self.sentences))
        return int(counts[np.isin(self.columns["source"], sources)].sum())

    def places(self, rows: Rows) -> Rows:
        """Where in the segment the passages of some rows stand."""
        return np.searchsorted(self._rows, rows)

    def sentence_vectors(self, place: int | np.int64, count: int) -> NDArray[np.int8]:
        """The vectors of the sentences of the passage at a place, of which there are so many."""
        first = int(self._first_sentences[place])
        return self.sentences[first : first + count]

    def vectors(self, places: Rows) -> Matrix:
        """The vectors of the passages at some places."""
        if self._dense is None:
            self._dense = DenseIndex([self.files], self.sentences.shape[1])
        return self._dense.vectors(places)

    def prepared(self, record: SourceRecord, number: int, first_row: int) -> Prepared:
        """All that was written of a source but its vectors."""
        turns = self.turns(number)
        rows = range(first_row, first_row + record.passages)
        passages = tuple(self.passages(rows, [record.source.id] * len(rows)))
        texts = tuple(passage_text(passage, turns) for passage in passages)
        return Prepared(record, turns, self.names(number), passages, texts)

    def embedded(self, record: SourceRecord, number: int, first_row: int) -> Embedded:
        """All that was written of a source."""
        prepared = self.prepared(record, number, first_row)
        if not record.passages:
            return Embedded(prepared, np.empty((0, self.sentences.shape[1]), np.float32), self.sentences[:0])
        place = int(self.places(np.asarray([first_row]))[0])
        count = sum(len(passage.sentences) for passage in prepared.passages)
        vectors = self.vectors(np.arange(place, place + record.passages))
        return Embedded(prepared, vectors, self.sentence_vectors(place, count))

    def flaws(self) -> list[str]:
        """What SQLite has against the file, and columns that do not go together; a sentence each."""
        name = f"{self.folder.name}/{RECORDS}"
        flaws = [f"{name}: {message}" for (message,) in self._db.execute("PRAGMA integrity_check")]
        flaws = [flaw for flaw in flaws if not flaw.endswith(": ok")]
        rows = [row for (row,) in self._db.execute("SELECT row FROM passage ORDER BY row")]
        if rows != self.columns["row"].tolist():
            flaws.append(f"{name}: its passages are not those of {PASSAGES}")
        for speaker, places, words in self._db.execute("SELECT speaker, places, words FROM spoken"):
            said = np.frombuffer(places, np.int64)
            if len(places) != len(words) or (len(said) and not 0 <= said.min() <= said.max() < len(self.columns)):
                flaws.append(f"{name}: {speaker!r} speaks in passages that are not there")
        return flaws


def source_flaws(name: str, turns: Sequence[Turn], passages: Iterable[Passage]) -> list[str]:
    """What is wrong with the turns and passages of one source; a sentence each."""
    flaws = [
        f"{name}: turn {i} has no cue at its first character"
        for i, turn in enumerate(turns)
        if not turn.cues or turn.cues[0].offset != 0
    ]
    for passage in passages:
        for s in passage.sentences:
            if not (0 <= s.turn < len(turns) and 0 <= s.begin < s.end <= len(turns[s.turn].text)):
                flaws.append(f"{name}: passage {passage.id} cites words that are not there")
    return flaws


def _spoken(passage: Passage, turns: Sequence[Turn]) -> Counter[str]:
    """The words of a passage by who says them."""
    spoken: Counter[str] = Counter()
    for s in passage.sentences:
        turn = turns[s.turn]
        if turn.speaker:
            spoken[turn.speaker] += len(turn.text[s.begin : s.end].split())
    return spoken


def _turn(speaker: str | None, attribution: Any, text: str, cues: str, heading: str, note: str) -> Turn:
    read = tuple(Cue(*fields) for fields in json.loads(cues))
    return Turn(speaker, text, read, attribution, tuple(json.loads(heading)) if heading != "[]" else (), note)


def _cues_json(cues: Iterable[Cue]) -> str:
    return _json([[c.position, c.offset, c.start, c.end, c.line] for c in cues])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""The store in PostgreSQL, as it is read: one view of it, which knows the sources and speakers of one generation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, LiteralString

import numpy as np
from pgvector import HalfVector

from index.dense import Rows
from index.embed import Matrix
from index.fuse import union
from index.lexical import POSTINGS
from index.postgres.connect import Connection, Database, connected
from index.postgres.postings import PostingList, best, bm25, idf
from index.postgres.rows import (
    PLACES,
    SOURCE,
    TURN,
    passage_from,
    source_record,
    speaker_from,
    turn_from,
)
from index.postgres.schema import check
from index.prepare import SourceRecord
from index.store import Candidates, Holdings, Scope, StoredPassage
from ingest.model import Passage, Source, Turn
from ingest.speakers import Speaker, Speakers

COMPARED = 10_000
"""In a store of so many passages each is compared with the query: the graph would not be faster."""
SCATTERED = 2_000
"""The same for those of a speaker, times the number of all, under a root: the fewer they are, the longer a walk through
the graph meets others."""
_EVERY = 2**62

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_HOLDINGS = """
SELECT generation, to_char(changed AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), model, dimension,
    sources, turns, passages, sentences FROM holdings"""
_SOURCES: LiteralString = f"SELECT {SOURCE} FROM source WHERE number = ANY(%s)"
_IDF = "SELECT term, term.passages, holdings.passages FROM holdings LEFT JOIN term ON term = ANY(%s)"
_LISTS: LiteralString = """
SELECT t.passages, l.blocks, l.lengths, l.entries, holdings.passages, holdings.tokens FROM holdings, (
    SELECT term, passages, sum(passages) OVER rarest_first AS read, row_number() OVER rarest_first AS place
    FROM term WHERE term = ANY(%(terms)s) WINDOW rarest_first AS (ORDER BY passages, term)
) t, LATERAL (
    SELECT string_agg(int8send(block), '') AS blocks, string_agg(int4send(octet_length(entries)), '') AS lengths,
        string_agg(entries, '') AS entries
    FROM posting WHERE posting.term = t.term"""
_LISTS_READ: LiteralString = ") l WHERE (t.read <= %(most)s OR t.place = 1) AND l.entries IS NOT NULL"
_SAID: LiteralString = "SELECT DISTINCT row FROM spoken WHERE speaker = ANY(%(speakers)s)"
_OF_SOURCE: LiteralString = """
row >= (SELECT number << 20 FROM source WHERE id = %(source)s)
AND row < (SELECT number + 1 << 20 FROM source WHERE id = %(source)s)"""
_BLOCKS_OF_SOURCE: LiteralString = """
block >= (SELECT number << 12 FROM source WHERE id = %(source)s)
AND block < (SELECT number + 1 << 12 FROM source WHERE id = %(source)s)"""
_COSINES: LiteralString = "SELECT row, -(vector <#> %(vector)s) FROM passage"
_BY_GRAPH: LiteralString = "ORDER BY vector <#> %(vector)s LIMIT %(limit)s"
_BY_EACH: LiteralString = "ORDER BY (vector <#> %(vector)s) + 0, row LIMIT %(limit)s"  # a sum no index is made for
_PLACED = "SELECT row, middle, words FROM passage WHERE row = ANY(%(rows)s) ORDER BY row"
_FAVOURED = """
SELECT row, sum(words) FROM spoken WHERE speaker = ANY(%(favoured)s) AND row = ANY(%(rows)s) GROUP BY row"""
_PASSAGES = """
SELECT row, id, words, sentences, sentence_vectors, -(vector <#> %(vector)s) FROM passage WHERE row = ANY(%(rows)s)"""
_TURNS_OF_PASSAGES: LiteralString = f"""
SELECT DISTINCT ON (source, number) source, number, speaker, {TURN} FROM passage
CROSS JOIN LATERAL (SELECT min(sentences[i]) AS first, max(sentences[i]) AS last
    FROM generate_series(1, array_length(sentences, 1), 3) AS i) AS range
JOIN turn ON source = row >> 20 AND number >= range.first AND number <= range.last
WHERE row = ANY(%(rows)s)"""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a view knows without asking: the sources by their numbers, and all speakers by name."""

    holdings: Holdings
    records: Mapping[int, SourceRecord]
    speakers: Speakers


class PostgresStore:
    """A view of the store at one generation. Safe to use from several threads at once.

    Sources and speakers are those of the generation; passages and turns are found as they are at the moment.
    """

    def __init__(self, database: Database, known: _Known, graph: bool | None) -> None:
        self._database = database
        self._graph = graph
        self._numbered = dict(known.records)
        self._records = {r.source.id: r for r in sorted(known.records.values(), key=lambda r: r.source.id)}
        self._speakers = known.speakers
        self.holdings = known.holdings

    def live_id(self) -> str:
        return self._database.read(_live_id)

    def newer(self) -> PostgresStore:
        known = self._database.read(lambda connection: _load(connection, self._numbered))
        return PostgresStore(self._database.share(), known, self._graph)

    def damage(self) -> Sequence[str]:
        return []  # PostgreSQL has checksums of its own

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        return self.holdings.counts["passages"]

    @property
    def _by_graph(self) -> bool:
        """Whether the graph is asked where nothing limits the search."""
        return len(self) > COMPARED if self._graph is None else self._graph

    @property
    def _compared(self) -> int:
        """Up to how many passages of a speaker are compared one by one."""
        if self._graph is None:
            return max(COMPARED, isqrt(SCATTERED * len(self)))
        return 0 if self._graph else _EVERY

    def sources(self) -> Sequence[Source]:
        return [record.source for record in self._records.values()]

    def source(self, source_id: str) -> Source | None:
        record = self._records.get(source_id)
        return record.source if record else None

    def turns(self, source_id: str, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        query = f"""
            SELECT speaker, {TURN} FROM turn WHERE source = (SELECT number FROM source WHERE id = %s)
            AND number >= %s AND number <= coalesce(%s, 2147483647) ORDER BY number"""
        found = self._database.read(lambda c: c.execute(query, (source_id, first, last), binary=True).fetchall())
        return tuple(turn_from(*fields) for fields in found)

    def passages_of(self, source_id: str) -> Sequence[Passage]:
        query = f"SELECT row, id, words, sentences FROM passage WHERE {_OF_SOURCE} ORDER BY row"
        found = self._database.read(lambda c: c.execute(query, {"source": source_id}, binary=True).fetchall())
        return [passage_from(source_id, *fields) for fields in found]

    def speakers(self, source_id: str | None = None) -> Speakers:
        if source_id is None:
            return self._speakers
        spoken = self._records[source_id].spoken
        return Speakers(speaker for speaker in self._speakers if speaker.name in spoken)

    def speaker_counts(self) -> Sequence[tuple[str, str, int]]:
        return sorted((name, i, count) for i, r in self._records.items() for name, count in r.spoken.items())

    def source_counts(self) -> Mapping[str, tuple[int, int]]:
        return {source_id: (record.turns, record.passages) for source_id, record in self._records.items()}

    def durations(self) -> Mapping[str, float]:
        lengths = ((source_id, record.seconds) for source_id, record in self._records.items())
        return {source_id: seconds for source_id, seconds in lengths if seconds is not None}

    def idf(self, terms: Sequence[str]) -> dict[str, float]:
        found = self._database.read(lambda c: c.execute(_IDF, (list(terms),)).fetchall())
        having = {term: count for term, count, _ in found}
        return {term: idf(found[0][2], having.get(term, 0)) for term in terms}

    def find(
        self, terms: Sequence[str], vector: Matrix, limit: int, scope: Scope, favoured: Sequence[str]
    ) -> Candidates:
        return self._database.read(lambda connection: self._find(connection, terms, vector, limit, scope, favoured))

    def _find(
        self,
        connection: Connection,
        terms: Sequence[str],
        vector: Matrix,
        limit: int,
        scope: Scope,
        favoured: Sequence[str],
    ) -> Candidates:
        """Two round trips: both rankings, and where what they found stands; all of one moment."""
        values: dict[str, Any] = {
            "terms": list(terms),
            "most": POSTINGS if scope.source_id is None else _EVERY,
            "vector": HalfVector(vector),
            "limit": limit,
            "compared": self._compared,
            "source": scope.source_id,
            "speakers": list(scope.speakers),
            "favoured": list(favoured),
        }
        with connection.pipeline():
            connection.execute(_BEGIN)
            listed = connection.execute(_lists(scope), values, binary=True)
            near = connection.execute(_near(scope, graph=self._by_graph), values, binary=True)
            said = connection.execute(_packed(_allowed(scope)), values, binary=True) if scope.speakers else None
            lists = listed.fetchall()
            passages, tokens = lists[0][4:] if lists else (0, 0)
            allowed = np.frombuffer(said.fetchall()[0][0], ">i8") if said else None
            lexical = bm25([PostingList(*fields[:4]) for fields in lists], passages, tokens, limit, allowed)
            cosines = np.asarray(near.fetchall(), np.float64).reshape(-1, 2)
            # Rows are whole numbers below 2^53, so that a float holds them.
            by_row = cosines[np.argsort(cosines[:, 0])]
            dense = best(by_row[:, 0].astype(np.int64), by_row[:, 1].astype(np.float32), limit)
            rows = union(lexical, dense)
            values["rows"] = rows.tolist()
            placed = connection.execute(_PLACED, values, binary=True)
            theirs = connection.execute(_FAVOURED, values, binary=True) if favoured else None
            connection.execute("COMMIT")
        columns = np.asarray(placed.fetchall(), np.float64).reshape(-1, 3)
        words = np.zeros(len(rows))
        for row, count in theirs or ():
            words[np.searchsorted(rows, row)] = count
        return Candidates(lexical, dense, rows, rows >> PLACES, columns[:, 1], words / np.maximum(columns[:, 2], 1))

    def passages(self, rows: Rows, vector: Matrix) -> list[StoredPassage]:
        if not len(rows):
            return []
        return self._database.read(lambda connection: self._passages(connection, rows.tolist(), vector))

    def _passages(self, connection: Connection, rows: list[int], vector: Matrix) -> list[StoredPassage]:
        values = {"rows": rows, "vector": HalfVector(vector)}
        with connection.pipeline():
            connection.execute(_BEGIN)
            found = connection.execute(_PASSAGES, values, binary=True)
            read = connection.execute(_TURNS_OF_PASSAGES, values, binary=True)
            connection.execute("COMMIT")
        turns = {(fields[0], fields[1]): turn_from(*fields[2:]) for fields in read}
        stored: dict[int, tuple[Any, ...]] = {fields[0]: fields for fields in found}
        numbers = {row >> PLACES for row in stored}
        sources = {number: r.source for number, r in self._of_numbers(connection, numbers).items()}
        return [
            _stored(stored[row], sources[row >> PLACES], turns, self.holdings.dimension)
            for row in rows
            if row in stored and row >> PLACES in sources
        ]

    def _of_numbers(self, connection: Connection, numbers: set[int]) -> Mapping[int, SourceRecord]:
        """The sources of these numbers; one that came after this view is looked up."""
        newer = list(numbers - self._numbered.keys())
        return self._numbered | _records(connection, newer) if newer else self._numbered


def open_postgres(url: str, replica_url: str | None = None, *, graph: bool | None = None) -> PostgresStore:
    """The store as it is now; where there is a replica, that is read from while it answers.

    `graph` says whether vectors are found through their graph, or one by one; without it, whichever is faster.
    Raises NoSnapshotError where nothing was ingested, SnapshotError where the tables are not this program's, and
    StoreError where no server can be reached.
    """
    with connected(*filter(None, (replica_url, url))) as connection:  # a pool would only wait, and not say why
        check(connection)
    database = Database(url, replica_url)
    try:
        return PostgresStore(database, database.read(lambda connection: _load(connection, {})), graph)
    except Exception:
        database.close()
        raise


def live_id(url: str, replica_url: str | None = None) -> str:
    """The id of the store as it is now; raises as `open_postgres` does."""
    with connected(*filter(None, (replica_url, url))) as connection:
        check(connection)
        return _live_id(connection)


def _live_id(connection: Connection) -> str:
    ((generation,),) = connection.execute("SELECT generation FROM holdings").fetchall()
    return _id(generation)


def _load(connection: Connection, known: Mapping[int, SourceRecord]) -> _Known:
    """What is there now; sources that are known already are not read again."""
    check(connection)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        (held,) = connection.execute(_HOLDINGS).fetchall()
        numbers = [number for (number,) in connection.execute("SELECT number FROM source")]
        listed = connection.execute("SELECT name, aliases, roles FROM speaker").fetchall()
        read = _records(connection, [number for number in numbers if number not in known])
    records = {number: known.get(number) or read[number] for number in numbers}
    described = {name: speaker_from(name, aliases, roles) for name, aliases, roles in listed}
    speaking = sorted({name for record in records.values() for name in record.spoken})
    speakers = Speakers(described.get(name) or Speaker(name) for name in speaking)
    generation, changed, model, dimension, *counted = held
    names = ("sources", "turns", "passages", "sentences")
    counts = dict(zip(names, counted, strict=True)) | {"speakers": len(speakers)}
    return _Known(Holdings(_id(generation), changed, model, dimension, counts), records, speakers)


def _records(connection: Connection, numbers: Sequence[int]) -> dict[int, SourceRecord]:
    found = connection.execute(_SOURCES, (list(numbers),), binary=True).fetchall()
    return {number: source_record(*fields) for number, *fields in found}


def _id(generation: int) -> str:
    return f"pg-{generation}"


def _lists(scope: Scope) -> LiteralString:
    query = _LISTS
    if scope.source_id is not None:
        query += f" AND {_BLOCKS_OF_SOURCE}"
    if scope.speakers:
        query += f" AND block = ANY(ARRAY(SELECT DISTINCT row >> 8 FROM ({_allowed(scope)}) AS said))"
    return query + _LISTS_READ


def _allowed(scope: Scope) -> LiteralString:
    """The rows in which any of the speakers speaks."""
    return _SAID if scope.source_id is None else f"{_SAID} AND {_OF_SOURCE}"


def _packed(rows: LiteralString) -> LiteralString:
    """All rows in one value, in network byte order: thousands come as fast as one."""
    return f"SELECT coalesce(string_agg(int8send(row), ''), '') FROM ({rows}) AS rows"


def _near(scope: Scope, *, graph: bool) -> LiteralString:
    """The query for the nearest vectors: through the graph where there are many to compare, else one by one."""
    if not scope:
        return f"{_COSINES} {_BY_GRAPH if graph else _BY_EACH}"
    if not scope.speakers:
        return f"{_COSINES} WHERE {_OF_SOURCE} {_BY_EACH}"
    if scope.source_id is not None:
        return f"{_COSINES} WHERE row = ANY(ARRAY({_allowed(scope)})) {_BY_EACH}"
    return f"""
        WITH said AS MATERIALIZED ({_SAID} LIMIT %(compared)s + 1)
        (
            {_COSINES} WHERE row = ANY(ARRAY(SELECT row FROM said))
            AND (SELECT count(*) FROM said) <= %(compared)s {_BY_EACH}
        ) UNION ALL (
            {_COSINES} WHERE (SELECT count(*) FROM said) > %(compared)s
            AND (SELECT true FROM spoken s WHERE s.row = passage.row AND s.speaker = ANY(%(speakers)s) LIMIT 1)
            {_BY_GRAPH}
        )"""


def _stored(
    fields: tuple[Any, ...], source: Source, turns: Mapping[tuple[int, int], Turn], dimension: int
) -> StoredPassage:
    row, passage_id, words, sentences, vectors, similarity = fields
    passage = passage_from(source.id, row, passage_id, words, sentences)
    number = row >> PLACES
    heard = sentences[::3]
    spoken = {turn: turns[number, turn] for turn in range(min(heard), max(heard) + 1)}
    return StoredPassage(
        row, passage, source, spoken, similarity, np.frombuffer(vectors, np.int8).reshape(-1, dimension)
    )

"""The store in PostgreSQL, as it is read: one view of it, which knows the sources and speakers of one generation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from ingest.speakers import Speaker, Speakers, merge_speakers

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
_SOURCES: LiteralString = f"SELECT {SOURCE} FROM source WHERE number = ANY(%(numbers)s)"
# What stands before a query takes the place of the tables that it names: whatever it asks, the rest is not there.
_READABLE = """
WITH source AS NOT MATERIALIZED (
    SELECT * FROM onrecord.source WHERE access = '{}' OR access && %(groups)s::text[]
), turn AS NOT MATERIALIZED (
    SELECT * FROM onrecord.turn t WHERE (SELECT true FROM source WHERE number = t.source)
), passage AS NOT MATERIALIZED (
    SELECT * FROM onrecord.passage p WHERE (SELECT true FROM source WHERE number = p.row >> 20)
), spoken AS NOT MATERIALIZED (
    SELECT * FROM onrecord.spoken s WHERE (SELECT true FROM source WHERE number = s.row >> 20)
), posting AS NOT MATERIALIZED (
    SELECT * FROM onrecord.posting p WHERE (SELECT true FROM source WHERE number = p.block >> 12)
), term AS NOT MATERIALIZED (
    SELECT term, sum(octet_length(entries) / 3)::bigint AS passages FROM posting
    WHERE term = ANY(%(terms)s) GROUP BY term
), holdings AS NOT MATERIALIZED (
    SELECT %(passages)s::bigint AS passages, %(tokens)s::bigint AS tokens
)"""
_IDF = "SELECT term, term.passages, holdings.passages FROM holdings LEFT JOIN term ON term = ANY(%(terms)s)"
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
_TURNS: LiteralString = f"""
SELECT speaker, {TURN} FROM turn WHERE source = (SELECT number FROM source WHERE id = %(source)s)
AND number >= %(first)s AND number <= coalesce(%(last)s, 2147483647) ORDER BY number"""
_PASSAGES_OF_SOURCE: LiteralString = f"SELECT row, id, words, sentences FROM passage WHERE {_OF_SOURCE} ORDER BY row"
_COSINES: LiteralString = "SELECT row, -(vector <#> %(vector)s) FROM passage"
# From the sources that may be read to their passages: to ask of each passage whether it may be takes 70 times as long.
_COSINES_BY_SOURCE: LiteralString = """
SELECT row, -(vector <#> %(vector)s) FROM source, onrecord.passage
WHERE row >= source.number << 20 AND row < source.number + 1 << 20"""
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
    """What a view knows without asking: the sources by their numbers, and all speakers by name.

    `sizes` are, for each number, sentences and tokens.
    """

    holdings: Holdings
    records: Mapping[int, SourceRecord]
    speakers: Speakers
    sizes: Mapping[int, tuple[int, int]]


class PostgresStore:
    """A view of the store at one generation. Safe to use from several threads at once.

    Sources and speakers are those of the generation; passages and turns are found as they are at the moment, and so is
    who may read them.
    """

    def __init__(
        self,
        database: Database,
        known: _Known,
        graph: bool | None,
        whole: int | None = None,
        groups: frozenset[str] | None = None,
    ) -> None:
        """`whole` is the number of all passages, where some of them are hidden from the `groups` for which it is."""
        self._database = database
        self._graph = graph
        self._known = known
        self._whole = whole
        self._groups = groups
        self._members = sorted(groups or ())
        self._tokens = sum(tokens for _, tokens in known.sizes.values())
        self._numbered = dict(known.records)
        self._records = {r.source.id: r for r in sorted(known.records.values(), key=lambda r: r.source.id)}
        self._speakers = known.speakers
        self.holdings = known.holdings
        self.groups = frozenset(group for record in self._records.values() for group in record.source.access)

    def readable(self, groups: frozenset[str]) -> PostgresStore:
        # Even where all is public: what comes next may not be.
        known = self._known
        records = {number: record for number, record in known.records.items() if record.source.is_open_to(groups)}
        if len(records) == len(known.records):
            return PostgresStore(self._database, known, self._graph, None, groups)
        sizes = {number: known.sizes[number] for number in records}
        merged, _ = merge_speakers([r.naming for r in sorted(records.values(), key=lambda r: r.source.id)])
        speakers = _speaking(records.values(), {speaker.name: speaker for speaker in merged})
        counts = {
            "sources": len(records),
            "turns": sum(record.turns for record in records.values()),
            "passages": sum(record.passages for record in records.values()),
            "sentences": sum(sentences for sentences, _ in sizes.values()),
            "speakers": len(speakers),
        }
        shown = _Known(replace(self.holdings, counts=counts), records, speakers, sizes)
        return PostgresStore(self._database, shown, self._graph, self._whole or len(self), groups)

    def _reading(self, query: LiteralString, *, narrow: bool | None = None) -> LiteralString:
        """A query of what its readers may read; `narrow` where it must be asked, though now all is readable."""
        hides = self._whole is not None if narrow is None else narrow
        return f"{_READABLE} ({query})" if hides else query

    def _values(self, **others: object) -> dict[str, Any]:
        return {"groups": self._members, "passages": len(self), "tokens": self._tokens, "terms": [], **others}

    def live_id(self) -> str:
        return self._database.read(_live_id)

    def newer(self) -> PostgresStore:
        known = self._database.read(lambda connection: _load(connection, self._numbered))
        store = PostgresStore(self._database.share(), known, self._graph)
        return store if self._groups is None else store.readable(self._groups)

    def damage(self) -> Sequence[str]:
        return []  # PostgreSQL has checksums of its own

    def close(self) -> None:
        self._database.close()

    def __len__(self) -> int:
        return self.holdings.counts["passages"]

    @property
    def _by_graph(self) -> bool:
        """Whether the graph is asked where nothing limits the search."""
        if self._graph is not None:
            return self._graph
        return len(self) > (COMPARED if self._whole is None else self._compared)

    @property
    def _compared(self) -> int:
        """Up to how many passages of a speaker are compared one by one, or of those that are not hidden."""
        if self._graph is None:
            return max(COMPARED, isqrt(SCATTERED * (self._whole or len(self))))
        return 0 if self._graph else _EVERY

    def sources(self) -> Sequence[Source]:
        return [record.source for record in self._records.values()]

    def source(self, source_id: str) -> Source | None:
        record = self._records.get(source_id)
        return record.source if record else None

    def turns(self, source_id: str, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        query = self._reading(_TURNS, narrow=self._groups is not None)
        values = self._values(source=source_id, first=first, last=last)
        found = self._database.read(lambda c: c.execute(query, values, binary=True).fetchall())
        return tuple(turn_from(*fields) for fields in found)

    def passages_of(self, source_id: str) -> Sequence[Passage]:
        query = self._reading(_PASSAGES_OF_SOURCE, narrow=self._groups is not None)
        found = self._database.read(lambda c: c.execute(query, self._values(source=source_id), binary=True).fetchall())
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
        query, values = self._reading(_IDF), self._values(terms=list(terms))
        found = self._database.read(lambda c: c.execute(query, values).fetchall())
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
        values = self._values(
            terms=list(terms),
            most=POSTINGS if scope.source_id is None else _EVERY,
            vector=HalfVector(vector),
            limit=limit,
            compared=self._compared,
            source=scope.source_id,
            speakers=list(scope.speakers),
            favoured=list(favoured),
        )
        lists_of, near_to = _lists(scope), _near(scope, graph=self._by_graph, by_source=self._whole is not None)
        said_by = _packed(_allowed(scope))
        with connection.pipeline():
            connection.execute(_BEGIN)
            listed = connection.execute(self._reading(lists_of), values, binary=True)
            near = connection.execute(self._reading(near_to), values, binary=True)
            said = connection.execute(self._reading(said_by), values, binary=True) if scope.speakers else None
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
        values = self._values(rows=rows, vector=HalfVector(vector))
        narrow = self._groups is not None
        with connection.pipeline():
            connection.execute(_BEGIN)
            found = connection.execute(self._reading(_PASSAGES, narrow=narrow), values, binary=True)
            read = connection.execute(self._reading(_TURNS_OF_PASSAGES, narrow=narrow), values, binary=True)
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
        if not newer:
            return self._numbered
        query = self._reading(_SOURCES, narrow=self._groups is not None)
        return self._numbered | _records(connection, self._values(numbers=newer), query)


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
        found = connection.execute("SELECT number, sentences, tokens FROM source", binary=True).fetchall()
        sizes = {number: (sentences, tokens) for number, sentences, tokens in found}
        listed = connection.execute("SELECT name, aliases, roles FROM speaker").fetchall()
        read = _records(connection, {"numbers": [number for number in sizes if number not in known]})
    records = {number: known.get(number) or read[number] for number in sizes}
    described = {name: speaker_from(name, aliases, roles) for name, aliases, roles in listed}
    speakers = _speaking(records.values(), described)
    generation, changed, model, dimension, *counted = held
    names = ("sources", "turns", "passages", "sentences")
    counts = dict(zip(names, counted, strict=True)) | {"speakers": len(speakers)}
    return _Known(Holdings(_id(generation), changed, model, dimension, counts), records, speakers, sizes)


def _speaking(records: Iterable[SourceRecord], described: Mapping[str, Speaker]) -> Speakers:
    """All who speak in some sources, by name. Where names are being settled, some are not described yet."""
    speaking = sorted({name for record in records for name in record.spoken})
    return Speakers(described.get(name) or Speaker(name) for name in speaking)


def _records(
    connection: Connection, values: Mapping[str, Any], query: LiteralString = _SOURCES
) -> dict[int, SourceRecord]:
    found = connection.execute(query, values, binary=True).fetchall()
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


def _near(scope: Scope, *, graph: bool, by_source: bool) -> LiteralString:
    """The query for the nearest vectors: through the graph where there are many to compare, else one by one.

    `by_source` goes from the sources to their passages, and so past those that are hidden.
    """
    if not scope:
        return f"{_COSINES} {_BY_GRAPH}" if graph else f"{_COSINES_BY_SOURCE if by_source else _COSINES} {_BY_EACH}"
    if not scope.speakers:
        return f"{_COSINES} WHERE {_OF_SOURCE} {_BY_EACH}"
    if scope.source_id is not None:
        return f"{_COSINES} WHERE row = ANY(ARRAY({_allowed(scope)})) {_BY_EACH}"
    return f"""
        SELECT * FROM (WITH said AS MATERIALIZED ({_SAID} LIMIT %(compared)s + 1)
        (
            {_COSINES} WHERE row = ANY(ARRAY(SELECT row FROM said))
            AND (SELECT count(*) FROM said) <= %(compared)s {_BY_EACH}
        ) UNION ALL (
            {_COSINES} WHERE (SELECT count(*) FROM said) > %(compared)s
            AND (SELECT true FROM spoken s WHERE s.row = passage.row AND s.speaker = ANY(%(speakers)s) LIMIT 1)
            {_BY_GRAPH}
        )) AS near"""


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

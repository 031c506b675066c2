"""The switch of a source from one state to the next: what one transaction does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString
from uuid import UUID

import numpy as np
from pgvector import HalfVector

from index.embedded import Embedded
from index.lexical import indexed_terms
from index.postgres.connect import Connection
from index.postgres.postings import pack
from index.postgres.rows import SOURCE, TURN, first_row, source_fields, turn_fields
from index.prepare import Prepared
from index.snapshot import FORMAT_VERSION
from ingest.model import Passage

_COUNTED = ("sources", "turns", "passages", "sentences", "tokens")
# Of terms and postings, what goes and what comes is added up in one statement, so that each term is written once.
_TERMS: LiteralString = """
WITH gone AS (
    DELETE FROM posting WHERE block >= %(old)s << 12 AND block < %(old)s + 1 << 12
    RETURNING term, -octet_length(entries) / 3 AS passages
), changed AS (
    SELECT term, passages FROM gone UNION ALL SELECT * FROM unnest(%(terms)s::text[], %(counts)s::bigint[])
)
INSERT INTO term SELECT term, sum(passages) FROM changed GROUP BY term HAVING sum(passages) <> 0
ON CONFLICT (term) DO UPDATE SET passages = term.passages + excluded.passages"""


def switch(connection: Connection, source_id: str, source: Embedded | None) -> bool:
    """Puts a source in the place of the one of that id, or nothing. Returns whether there was one.

    To be called in a transaction. Others can write at the same time until they all come to the holdings and the terms,
    so those come last.
    """
    number = _next_number(connection) if source else 0
    words = _words(source) if source else []
    if source:
        _write(connection, number, source, words)
    query = "SELECT number, 1, turns, passages, sentences, tokens FROM source WHERE id = %s"
    old, *before = connection.execute(query, (source_id,)).fetchone() or (0, 0, 0, 0, 0, 0)
    after = _counts(source, words) if source else [0] * len(_COUNTED)
    if not source and not old:
        return False
    sets = ", ".join(f"{name} = {name} + %s" for name in _COUNTED)
    connection.execute(
        f"UPDATE holdings SET generation = generation + 1, changed = clock_timestamp(), {sets}",
        [new - gone for new, gone in zip(after, before, strict=True)],
    )
    having = Counter(term for counts in words for term in counts)
    connection.execute(_TERMS, {"old": old, "terms": list(having), "counts": list(having.values())})
    connection.execute("DELETE FROM source WHERE number = %s", (old,))
    connection.execute("DELETE FROM turn WHERE source = %s", (old,))
    for table in ("passage", "spoken"):
        connection.execute(f"DELETE FROM {table} WHERE row >= %s AND row < %s", (first_row(old), first_row(old + 1)))
    if source:
        marks = "%s, " * 19
        connection.execute(
            f"INSERT INTO source ({SOURCE}, sentences, tokens, format) VALUES ({marks}%s)",
            (*source_fields(number, source.prepared.record), *after[-2:], FORMAT_VERSION),
        )
    return bool(old)


def _next_number(connection: Connection) -> int:
    found = connection.execute("SELECT nextval('source_number')").fetchone()
    return found[0] if found else 0


def _words(source: Embedded) -> list[Counter[str]]:
    """For each passage, how often it has each term."""
    return [Counter(indexed_terms(text.text)) for text in source.prepared.texts]


def _counts(source: Embedded, words: Sequence[Counter[str]]) -> list[int]:
    record = source.prepared.record
    sentences = sum(len(passage.sentences) for passage in source.prepared.passages)
    return [1, record.turns, record.passages, sentences, sum(counts.total() for counts in words)]


def _write(connection: Connection, number: int, source: Embedded, words: Sequence[Counter[str]]) -> None:
    """All of a source but its line among the sources, under a number that nobody has."""
    p, first = source.prepared, first_row(number)
    turns = zip(p.turns, p.names, strict=True)
    _copy(
        connection,
        f"COPY turn (source, number, name, speaker, {TURN}) FROM STDIN",
        ((number, i, name, turn.speaker, *turn_fields(turn)) for i, (turn, name) in enumerate(turns)),
    )
    lengths = np.asarray([passage.words for passage in p.passages], np.int64)
    middles = (np.cumsum(lengths) - lengths / 2).tolist()
    ends = np.cumsum([len(passage.sentences) for passage in p.passages], dtype=np.int64)
    sentences = np.split(source.sentences, ends[:-1])
    passages = zip(p.passages, p.texts, middles, source.vectors, sentences, strict=False)
    _copy(
        connection,
        "COPY passage FROM STDIN (FORMAT binary)",
        (
            (
                *(row, passage.id, passage.words, middle),
                [number for s in passage.sentences for number in (s.turn, s.begin, s.end)],
                UUID(text.digest),
                HalfVector(vector),
                theirs.tobytes(),
            )
            for row, (passage, text, middle, vector, theirs) in enumerate(passages, start=first)
        ),
        ("int8", "text", "int4", "float8", "int4[]", "uuid", "halfvec", "bytea"),
    )
    _copy(
        connection,
        "COPY spoken FROM STDIN (FORMAT binary)",
        (
            (speaker, row, count)
            for row, passage in enumerate(p.passages, start=first)
            for speaker, count in _spoken(p, passage).items()
        ),
        ("text", "int8", "int4"),
    )
    _copy(connection, "COPY posting FROM STDIN (FORMAT binary)", pack(first, words), ("text", "int8", "bytea"))


def _spoken(prepared: Prepared, passage: Passage) -> Counter[str]:
    """The speakers of a passage, each with the number of words."""
    spoken: Counter[str] = Counter()
    for s in passage.sentences:
        turn = prepared.turns[s.turn]
        if turn.speaker:
            spoken[turn.speaker] += len(turn.text[s.begin : s.end].split())
    return spoken


def _copy(
    connection: Connection, statement: LiteralString, lines: Iterable[Sequence[Any]], types: Sequence[str] = ()
) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        if types:
            copy.set_types(types)
        for line in lines:
            copy.write_row(line)

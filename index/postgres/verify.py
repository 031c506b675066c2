"""Whether what is in the database belongs together."""

from __future__ import annotations

from collections import Counter
from typing import LiteralString

from index.postgres.connect import Connection, connected
from index.postgres.rows import PLACES, TURN, first_row, passage_from, turn_from
from index.postgres.schema import check
from index.segment import source_flaws

_SOURCES = "SELECT number, id, turns, passages, sentences, naming, canonical FROM source ORDER BY id"
_TURNS: LiteralString = f"SELECT speaker, {TURN} FROM turn WHERE source = %s ORDER BY number"
_PASSAGES = """
SELECT row, id, words, sentences, octet_length(sentence_vectors) FROM passage
WHERE row >= %s AND row < %s ORDER BY row"""
_COUNTED: dict[str, LiteralString] = {
    "sources": "SELECT count(*) FROM source",
    "turns": "SELECT count(*) FROM turn",
    "passages": "SELECT count(*) FROM passage",
    "sentences": "SELECT coalesce(sum(array_length(sentences, 1) / 3), 0) FROM passage",
    "tokens": "SELECT coalesce(sum(tokens), 0) FROM source",
}
_ASTRAY: dict[str, LiteralString] = {
    "turns": "SELECT count(*) FROM turn WHERE NOT EXISTS (SELECT FROM source WHERE source.number = turn.source)",
    "passages": "SELECT count(*) FROM passage WHERE NOT EXISTS (SELECT FROM source WHERE source.number = row >> 20)",
    "speakers of passages": "SELECT count(*) FROM spoken WHERE row NOT IN (SELECT row FROM passage)",
    "postings": "SELECT count(*) FROM posting WHERE NOT EXISTS (SELECT FROM source WHERE source.number = block >> 12)",
}
_TERMS = """
SELECT coalesce(term.term, listed.term), coalesce(term.passages, 0), coalesce(listed.passages, 0)
FROM term FULL JOIN (SELECT term, sum(octet_length(entries) / 3) AS passages FROM posting GROUP BY term) listed
USING (term) WHERE coalesce(term.passages, 0) <> coalesce(listed.passages, 0) LIMIT 10"""
_INVALID = """
SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = 'onrecord' AND NOT (indisvalid AND indisready)"""


def verify_postgres(url: str) -> list[str]:
    """Every flaw of the store, a sentence each: counts, and references between its tables.

    Whether the pages are as they were written, PostgreSQL itself knows (`pg_checksums`, `pg_amcheck`). Raises
    NoSnapshotError where there is nothing yet.
    """
    with connected(url) as connection:
        check(connection)
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return [*_counts(connection), *_references(connection), *_sources(connection)]


def _counts(connection: Connection) -> list[str]:
    ((*held,),) = connection.execute("SELECT sources, turns, passages, sentences, tokens FROM holdings").fetchall()
    found = {name: _number(connection, query) for name, query in _COUNTED.items()}
    return [
        f"{wanted} {name} are counted, {found[name]} found"
        for name, wanted in zip(_COUNTED, held, strict=True)
        if wanted != found[name]
    ]


def _references(connection: Connection) -> list[str]:
    flaws = [f"the index {name} is not valid: REINDEX it" for (name,) in connection.execute(_INVALID)]
    for name, query in _ASTRAY.items():
        if astray := _number(connection, query):
            flaws.append(f"{astray} {name} belong to nothing")
    for term, counted, listed in connection.execute(_TERMS):
        flaws.append(f"the term {term!r} is said to be in {counted} passages, and is listed for {listed}")
    return flaws


def _sources(connection: Connection) -> list[str]:
    flaws: list[str] = []
    ((dimension,),) = connection.execute("SELECT dimension FROM holdings").fetchall()
    for number, source_id, turns, passages, sentences, naming, canonical in connection.execute(_SOURCES).fetchall():
        read = [turn_from(*fields) for fields in connection.execute(_TURNS, (number,))]
        rows = connection.execute(_PASSAGES, (first_row(number), first_row(number + 1))).fetchall()
        cut = [passage_from(source_id, *fields[:4]) for fields in rows]
        counts = (len(read), len(cut), sum(len(passage.sentences) for passage in cut))
        places = [row - (number << PLACES) for row, *_ in rows]
        if counts != (turns, passages, sentences) or places != list(range(len(cut))):
            flaws.append(f"{source_id} is not as it is described")
            continue
        for passage, (*_, length) in zip(cut, rows, strict=True):
            if length != len(passage.sentences) * dimension:
                flaws.append(f"passage {passage.id} of {source_id} lacks vectors of its sentences")
        flaws += source_flaws(source_id, read, cut)
        said = Counter[str]()
        for name, count in naming.items():
            said[canonical[name]] += count
        if said != Counter(turn.speaker for turn in read if turn.speaker):
            flaws.append(f"{source_id} has other speakers than it is said to have")
    return flaws


def _number(connection: Connection, query: LiteralString) -> int:
    ((number,),) = connection.execute(query).fetchall()
    return number

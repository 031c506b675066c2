"""The store in PostgreSQL: how fast it is written, how large it is, how fast it is searched, and by which design.

    python -m benchmarks.postgres [--passages 100000] [--clients 8] [--alternatives] [--questions DIR] [--quick]

Starts a server of its own and fills it with what `benchmarks/synthetic.py` makes up: no text is embedded, neither here
nor when it is searched. `--alternatives` ranks the same words in other ways, in tables made for it. `--questions` asks
the questions of a folder that `benchmarks/retrieval.py` describes of both stores, with the model. Prints Markdown.
A million passages take 12 GB in the temporary folder, and about an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.synthetic import DIMENSION, SHARES, Corpus, Query
from index.build import ingest
from index.embed import load_embedder
from index.embedded import Embedded
from index.lexical import POSTINGS, terms
from index.postgres.connect import Connection, Database, connected
from index.postgres.ingest import ingest_postgres
from index.postgres.postings import PostingList, bm25
from index.postgres.schema import migrate
from index.postgres.store import PostgresStore, _lists, open_postgres
from index.postgres.switch import switch
from index.search import CANDIDATES, Index
from index.store import Scope
from ingest.limits import Limits
from tests.postgres_server import PostgresServer

T = TypeVar("T")
SETTINGS = {"fsync": "on", "shared_buffers": "2GB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}
TOP = 8
"""Passages that are read of those found."""


def build(url: str, corpus: Corpus) -> tuple[int, float]:
    """Fills the store, one document after the other. Passages, and the seconds that it took to write them."""
    with connected(url) as connection:
        migrate(connection, "made up", DIMENSION)
    database = Database(url, writing=True)
    written, seconds = 0, 0.0
    for source in corpus.sources():
        start = time.perf_counter()

        def work(connection: Connection, source: Embedded = source) -> None:
            with connection.transaction():
                switch(connection, source.prepared.record.source.id, source)

        database.write(work)
        seconds += time.perf_counter() - start
        written += len(source.prepared.passages)
    for table in ("posting", "passage", "spoken", "term", "turn", "source"):
        database.write(lambda c, t=table: c.execute(f"VACUUM ANALYZE {t}".encode()))
    database.close()
    return written, seconds


def print_sizes(url: str, passages: int) -> None:
    query = """
        SELECT relname, pg_table_size(oid) - coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0),
            coalesce(pg_total_relation_size(nullif(reltoastrelid, 0)), 0), pg_indexes_size(oid)
        FROM pg_class WHERE relnamespace = 'onrecord'::regnamespace AND relkind = 'r' AND relname <> 'migration'
        ORDER BY pg_total_relation_size(oid) DESC LIMIT 6"""
    with connected(url) as connection:
        tables = connection.execute(query).fetchall()
        graph = connection.execute("SELECT pg_relation_size('passage_vector')").fetchone()
        whole = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert graph
    assert whole
    print("| GB per million passages | rows | out of line | indexes |\n| --- | --- | --- | --- |")
    for name, *sizes in tables:
        print(f"| `{name}` | {' | '.join(f'{size / passages / 1e3:.2f}' for size in sizes)} |")
    print(f"\nThe graph of the vectors alone: {graph[0] / passages / 1e3:.2f}; all: {whole[0] / passages / 1e3:.2f}.\n")


def spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{statistics.median(ordered) * 1e3:.1f} | {ordered[int(len(ordered) * 0.99)] * 1e3:.1f}"


def timed(work: Callable[[T], Any], asked: Sequence[T]) -> list[float]:
    """Seconds for each, after a few that nobody counts."""
    for each in asked[:5]:
        work(each)
    taken: list[float] = []
    for each in asked:
        began = time.perf_counter()
        work(each)
        taken.append(time.perf_counter() - began)
    return taken


def search(store: PostgresStore, query: Query, scope: Scope) -> None:
    """What a search asks of the store."""
    found = store.find(terms(query.text), query.vector, CANDIDATES, scope, ())
    store.passages(found.rows[:TOP], query.vector)


def by_speaker(corpus: Corpus) -> dict[str, Scope]:
    return {f"{share:.1%}": Scope(speakers=[name]) for share, name in zip(SHARES, corpus.frequent, strict=True)}


def print_searches(url: str, corpus: Corpus, asked: Sequence[Query]) -> None:
    with closing(open_postgres(url)) as store:
        source = max(store.source_counts().items(), key=lambda each: each[1][1])[0]
        scopes = {"all": Scope(), "the largest source": Scope(source)}
        scopes |= {f"{share} of the passages, by speaker": scope for share, scope in by_speaker(corpus).items()}
        timed(lambda query: search(store, query, Scope()), asked)  # until all is in memory
        print("| `find` and `passages` within | median ms | 99 % ms |\n| --- | --- | --- |")
        for name, scope in scopes.items():
            print(f"| {name} | {spread(timed(lambda q, s=scope: search(store, q, s), asked))} |")
        print(f"| all, `find` alone | {spread(timed(lambda q: find(store, q), asked))} |\n")


def find(store: PostgresStore, query: Query) -> None:
    store.find(terms(query.text), query.vector, CANDIDATES, Scope(), ())


def print_recall(url: str, corpus: Corpus, asked: Sequence[Query]) -> None:
    """Of the nearest, how many the graph finds."""
    with closing(open_postgres(url, graph=True)) as graph, closing(open_postgres(url, graph=False)) as exact:
        print("| the nearest that the graph finds | of 10 | of 300 |\n| --- | --- | --- |")
        scopes = {"all": Scope()} | by_speaker(corpus)
        for name, scope in scopes.items():
            shares: list[tuple[float, float]] = []
            for query in asked[:50]:
                wanted, found = (
                    store.find([], query.vector, CANDIDATES, scope, ()).dense[0].tolist() for store in (exact, graph)
                )
                if wanted:
                    shares.append(tuple(len({*wanted[:n]} & {*found}) / len(wanted[:n]) for n in (10, 300)))  # type: ignore[arg-type]
            print(f"| {name} | {np.mean([s for s, _ in shares]):.3f} | {np.mean([s for _, s in shares]):.3f} |")
        print("\n| one by one, or through the graph | median ms | 99 % ms |\n| --- | --- | --- |")
        for name, scope in scopes.items():
            for way, store in (("one by one", exact), ("graph", graph)):
                work = lambda q, s=store, o=scope: s.find([], q.vector, CANDIDATES, o, ())  # noqa: E731
                print(f"| {name}, {way} | {spread(timed(work, asked[:30]))} |")
    print()


def client(url: str, asked: Sequence[Query], seconds: float) -> int:
    """How many searches one process does."""
    done = 0
    with closing(open_postgres(url)) as store:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            search(store, asked[done % len(asked)], Scope())
            done += 1
    return done


def print_throughput(url: str, asked: Sequence[Query], clients: int, seconds: float) -> None:
    with get_context("forkserver").Pool(clients) as pool:
        done = sum(pool.starmap(client, [(url, asked[i:] + asked[:i], seconds) for i in range(clients)]))
    print(f"{clients} clients at once: {done / seconds:.0f} searches in a second, on {os.cpu_count()} cores for all.\n")


def fill_alternatives(url: str) -> None:
    """The same words in tables for other rankings."""
    statements = """
        CREATE TABLE plain AS SELECT term, (block << 8) + get_byte(entries, 3 * i) AS row,
            get_byte(entries, 3 * i + 1)::smallint AS count, get_byte(entries, 3 * i + 2)::smallint AS length
            FROM posting, generate_series(0, octet_length(entries) / 3 - 1) AS i;
        CREATE INDEX ON plain (term, row) INCLUDE (count, length);
        CREATE TABLE listed AS SELECT term, row >> 8 AS block,
            array_agg(((row & 255) * 65536 + count * 256 + length)::int ORDER BY row) AS entries
            FROM plain GROUP BY 1, 2;
        CREATE INDEX ON listed (term, block) INCLUDE (entries);
        CREATE TABLE texts AS SELECT row, string_agg(quote_literal(term) || ':'
            || (SELECT string_agg(p::text, ',') FROM generate_series(1, count) AS p), ' ')::tsvector AS words
            FROM plain GROUP BY row;
        CREATE INDEX ON texts USING gin (words);
        CREATE TABLE numbered AS SELECT term, row_number() OVER (ORDER BY term) AS number FROM term;
        CREATE UNIQUE INDEX ON numbered (term);
        CREATE TABLE weighed AS SELECT row, ('{' || string_agg(number || ':'
            || round((2.2 * count / (count + 1.2 * (0.25 + 0.75 * length / 50.0)))::numeric, 4), ',' ORDER BY number)
            || '}/1000000')::sparsevec(1000000) AS words
            FROM plain JOIN numbered USING (term) GROUP BY row;
        VACUUM ANALYZE"""
    with connected(url) as connection:
        for statement in statements.split(";"):
            connection.execute(statement.encode())


ALTERNATIVES = {
    "a row for each term and passage, summed up": (
        "plain",
        """SELECT row, sum(idf * 2.2 * count / (count + 1.2 * (0.25 + 0.75 * length / 50.0))) AS score
        FROM unnest(%(terms)s::text[], %(idf)s::float8[]) AS asked(term, idf) JOIN plain USING (term)
        GROUP BY row ORDER BY score DESC, row LIMIT 300""",
    ),
    "an array for each term and 256 passages, unnested and summed up": (
        "listed",
        """SELECT (block << 8) + (e >> 16) AS row, sum(idf * 2.2 * (e >> 8 & 255)
            / ((e >> 8 & 255) + 1.2 * (0.25 + 0.75 * (e & 255) / 50.0))) AS score
        FROM (SELECT block, idf, unnest(entries) AS e FROM unnest(%(terms)s::text[], %(idf)s::float8[])
            AS asked(term, idf) JOIN listed USING (term)) AS l
        GROUP BY 1 ORDER BY score DESC, row LIMIT 300""",
    ),
    "`ts_rank` over a GIN index": (
        "texts",
        """SELECT row, ts_rank(words, asked) AS score FROM texts, CAST(%(any)s AS tsquery) AS asked
        WHERE words @@ asked ORDER BY score DESC, row LIMIT 300""",
    ),
    "BM25 weights as `sparsevec`, one by one": (
        "weighed",
        """SELECT row, words <#> CAST((SELECT '{' || string_agg(number || ':' || idf, ',' ORDER BY number)
            || '}/1000000' FROM unnest(%(terms)s::text[], %(idf)s::float8[]) AS asked(term, idf)
            JOIN numbered USING (term)) AS sparsevec) AS score FROM weighed ORDER BY score, row LIMIT 300""",
    ),
}


def print_alternatives(url: str, asked: Sequence[Query], passages: int) -> None:
    fill_alternatives(url)
    print("| words alone, first 300 | median ms | 99 % ms | GB per million |\n| --- | --- | --- | --- |")
    with closing(open_postgres(url)) as store, connected(url) as connection:
        connection.prepare_threshold = 0

        def size(table: str) -> str:
            ((found,),) = connection.execute("SELECT pg_total_relation_size(%s::regclass)", (table,)).fetchall()
            return f"{found / passages / 1e3:.2f}"

        def ours(values: dict[str, Any]) -> None:
            lists = connection.execute(_lists(Scope()), values, binary=True).fetchall()
            bm25([PostingList(*fields[:4]) for fields in lists], *lists[0][4:], CANDIDATES)

        def other(values: dict[str, Any], statement: str) -> None:
            connection.execute(statement.encode(), values, binary=True).fetchall()

        asked_for: list[dict[str, Any]] = []
        for query in asked:
            idf = store.idf(terms(query.text))
            any_of = " | ".join(f"'{term}'" for term in idf)
            asked_for.append({"terms": list(idf), "idf": list(idf.values()), "any": any_of})
        for most, name in ((POSTINGS, "lists as bytes, scored by the reader"), (2**62, "the same, no term left out")):
            limited = [values | {"most": most} for values in asked_for]
            print(f"| {name} | {spread(timed(ours, limited))} | {size('posting')} |")
        for name, (table, statement) in ALTERNATIVES.items():
            taken = timed(lambda values, s=statement: other(values, s), asked_for)
            print(f"| {name} | {spread(taken)} | {size(table)} |")
    print()


def print_overlap(folder: Path, server: PostgresServer) -> None:
    """Of the first ten, how many both stores find, for all questions, with and without the filter on their source."""
    lines = (folder / "queries.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    embedder = load_embedder()
    url = server.new_database("overlap")
    with tempfile.TemporaryDirectory() as place:
        ingest([folder / "transcripts"], Path(place), embedder, Limits())
        report = ingest_postgres([folder / "transcripts"], url, embedder, Limits())
        with (
            closing(Index.open(Path(place), embedder)) as local,
            closing(Index(open_postgres(url), embedder)) as other,
            closing(Index(open_postgres(url, graph=True), embedder)) as graph,
        ):
            known = {source.path.partition(".")[0]: source.id for source in local.store.sources()}
            print(
                f"| {report.passages} passages, {len(questions)} questions | overlap of the first ten |\n| --- | --- |"
            )
            for name, index, filtered in (
                ("each source alone", other, True),
                ("all", other, False),
                ("all, through the graph", graph, False),
            ):
                shares: list[float] = []
                for question in questions:
                    vector = local.vector(question["question"])
                    source = known[question["source"]] if filtered else None
                    found = [
                        {hit.passage.id for hit in each.search(question["question"], vector, 10, source_id=source)}
                        for each in (local, index)
                    ]
                    shares.append(len(found[0] & found[1]) / max(len(found[0]), 1))
                print(f"| {name} | {statistics.mean(shares):.4f} |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--alternatives", action="store_true")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--quick", action="store_true", help="5,000 passages, a look at whether it works")
    options = parser.parse_args()
    wanted, asked_for, seconds = (5_000, 20, 2.0) if options.quick else (options.passages, 200, 10.0)
    server = PostgresServer(settings=SETTINGS)
    try:
        if options.questions:
            print_overlap(options.questions, server)
        url, corpus = server.new_database("made-up"), Corpus(wanted)
        passages, taken = build(url, corpus)
        print(f"{passages:,} passages are written at {passages / taken:.0f} in a second, by one worker.\n", flush=True)
        print_sizes(url, passages)
        asked = corpus.queries(asked_for)
        print_searches(url, corpus, asked)
        print_recall(url, corpus, asked)
        print_throughput(url, asked, options.clients, seconds)
        if options.alternatives:
            print_alternatives(url, asked, passages)
    finally:
        server.stop()


if __name__ == "__main__":
    main()

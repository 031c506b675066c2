"""Words on disk and BM25 over them; the only file that imports tantivy."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tantivy

from index.dense import Rows, Scores
from index.errors import SnapshotError

LONGEST_WORD = 60
WRITER_BYTES = 512 << 20
"""Most memory for words not written yet. A million passages need 300 MB: they come to lie in one part, not in seven,
and a search takes 1.4 ms, not 1.9."""
POSTINGS = 300_000
"""Most entries of passages that a search reads, at 5 ns each: terms beyond are left out, the most frequent first.

Only above some 100,000 passages are there as many. On the development set the same share of them, .25 for each passage,
gives the same recall of the hybrid search, .517 against .511.
"""

_FAULT_OF_THE_DISK = re.compile("os error|IoError")
"""As tantivy words it."""


@dataclass(frozen=True, slots=True)
class LexicalRecord:
    """What is indexed of one passage: its words, and what it can be filtered by."""

    row: int
    source_id: str
    speakers: Sequence[str]
    text: str


def _analyzer(*, stop_words: bool) -> tantivy.TextAnalyzer:
    builder = (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(LONGEST_WORD))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
    )
    if not stop_words:
        builder = builder.filter(tantivy.Filter.stopword("english"))
    return builder.filter(tantivy.Filter.stemmer("english")).build()


def _schema() -> tantivy.Schema:
    return (
        tantivy.SchemaBuilder()
        .add_integer_field("row", fast=True)
        .add_text_field("source", tokenizer_name="raw", index_option="basic")
        .add_text_field("speaker", tokenizer_name="raw", index_option="basic")
        .add_text_field("words", tokenizer_name="words", index_option="freq")
        .build()
    )


_CONTENT_WORDS, _ALL_WORDS = _analyzer(stop_words=False), _analyzer(stop_words=True)


def terms(text: str) -> list[str]:
    """The distinct terms of a text in order, without stop words unless it holds nothing else."""
    return list(dict.fromkeys(_CONTENT_WORDS.analyze(text) or _ALL_WORDS.analyze(text)))


def indexed_terms(text: str) -> list[str]:
    """The terms of a text as they are indexed: all, in order, each time it is there."""
    return _ALL_WORDS.analyze(text)


def write_words(folder: Path, records: Iterable[LexicalRecord]) -> None:
    """An index in the empty folder `folder`."""
    with _faults_of_the_disk(folder):
        _write(tantivy.Index(_schema(), str(folder)), (), records)


def update_words(folder: Path, removed: Iterable[str], records: Iterable[LexicalRecord]) -> None:
    """Takes the passages of some sources out of an index, then puts others in; no file that is there is written to."""
    with _faults_of_the_disk(folder):
        _write(tantivy.Index.open(str(folder)), removed, records)


def count_deleted(folder: Path) -> int:
    """Passages that were taken out of an index and still are in its files."""
    segments = json.loads((folder / "meta.json").read_bytes())["segments"]
    return sum(segment["deletes"]["num_deleted_docs"] for segment in segments if segment["deletes"])


@contextmanager
def _faults_of_the_disk(folder: Path) -> Generator[None]:
    try:
        yield
    except ValueError as error:
        if not _FAULT_OF_THE_DISK.search(str(error)):
            raise
        raise OSError(f"{folder}: {error}") from error


def _write(index: tantivy.Index, removed: Iterable[str], records: Iterable[LexicalRecord]) -> None:
    index.register_tokenizer("words", _analyzer(stop_words=True))
    writer = index.writer(heap_size=WRITER_BYTES, num_threads=1)
    for source_id in removed:
        writer.delete_documents_by_term("source", source_id)
    for record in records:
        writer.add_document(
            tantivy.Document(row=record.row, source=record.source_id, speaker=list(record.speakers), words=record.text)
        )
    writer.commit()
    writer.wait_merging_threads()


@contextmanager
def _readable(folder: Path) -> Generator[Path]:
    """Where tantivy can open an index: even to read it, it makes a file for a lock. What is open needs it no more."""
    if not folder.is_dir() or os.access(folder, os.W_OK):
        yield folder
        return
    with TemporaryDirectory(prefix="onrecord-") as links:
        for path in folder.iterdir():
            if path.suffix != ".lock":
                Path(links, path.name).symlink_to(path.resolve())
        yield Path(links)


class _Part:
    """What `write_words` wrote, once."""

    def __init__(self, folder: Path) -> None:
        try:
            with _readable(folder) as there:
                index = tantivy.Index.open(str(there))
                index.register_tokenizer("words", _analyzer(stop_words=True))
                index.config_reader("manual")
                self.searcher = index.searcher()
        except ValueError as error:
            raise SnapshotError(f"{folder} is not an index that tantivy reads: {error}") from error
        self.stored = self.searcher.num_docs + count_deleted(folder)

    def having(self, term: str) -> int:
        return self.searcher.doc_freq("words", term)

    def search(self, query: tantivy.Query, limit: int) -> tuple[Rows, Scores]:
        hits = self.searcher.search(query, limit, count=False).hits
        rows = self.searcher.fast_field_values("row", [address for _, address in hits])
        return np.asarray(rows, dtype=np.int64), np.asarray([score for score, _ in hits], dtype=np.float32)


class LexicalIndex:
    """Reads what `write_words` wrote, in one folder or several as if it were one. Safe to search from several threads.

    In each folder lengths are compared with the mean of that folder: nothing of a folder tells of what is in others.
    """

    def __init__(self, *folders: Path) -> None:
        self._parts = [_Part(folder) for folder in folders]
        self._schema = _schema()

    @classmethod
    def of(cls, indexes: Iterable[LexicalIndex]) -> LexicalIndex:
        """Some indexes, which stay as they are, as one."""
        joined = cls()
        joined._parts = [part for index in indexes for part in index._parts]
        return joined

    def __len__(self) -> int:
        return sum(part.searcher.num_docs for part in self._parts)

    def idf(self, term: str) -> float:
        """Inverse document frequency as BM25 has it (Robertson & Zaragoza 2009): ln(1 + (N - n + 0.5)/(n + 0.5)).

        Both N and n count what was taken out, as long as it is in the files.
        """
        return _idf(sum(part.stored for part in self._parts), sum(part.having(term) for part in self._parts))

    def search(
        self, terms: Sequence[str], limit: int, *, source_id: str | None = None, speakers: Sequence[str] = ()
    ) -> tuple[Rows, Scores]:
        """Up to `limit` rows that hold one of the terms and their BM25 (k1 1.2, b 0.75), best first.

        The filters are part of the query, so `limit` counts what passes them. Equal scores come in row order.
        """
        if source_id is None:  # in one source there are few
            terms = rarest({term: sum(part.having(term) for part in self._parts) for term in terms}, POSTINGS)
        if not terms or limit == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        if len(self._parts) == 1:
            rows, scores = self._parts[0].search(self._query(dict.fromkeys(terms, 1.0), source_id, speakers), limit)
        else:
            idf = {term: self.idf(term) for term in terms}
            found = [(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))]
            for part in self._parts:
                having = {term: count for term in terms if (count := part.having(term))}
                if having:  # each part weighs a term as if there were no others
                    weights = {term: idf[term] / _idf(part.stored, count) for term, count in having.items()}
                    found.append(part.search(self._query(weights, source_id, speakers), limit))
            rows, scores = map(np.concatenate, zip(*found, strict=True))
        order = np.lexsort((rows, -scores))[:limit]
        return rows[order], scores[order]

    def _query(self, weights: Mapping[str, float], source_id: str | None, speakers: Sequence[str]) -> tantivy.Query:
        words = {term: tantivy.Query.term_query(self._schema, "words", term, "freq") for term in weights}
        query = _any([w if weights[t] == 1.0 else tantivy.Query.boost_query(w, weights[t]) for t, w in words.items()])
        filters = [("source", [source_id] if source_id is not None else []), ("speaker", speakers)]
        clauses = [
            _any([tantivy.Query.term_query(self._schema, field, value, "basic") for value in values])
            for field, values in filters
            if values
        ]
        if not clauses:  # the disjunction stands alone, and passages that cannot win are skipped
            return query
        musts = [query, *(tantivy.Query.const_score_query(clause, 0.0) for clause in clauses)]
        return tantivy.Query.boolean_query([(tantivy.Occur.Must, must) for must in musts])


def _any(queries: Sequence[tantivy.Query]) -> tantivy.Query:
    return tantivy.Query.boolean_query([(tantivy.Occur.Should, query) for query in queries])


def _idf(passages: int, having: int) -> float:
    return float(np.log1p((passages - having + 0.5) / (having + 0.5)))


def rarest(frequencies: Mapping[str, int], most: int) -> list[str]:
    """Terms that stand in some passage, rarest first, as long as together they stand in `most`; but one at least."""
    kept: list[str] = []
    for term, frequency in sorted(frequencies.items(), key=lambda item: item[1]):
        most -= frequency
        if frequency and (most >= 0 or not kept):
            kept.append(term)
    return kept

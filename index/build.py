"""Files -> a new snapshot, incrementally: what did not change is neither read nor embedded again."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.dense import write_vectors
from index.embed import Embedder, Matrix
from index.errors import NoSnapshotError, SnapshotError
from index.lexical import LexicalRecord, write_words
from index.records import PassageRecord, SourceRecord, write_records
from index.search import LEXICAL, RECORDS, SENTENCES, VECTORS, Index
from index.snapshot import delete_unread, new_snapshot, publish, writer_lock
from ingest.corpus import Found, Walk, walk
from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.model import Document, Passage, Source, Turn
from ingest.passages import build_passages, speaker_label
from ingest.readers import read_document
from ingest.speakers import Naming, Speaker, merge_speakers

Progress = Callable[[int, int], None]
"""Called with the number of passages embedded so far and in all."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What was wrong with a file. `line` is 1-based, null where no single line is at fault."""

    path: str
    line: int | None
    error: str


@dataclass(slots=True)
class Report:
    """What an ingest did. `errors` name files that are not in the index, `warnings` flaws of files that are."""

    snapshot: str = ""
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    embedded: int = 0
    seconds: float = 0.0
    errors: list[Flaw] = field(default_factory=list[Flaw])
    warnings: list[Flaw] = field(default_factory=list[Flaw])


@dataclass(frozen=True, slots=True)
class _Text:
    """What is embedded and indexed of a passage, and where its sentences stand in it."""

    text: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.ranges}{self.text}".encode()).hexdigest()[:32]


def passage_text(passage: Passage, turns: Sequence[Turn]) -> _Text:
    """Each stretch of a turn on a line, its speaker before and its note after it, a new heading on a line above.

    None of the three is ever shown as words of the passage.
    """
    text, ranges = "", list[tuple[int, int]]()
    heading: tuple[str, ...] = ()
    for span in passage.spans:
        turn = turns[span.turn]
        text += "\n" if text else ""
        if turn.heading[-1:] != heading:
            heading = turn.heading[-1:]
            text += "".join(f"{title}\n" for title in heading)
        text += speaker_label(turn)
        shift = len(text) - span.begin
        inside = [s for s in passage.sentences if s.turn == span.turn and span.begin <= s.begin < span.end]
        ranges += [(s.begin + shift, s.end + shift) for s in inside]
        text += turn.text[span.begin : span.end]
        if turn.note and span.end == len(turn.text):
            text += f" {turn.note}"
    return _Text(text, tuple(ranges))


def ingest(
    paths: Sequence[Path],
    index_dir: Path,
    embedder: Embedder,
    limits: Limits,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Brings the index up to date with the files and folders `paths`, and leaves other sources as they are.

    A file that is gone from one of the folders is gone from the index. A file that cannot be read is reported and is
    not in the index either. Nothing is written where nothing changed.
    """
    began = time.monotonic()
    report = Report()
    with writer_lock(index_dir):
        with _previous(index_dir, embedder, report) as previous:
            old = {Path(r.root, r.source.path): r for r in previous.records.source_records()} if previous else {}
            walked, kept = _scan(paths, old, report)
            sources = _read(walked, old, kept, limits, report)
            speakers, canonical = merge_speakers([Naming.of(source.document) for source in sources])
            sources = [_with_speakers(source, names) for source, names in zip(sources, canonical, strict=True)]
            speaking = {turn.speaker for source in sources for turn in source.turns}
            speakers = [speaker for speaker in speakers if speaker.name in speaking]
            if previous and sources == list(old.values()):
                report.snapshot = previous.manifest.id
                report.passages = len(previous)
            else:
                _build(index_dir, sources, speakers, embedder, previous, report, progress)
        delete_unread(index_dir, keep=report.snapshot)
    report.seconds = time.monotonic() - began
    return report


@contextmanager
def _previous(index_dir: Path, embedder: Embedder, report: Report) -> Generator[Index | None]:
    try:
        index = Index.open(index_dir, embedder)
    except NoSnapshotError:
        yield None
        return
    except SnapshotError as error:
        report.warnings.append(Flaw(str(index_dir), None, f"{error}; starting from nothing"))
        yield None
        return
    try:
        yield index
    finally:
        index.close()


def _scan(paths: Sequence[Path], old: Mapping[Path, SourceRecord], report: Report) -> tuple[Walk, list[SourceRecord]]:
    """The files now there, and the sources of earlier ingests that these paths do not cover."""
    walked = walk(paths)
    report.errors += [Flaw(str(error.path), error.line, error.reason) for error in walked.errors]
    covers = {path.resolve() for path in paths}
    kept = {file: record for file, record in old.items() if covers.isdisjoint([file, *file.parents])}
    there = {Path(entry.root, entry.relative) for entry in walked.found}
    report.removed = len(old.keys() - kept.keys() - there)
    return walked, list(kept.values())


def _read(
    walked: Walk, old: Mapping[Path, SourceRecord], kept: Iterable[SourceRecord], limits: Limits, report: Report
) -> list[SourceRecord]:
    """All sources in the order of their ids; a file whose digest is known is not read."""
    sources = {record.source.id: record for record in kept}
    met = [old.get(Path(entry.root, entry.relative)) for entry in walked.found]
    taken = sources.keys() | {record.source.id for record in met if record}
    for entry, known in zip(walked.found, met, strict=True):
        if known and known.digest == entry.digest:
            report.unchanged += 1
            sources[known.source.id] = known
            continue
        try:
            document = read_document(entry.path, limits)
        except ReadError as error:
            report.errors.append(Flaw(str(error.path), error.line, error.reason))
            continue
        report.added += known is None
        report.updated += known is not None
        report.warnings += [Flaw(str(entry.path), line, reason) for line, reason in document.warnings]
        record = _record(entry, document, known, taken)
        sources[record.source.id] = record
    return [sources[source_id] for source_id in sorted(sources)]


def _record(entry: Found, document: Document, known: SourceRecord | None, taken: Container[str]) -> SourceRecord:
    """A source keeps the id it has; a new one gets that of its path, unless a file of another ingest has it taken."""
    d = document
    if known:
        source_id, root, path = known.source.id, known.root, known.source.path
    else:
        source_id, root, path = entry.source_id, str(entry.root), entry.relative
        if source_id in taken:
            source_id = f"{source_id}-{hashlib.sha256(str(Path(root, path)).encode()).hexdigest()[:8]}"
    source = Source(source_id, path, d.title, d.kind, d.url, d.date, d.people)
    return SourceRecord(source, root, entry.digest, d.turns, tuple(turn.speaker for turn in d.turns), d.warnings)


def _with_speakers(record: SourceRecord, canonical: dict[str, str]) -> SourceRecord:
    turns = tuple(
        replace(turn, speaker=canonical[name]) if name else turn
        for turn, name in zip(record.turns, record.names, strict=True)
    )
    return replace(record, turns=turns)


def _build(
    index_dir: Path,
    sources: Sequence[SourceRecord],
    speakers: Sequence[Speaker],
    embedder: Embedder,
    previous: Index | None,
    report: Report,
    progress: Progress,
) -> None:
    passages: list[Passage] = []
    texts: list[_Text] = []
    for record in sources:
        for passage in build_passages(record.source.id, record.turns, embedder.count_tokens, embedder.max_tokens):
            passages.append(passage)
            texts.append(passage_text(passage, record.turns))
    vectors, sentences, report.embedded = _vectors(texts, embedder, previous, progress)
    firsts = np.cumsum([0, *(len(text.ranges) for text in texts)]).tolist()
    records = [
        PassageRecord(passage, row, firsts[row], text.digest)
        for row, (passage, text) in enumerate(zip(passages, texts, strict=True))
    ]
    turns = {record.source.id: record.turns for record in sources}
    with new_snapshot(index_dir) as folder:
        write_records(folder / RECORDS, sources, records, speakers)
        write_vectors(folder / VECTORS, vectors)
        np.save(folder / SENTENCES, sentences)
        (folder / LEXICAL).mkdir()
        write_words(
            folder / LEXICAL,
            (
                LexicalRecord(
                    row,
                    passage.source_id,
                    sorted({name for s in passage.spans if (name := turns[passage.source_id][s.turn].speaker)}),
                    text.text,
                )
                for row, (passage, text) in enumerate(zip(passages, texts, strict=True))
            ),
        )
        manifest = publish(
            folder,
            model=embedder.fingerprint,
            dimension=embedder.dimension,
            corpus_hash=hashlib.sha256("\n".join(f"{r.source.id} {r.digest}" for r in sources).encode()).hexdigest(),
            counts={
                "sources": len(sources),
                "turns": sum(len(record.turns) for record in sources),
                "passages": len(passages),
                "sentences": len(sentences),
                "speakers": len(speakers),
            },
        )
    report.snapshot = manifest.id
    report.passages = len(passages)


def _vectors(
    texts: Sequence[_Text], embedder: Embedder, previous: Index | None, progress: Progress
) -> tuple[Matrix, NDArray[np.int8], int]:
    """Vectors of all passages, of all their sentences as int8, and how many passages had to be embedded."""
    vectors = np.empty((len(texts), embedder.dimension), dtype=np.float32)
    sentences: list[NDArray[np.int8]] = [np.empty((0, embedder.dimension), dtype=np.int8)] * len(texts)
    known = {record.digest: record for record in previous.records.passages()} if previous else {}
    new: list[int] = []
    for i, text in enumerate(texts):
        record = known.get(text.digest)
        if previous and record:
            vectors[i] = previous.dense.vectors(np.asarray([record.row]))[0]
            sentences[i] = previous.sentences[record.first_sentence : record.first_sentence + len(text.ranges)]
        else:
            new.append(i)

    def embed(i: int) -> None:
        vectors[i], rows = embedder.embed_passage(texts[i].text, texts[i].ranges)
        sentences[i] = quantise(rows)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(embed, new), start=1):
            progress(done, len(new))
    return vectors, np.concatenate(sentences) if sentences else np.empty((0, embedder.dimension), np.int8), len(new)


def quantise(rows: Matrix) -> NDArray[np.int8]:
    """Each row scaled so that its largest component is 127: a cosine does not depend on the length."""
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=1e-12)
    return np.rint(rows * (127.0 / largest)).astype(np.int8)

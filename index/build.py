"""Files -> a new snapshot, incrementally: what did not change is neither read nor embedded again.

A snapshot's sources lie in segments, which are never changed: what is new goes into a new one, and the newest are
written together whenever they have grown to be of a size ("the logarithmic method", Bentley & Saxe 1980), so that a
large segment and its graph are seldom made again. What is gone stays in its segment, dead, until much of it is.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from index.catalogue import Entry, update_catalogue, write_catalogue
from index.changes import Changed, Changes, Flaw, Progress, Report, find_changes, read_changed
from index.embed import Embedder
from index.embedded import Embedded, SourceEmbedder, Stored
from index.errors import NoSnapshotError, SnapshotError
from index.lexical import LexicalRecord, count_deleted, update_words, write_words
from index.local import CATALOGUE, SEGMENTS, LocalStore, by_access, count_records, open_local, words_folder
from index.prepare import Prepared, prepare
from index.search import foreign_model
from index.segment import Segment, SegmentWriter
from index.snapshot import delete_unread, link, new_snapshot, publish, writer_lock
from ingest.limits import Limits
from ingest.model import Document
from ingest.speakers import Naming, Speaker, merge_speakers

FIRST_GROUP, LARGEST_GROUP = 8, 512
"""Documents that are read while those before them are embedded: few at first, so that the model does not wait."""
SMALL = 2000
"""Passages up to which an index is written as one segment, in the order of its sources, whatever changed."""
MOST_DEAD = 0.25
"""Share of dead passages from which a segment, or the index of words, is written anew."""


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
            known = [entry.record for entry in previous.entries.values()] if previous else []
            changes = find_changes(paths, known, report)
            report.snapshot = _build(index_dir, changes, previous, embedder, limits, report, progress)
        delete_unread(index_dir, keep=report.snapshot)
    report.seconds = time.monotonic() - began
    return report


@contextmanager
def _previous(index_dir: Path, embedder: Embedder, report: Report) -> Generator[LocalStore | None]:
    try:
        store = open_local(index_dir)
    except NoSnapshotError:
        yield None
        return
    except SnapshotError as error:
        report.warnings.append(Flaw(str(index_dir), None, f"{error}; starting from nothing"))
        yield None
        return
    try:
        if reason := foreign_model(store.holdings, embedder):
            report.warnings.append(Flaw(str(index_dir), None, f"{reason}; starting from nothing"))
            yield None
        else:
            yield store
    finally:
        store.close()


def _build(
    index_dir: Path,
    changes: Changes,
    previous: LocalStore | None,
    embedder: Embedder,
    limits: Limits,
    report: Report,
    progress: Progress,
) -> str:
    """The id of the snapshot that is live afterwards: a new one, where anything changed."""
    if previous and not changes.changed and not changes.removed:
        report.passages = len(previous)
        return previous.holdings.id
    with new_snapshot(index_dir) as folder:
        build = _Build(folder, previous, changes, embedder, report, progress)
        build.add(_documents(changes.changed, limits, report))
        if previous and build.entries == previous.entries:
            report.passages = len(previous)
            return previous.holdings.id
        build.rename()
        build.arrange()
        return build.publish()


def _documents(changed: Sequence[Changed], limits: Limits, report: Report) -> Iterator[list[tuple[Changed, Document]]]:
    """Groups of documents, each read while the one before is worked on."""

    def read(group: Sequence[Changed]) -> list[tuple[Changed, Document]]:
        read = ((each, read_changed(each, limits, report)) for each in group)
        return [(each, document) for each, document in read if document]

    with ThreadPoolExecutor(1) as reader:
        following = None
        for group in _groups(changed):
            ready, following = following, reader.submit(read, group)
            if ready:
                yield ready.result()
        if following:
            yield following.result()


def _groups(changed: Iterable[Changed]) -> Iterator[list[Changed]]:
    left, size = iter(changed), FIRST_GROUP
    while group := list(islice(left, size)):
        yield group
        size = min(2 * size, LARGEST_GROUP)


class _Build:
    """A snapshot in the making: `entries` are the sources it will have, `segments` where they are."""

    def __init__(
        self,
        folder: Path,
        previous: LocalStore | None,
        changes: Changes,
        embedder: Embedder,
        report: Report,
        progress: Progress,
    ) -> None:
        self.folder = folder
        self._previous = previous
        self._embedder = embedder
        self._report = report
        old = previous.entries if previous else {}
        self.entries: dict[str, Entry] = {record.source.id: old[record.source.id] for record in changes.kept}
        self._namings: dict[str, Naming] = {source_id: e.record.naming for source_id, e in self.entries.items()}
        self._merged: tuple[list[Speaker], dict[str, dict[str, str]]] | None = None
        self.segments: dict[str, Segment] = dict(previous.segments) if previous else {}
        self._next_row = previous.next_row if previous else 0
        self._next_number = previous.next_number if previous else 0
        self._vectors = SourceEmbedder(embedder, self._known, report, progress)
        self._anew = previous is None
        (folder / SEGMENTS).mkdir()

    def add(self, groups: Iterable[Sequence[tuple[Changed, Document]]]) -> None:
        """Writes documents as they come, under the names that are canonical as far as is known by then."""
        self._write(chain.from_iterable(map(self._prepare, groups)))

    def rename(self) -> None:
        """Writes those sources again in which somebody goes by another canonical name, now that all are known."""
        _, canonical = self._speakers()
        stale = [entry for source_id, entry in self.entries.items() if entry.record.canonical != canonical[source_id]]
        self._write(
            prepare(r.source, r.root, r.digest, self._document(entry), canonical[r.source.id], self._embedder)
            for entry in stale
            for r in [entry.record]
        )

    def arrange(self) -> None:
        """Writes segments together, or anew without what is dead in them, as they have come to need it."""
        sizes = [self._size(segment) for segment in self.segments.values()]
        if sum(live for live, _ in sizes) <= SMALL and (len(sizes) > 1 or any(dead for _, dead in sizes)):
            self._start_anew()
            return
        names = list(self.segments)
        for begin, end in runs_to_rewrite(sizes):
            self._rewrite(names[begin:end])

    def publish(self) -> str:
        """Finishes the folder and makes it the live snapshot."""
        previous = self._previous
        for name, segment in self.segments.items():
            if previous and previous.segments.get(name) is segment:
                link(previous.held, self.folder, f"{SEGMENTS}/{name}")
        self._write_words()
        speakers, _ = self._speakers()
        speaking = {name for entry in self.entries.values() for name in entry.record.canonical.values()}
        speakers = [speaker for speaker in speakers if speaker.name in speaking]
        entries = [self.entries[source_id] for source_id in sorted(self.entries)]
        self._write_catalogue(entries, speakers)
        records = [entry.record for entry in entries]
        counts = count_records(entries, self.segments.values(), len(speakers))
        manifest = publish(
            self.folder,
            model=self._embedder.fingerprint,
            dimension=self._embedder.dimension,
            corpus_hash=hashlib.sha256("\n".join(f"{r.source.id} {r.digest}" for r in records).encode()).hexdigest(),
            counts=counts,
            older=previous.held if previous else None,
        )
        self._report.passages = counts["passages"]
        return manifest.id

    def _prepare(self, group: Sequence[tuple[Changed, Document]]) -> Iterator[Prepared]:
        self._namings.update((changed.source_id, Naming.of(document)) for changed, document in group)
        self._merged = None
        _, canonical = self._speakers()
        for changed, document in group:
            names = canonical[changed.source_id]
            yield prepare(changed.source(document), changed.root, changed.digest, document, names, self._embedder)

    def _speakers(self) -> tuple[list[Speaker], dict[str, dict[str, str]]]:
        """All speakers, and for each source the canonical names of those its turns name."""
        if self._merged is None:
            ids = sorted(self._namings)
            speakers, canonical = merge_speakers([self._namings[source_id] for source_id in ids])
            self._merged = speakers, dict(zip(ids, canonical, strict=True))
        return self._merged

    def _write(self, sources: Iterable[Prepared]) -> None:
        """A new segment of some sources, where there are any."""
        embedded = self._vectors.embed(sources)
        first = next(embedded, None)
        if first is None:
            return
        with self._new_segment() as (name, writer):
            for source in chain([first], embedded):
                self._place(name, writer, source)

    @contextmanager
    def _new_segment(self) -> Generator[tuple[str, SegmentWriter]]:
        taken = [int(name) for name in self.segments]
        name = f"{max(taken, default=-1) + 1:06d}"
        (self.folder / SEGMENTS / name).mkdir()
        writer = SegmentWriter(self.folder / SEGMENTS / name, self._embedder.dimension)
        try:
            yield name, writer
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        self.segments[name] = Segment(writer.folder)

    def _place(self, segment: str, writer: SegmentWriter, source: Embedded) -> None:
        record = source.prepared.record
        entry = Entry(record, self._next_number, segment, self._next_row)
        writer.add(entry.number, entry.first_row, source)
        self.entries[record.source.id] = entry
        self._next_number += 1
        self._next_row += record.passages

    def _known(self, digests: Sequence[str]) -> dict[str, Stored]:
        """The vectors of those texts that are in some segment already."""
        found = ((digest, self._known_in_any(digest)) for digest in digests)
        return {digest: pair for digest, pair in found if pair}

    def _known_in_any(self, digest: str) -> Stored | None:
        return next((pair for segment in self.segments.values() if (pair := segment.known(digest))), None)

    def _document(self, entry: Entry) -> Document:
        """What the reader had read, before names were made canonical."""
        segment, record = self.segments[entry.segment], entry.record
        turns = zip(segment.turns(entry.number), segment.names(entry.number), strict=True)
        read = tuple(replace(turn, speaker=name) for turn, name in turns)
        s = record.source
        return Document(s.title, s.kind, read, s.people, s.url, s.date, record.warnings, s.access)

    def _start_anew(self) -> None:
        """All sources in one segment, as if they had just been read."""
        old, self._anew = list(self.segments), True
        self._next_row = self._next_number = 0
        if self.entries:
            with self._new_segment() as (name, writer):
                for source_id in sorted(self.entries):
                    self._place(name, writer, self._stored(self.entries[source_id]))
        self._drop(old)

    def _rewrite(self, old: Sequence[str]) -> None:
        """One segment of what is live in some others; rows stay, so that the index of words does too."""
        entries = sorted(
            (entry for entry in self.entries.values() if entry.segment in old),
            key=lambda entry: (entry.first_row, entry.number),
        )
        if entries:
            with self._new_segment() as (name, writer):
                for entry in entries:
                    writer.add(entry.number, entry.first_row, self._stored(entry))
                    self.entries[entry.record.source.id] = replace(entry, segment=name)
        self._drop(old)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            segment = self.segments.pop(name)
            if segment.folder.is_relative_to(self.folder):
                segment.close()
                shutil.rmtree(segment.folder)

    def _stored(self, entry: Entry) -> Embedded:
        return self.segments[entry.segment].embedded(entry.record, entry.number, entry.first_row)

    def _write_catalogue(self, entries: Sequence[Entry], speakers: Sequence[Speaker]) -> None:
        """That of the snapshot before, brought up to date, unless all is new."""
        path, previous = self.folder / CATALOGUE, self._previous
        if previous is None or self._anew:
            write_catalogue(path, entries, speakers)
            return
        old = previous.entries
        # What stays is the very same object; to compare what it holds would take as long as to write it.
        gone = [entry for source_id, entry in old.items() if self.entries.get(source_id) is not entry]
        new = [entry for entry in entries if old.get(entry.record.source.id) is not entry]
        update_catalogue(path, previous.held.folder / CATALOGUE, gone, new, speakers)

    def _write_words(self) -> None:
        """The indexes of words: one of what everybody may read, and one for each list of groups."""
        before = self._previous.entries if self._previous and not self._anew else {}
        old, new = by_access(before.values()), by_access(self.entries.values())
        for access in {(), *new}:
            self._write_words_of(words_folder(access), old.get(access, []), new.get(access, []))

    def _write_words_of(self, name: str, old: Sequence[Entry], new: Sequence[Entry]) -> None:
        """The index of that name: that of the snapshot before, brought up to date, unless much of it is dead."""
        folder, previous = self.folder / name, self._previous
        numbers, known = {entry.number for entry in new}, {entry.number for entry in old}
        gone = [entry for entry in old if entry.number not in numbers]
        added = [entry for entry in new if entry.number not in known]
        dead = sum(entry.record.passages for entry in gone)
        if previous and old:
            dead += count_deleted(previous.held.folder / name)
        if previous and old and dead <= MOST_DEAD * sum(entry.record.passages for entry in old):
            link(previous.held, self.folder, name)
            if gone or added:
                update_words(folder, [entry.record.source.id for entry in gone], self._words(added))
        else:
            folder.mkdir()
            write_words(folder, self._words(new))

    def _words(self, entries: Iterable[Entry]) -> Iterator[LexicalRecord]:
        for entry in sorted(entries, key=lambda entry: (entry.first_row, entry.number)):
            prepared = self.segments[entry.segment].prepared(entry.record, entry.number, entry.first_row)
            for row, (passage, text) in enumerate(zip(prepared.passages, prepared.texts, strict=True), entry.first_row):
                yield LexicalRecord(row, passage.source_id, prepared.speakers(passage), text.text)

    def _size(self, segment: Segment) -> tuple[int, int]:
        """Live and dead passages of a segment."""
        live = sum(entry.record.passages for entry in self.entries.values() if self.segments[entry.segment] is segment)
        return live, len(segment.columns) - live


def runs_to_rewrite(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Which segments, given by their live and dead passages, are written anew: ranges of such as become one.

    The newest, as long as one is not larger than twice all that are newer; and each of which MOST_DEAD is dead.
    """

    def decayed(live: int, dead: int) -> bool:
        return dead > MOST_DEAD * (live + dead)

    begin, total = len(sizes), 0
    while begin and (begin == len(sizes) or sizes[begin - 1][0] <= 2 * total):
        begin -= 1
        total += sizes[begin][0]
    runs = [(i, i + 1) for i in range(begin) if decayed(*sizes[i])]
    if len(sizes) - begin > 1 or (sizes and decayed(*sizes[-1])):
        runs.append((begin, len(sizes)))
    return runs

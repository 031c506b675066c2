"""The store on one machine: a snapshot's catalogue, its segments, and the indexes of their words.

The words of private sources lie apart, in an index for each list of groups. Whoever may not read a source opens none of
its words: what he finds, and how it is scored, is as it would be without it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from index.catalogue import Entry, read_catalogue
from index.dense import DenseIndex, Rows
from index.embed import Matrix
from index.errors import SnapshotError
from index.fuse import union
from index.lexical import LexicalIndex
from index.segment import COLUMNS, Segment, source_flaws
from index.snapshot import REBUILD, HeldSnapshot, current_folder, hold_current
from index.store import Candidates, Holdings, Scope, StoredPassage
from ingest.model import Passage, Source, Turn
from ingest.speakers import Speaker, Speakers, merge_speakers

CATALOGUE, SEGMENTS, LEXICAL = "catalogue.sqlite", "segments", "lexical"
_PASSAGES_KEPT = 1024
"""Passages that are kept as they were read: a question looks at the same ones more than once."""
_SPEAKERS_KEPT = 256
"""Sources whose speakers are kept, since every question about a source needs them."""


def by_access(entries: Iterable[Entry]) -> dict[tuple[str, ...], list[Entry]]:
    """Entries by the groups that may read them."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.record.source.access, []).append(entry)
    return found


def words_folder(access: Sequence[str]) -> str:
    """The folder of the words that only these groups may read, or everybody where there are none."""
    return f"{LEXICAL}-{hashlib.sha256(json.dumps(access).encode()).hexdigest()[:16]}" if access else LEXICAL


def count_records(entries: Sequence[Entry], segments: Iterable[Segment], speakers: int) -> dict[str, int]:
    """How much there is of these sources, as `Holdings` tells it."""
    numbers = np.asarray([entry.number for entry in entries], np.int64)
    return {
        "sources": len(entries),
        "turns": sum(entry.record.turns for entry in entries),
        "passages": sum(entry.record.passages for entry in entries),
        "sentences": sum(segment.count_sentences(numbers) for segment in segments),
        "speakers": speakers,
    }


class LocalStore:
    """One snapshot, held until `close`. Safe to use from several threads at once."""

    def __init__(self, held: HeldSnapshot) -> None:
        self.held = held
        self._groups: frozenset[str] | None = None
        manifest = held.manifest
        entries, speakers = read_catalogue(held.folder / CATALOGUE)
        self.segments: dict[str, Segment] = open_segments(held.folder / SEGMENTS)
        ordered = list(self.segments.values())
        columns = np.concatenate([np.empty(0, COLUMNS), *(segment.columns for segment in ordered)])
        self._rows: Rows = np.ascontiguousarray(columns["row"])
        self._sources: Rows = np.ascontiguousarray(columns["source"])
        self._middles: NDArray[np.float64] = np.ascontiguousarray(columns["middle"])
        self._words: Rows = np.ascontiguousarray(columns["words"])
        lengths = [len(segment.columns) for segment in ordered]
        self._begins: Rows = np.cumsum([0, *lengths], dtype=np.int64)[:-1]
        accesses = {(), *by_access(entries)}
        self._lexical = {access: LexicalIndex(held.folder / words_folder(access)) for access in accesses}
        self.dense = DenseIndex([segment.files for segment in ordered], manifest.dimension)
        self._show(entries, speakers, manifest.counts)

    def _show(self, entries: Sequence[Entry], speakers: Iterable[Speaker], counts: Mapping[str, int]) -> None:
        """From now on these are all sources, and these speak in them; what belongs to others is dead."""
        manifest = self.held.manifest
        self.holdings = Holdings(manifest.id, manifest.created, manifest.model, manifest.dimension, counts)
        self._speakers = Speakers(speakers)
        self.entries: dict[str, Entry] = {entry.record.source.id: entry for entry in entries}
        self.groups = frozenset(group for entry in entries for group in entry.record.source.access)
        self._counts = {each.record.source.id: (each.record.turns, each.record.passages) for each in entries}
        self._numbered = {entry.number: entry for entry in entries}
        self._live: NDArray[np.bool_] = np.isin(self._sources, np.asarray(list(self._numbered), np.int64))
        self.dense = self.dense.without(np.flatnonzero(~self._live))
        self.lexical = LexicalIndex.of(self._lexical[access] for access in sorted({(), *by_access(entries)}))
        self._kept: dict[int, StoredPassage] = {}
        # Not lru_cache of a method: files that are mapped would stay so until the collector finds the circle.
        self._of_source: dict[str, Speakers] = {}
        self._listed: Sequence[tuple[str, str, int]] | None = None

    def readable(self, groups: frozenset[str]) -> LocalStore:
        view = copy(self)
        view._groups = groups
        entries = [entry for entry in self.entries.values() if entry.record.source.is_open_to(groups)]
        if len(entries) == len(self.entries):
            return view
        records = [entry.record for entry in entries]
        speaking = {name for record in records for name in record.canonical.values()}
        merged, _ = merge_speakers([record.naming for record in records])
        speakers = [speaker for speaker in merged if speaker.name in speaking]
        view._show(entries, speakers, count_records(entries, self.segments.values(), len(speakers)))
        return view

    def __len__(self) -> int:
        return int(self._live.sum())

    @property
    def next_row(self) -> int:
        """The first that no passage has, dead or alive."""
        return int(self._rows[-1]) + 1 if len(self._rows) else 0

    @property
    def next_number(self) -> int:
        """The first that no source has, dead or alive."""
        return max([*self._numbered, *self._sources[-1:].tolist()], default=-1) + 1

    def live_id(self) -> str:
        return current_folder(self.held.folder.parent).name

    def newer(self) -> LocalStore:
        store = open_local(self.held.folder.parent)
        return store if self._groups is None else store.readable(self._groups)

    def damage(self) -> Sequence[str]:
        return [] if self.held.is_small(VERIFIED_BYTES) else self.held.damaged_files()

    def close(self) -> None:
        for segment in self.segments.values():
            segment.close()
        self.held.close()

    def sources(self) -> Sequence[Source]:
        return [entry.record.source for entry in self.entries.values()]

    def source(self, source_id: str) -> Source | None:
        entry = self.entries.get(source_id)
        return entry.record.source if entry else None

    def turns(self, source_id: str, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        entry = self.entries[source_id]
        return self.segments[entry.segment].turns(entry.number, first, last)

    def passages_of(self, source_id: str) -> Sequence[Passage]:
        entry = self.entries[source_id]
        rows = range(entry.first_row, entry.first_row + entry.record.passages)
        return self.segments[entry.segment].passages(rows, [source_id] * len(rows))

    def speakers(self, source_id: str | None = None) -> Speakers:
        if source_id is None:
            return self._speakers
        found = self._of_source.get(source_id)
        if found is None:
            spoken = self.entries[source_id].record.spoken
            found = Speakers(speaker for speaker in self._speakers if speaker.name in spoken)
            if len(self._of_source) >= _SPEAKERS_KEPT:
                self._of_source.clear()
            self._of_source[source_id] = found
        return found

    def speaker_counts(self) -> Sequence[tuple[str, str, int]]:
        if self._listed is None:
            self._listed = sorted(
                (speaker, source_id, count)
                for source_id, entry in self.entries.items()
                for speaker, count in entry.record.spoken.items()
            )
        return self._listed

    def source_counts(self) -> Mapping[str, tuple[int, int]]:
        return self._counts

    def durations(self) -> Mapping[str, float]:
        lengths = ((source_id, entry.record.seconds) for source_id, entry in self.entries.items())
        return {source_id: seconds for source_id, seconds in lengths if seconds is not None}

    def idf(self, terms: Sequence[str]) -> dict[str, float]:
        return {term: self.lexical.idf(term) for term in terms}

    def rows(self, scope: Scope) -> Rows:
        """The rows of all passages within the scope, ascending."""
        return self._rows[self._positions(scope)]

    def find(
        self, terms: Sequence[str], vector: Matrix, limit: int, scope: Scope, favoured: Sequence[str]
    ) -> Candidates:
        lexical = self.lexical.search(terms, limit, source_id=scope.source_id, speakers=scope.speakers)
        positions, cosines = self.dense.search(vector, limit, self._positions(scope) if scope else None)
        dense = self._rows[positions], cosines
        rows = union(lexical, dense)
        at = np.searchsorted(self._rows, rows)
        shares = self._said(favoured, at) / np.maximum(self._words[at], 1)
        return Candidates(lexical, dense, rows, self._sources[at], self._middles[at], shares)

    def passages(self, rows: Rows, vector: Matrix) -> list[StoredPassage]:
        positions = np.searchsorted(self._rows, rows)
        live = self._live[positions]
        rows, positions = rows[live], positions[live]
        if not len(rows):
            return []
        similarities = (self.dense.vectors(positions) @ vector).tolist()
        wanted = rows.tolist()
        found = {row: stored for row in wanted if (stored := self._kept.get(row))}
        missing = [(row, place) for row, place in zip(wanted, positions.tolist(), strict=True) if row not in found]
        read = self._read(missing)
        if len(self._kept) + len(read) > _PASSAGES_KEPT:
            self._kept.clear()
        self._kept.update(read)
        found.update(read)
        return [replace(found[row], similarity=each) for row, each in zip(wanted, similarities, strict=True)]

    def _read(self, placed: Iterable[tuple[int, int]]) -> dict[int, StoredPassage]:
        """Passages by their rows, given with their positions, as they are whatever is asked."""
        by_segment: dict[str, list[tuple[int, Entry]]] = {}
        for row, position in placed:
            entry = self._numbered.get(int(self._sources[position]))
            if entry is None:
                raise SnapshotError(f"passage {row} belongs to no source; {REBUILD}")
            by_segment.setdefault(entry.segment, []).append((row, entry))
        stored: dict[int, StoredPassage] = {}
        for name, here in by_segment.items():
            segment, rows = self.segments[name], [row for row, _ in here]
            passages = segment.passages(rows, [entry.record.source.id for _, entry in here])
            spoken = [[span.turn for span in passage.sentences] for passage in passages]
            ranges = [(entry.number, min(of), max(of)) for (_, entry), of in zip(here, spoken, strict=True)]
            turns = segment.turns_in(ranges)
            places = segment.places(np.asarray(rows, np.int64)).tolist()
            for (row, entry), passage, said, place in zip(here, passages, turns, places, strict=True):
                vectors = segment.sentence_vectors(place, len(passage.sentences))
                stored[row] = StoredPassage(row, passage, entry.record.source, said, 0.0, vectors)
        return stored

    def _positions(self, scope: Scope) -> Rows:
        """Where all passages within the scope stand, ascending, over all segments."""
        first, end = 0, len(self._rows)
        if scope.source_id is not None:
            entry = self.entries.get(scope.source_id)
            rows = (entry.first_row, entry.first_row + entry.record.passages) if entry else (0, 0)
            first, end = np.searchsorted(self._rows, rows).tolist()
        if not scope.speakers:
            return first + np.flatnonzero(self._live[first:end])
        spoken = [self._spoken(speaker)[0] for speaker in scope.speakers]
        positions = spoken[0] if len(spoken) == 1 else np.unique(np.concatenate(spoken))
        positions = positions[slice(*np.searchsorted(positions, (first, end)))]
        return positions[self._live[positions]]

    def _spoken(self, speaker: str) -> tuple[Rows, NDArray[np.int64]]:
        """Where the passages stand in which somebody speaks, ascending, and how many words in each; the dead too."""
        found = [segment.spoken(speaker) for segment in self.segments.values()]
        if len(found) == 1:
            return found[0]
        empty = np.empty(0, np.int64)
        return (
            np.concatenate([empty, *(places + begin for (places, _), begin in zip(found, self._begins, strict=True))]),
            np.concatenate([empty, *(words for _, words in found)]),
        )

    def _said(self, speakers: Sequence[str], positions: Rows) -> NDArray[np.float64]:
        """How many words these speakers say in each of some passages."""
        total = np.zeros(len(positions))
        for speaker in speakers:
            spoken, words = self._spoken(speaker)
            if len(spoken):
                at = np.minimum(np.searchsorted(spoken, positions), len(spoken) - 1)
                total += np.where(spoken[at] == positions, words[at], 0)
        return total

    def flaws(self) -> list[str]:
        """Counts and references between the files that do not hold; a sentence each."""
        counted = {
            "passages": (len(self), len(self.lexical)),
            "sources": (len(self.entries),),
            "speakers": (len(self._speakers),),
            "turns": (sum(entry.record.turns for entry in self.entries.values()),),
        }
        flaws: list[str] = []
        sentences = 0
        if len(self.dense) != len(self._rows):
            flaws.append(f"{len(self._rows)} passages in the segments, {len(self.dense)} vectors found")
        for segment in self.segments.values():
            flaws += segment.flaws()
        for entry in self.entries.values():
            segment = self.segments.get(entry.segment)
            if segment is None:
                flaws.append(f"{CATALOGUE}: {entry.record.source.id} is in a segment that is not there")
                continue
            turns = segment.turns(entry.number)
            rows = range(entry.first_row, entry.first_row + entry.record.passages)
            if len(turns) != entry.record.turns or not np.isin(rows, segment.columns["row"]).all():
                flaws.append(f"{CATALOGUE}: {entry.record.source.id} is not as it is described")
                continue
            passages = segment.passages(rows, [entry.record.source.id] * len(rows))
            sentences += sum(len(passage.sentences) for passage in passages)
            flaws += source_flaws(entry.record.source.id, turns, passages)
            said = Counter(turn.speaker for turn in turns if turn.speaker)
            if said != Counter(entry.record.spoken):
                flaws.append(f"{CATALOGUE}: {entry.record.source.id} has other speakers than it is said to have")
        for name, found in {**counted, "sentences": (sentences,)}.items():
            if any(count != self.holdings.counts[name] for count in found):
                flaws.append(
                    f"{self.holdings.counts[name]} {name} in the manifest, {' and '.join(map(str, found))} found"
                )
        return flaws


def open_local(index_dir: Path) -> LocalStore:
    """The live snapshot. Raises NoSnapshotError, or SnapshotError where it is damaged.

    Checksums of a small snapshot are verified; of a large one those of its small files, and the sizes of the others:
    what is mapped into memory is not read through before the first question.
    """
    held = hold_current(index_dir)
    try:
        if damaged := held.damaged_files(most_bytes=VERIFIED_BYTES):
            raise SnapshotError(f"{held.folder} is damaged ({damaged[0]}); {REBUILD}")
        return LocalStore(held)
    except Exception:
        held.close()
        raise


VERIFIED_BYTES = 256 << 20
"""Read in about a fifth of a second."""


def verify_local(index_dir: Path) -> list[str]:
    """Every flaw of the live snapshot, a sentence each: checksums, counts, and references between its files.

    Raises NoSnapshotError where there is none.
    """
    held = hold_current(index_dir)
    if flaws := held.damaged_files():
        held.close()
        return flaws
    store = LocalStore(held)
    try:
        return store.flaws()
    finally:
        store.close()


def open_segments(folder: Path) -> dict[str, Segment]:
    """The segments in a folder by their names, in the order of their rows."""
    segments = [Segment(path) for path in folder.iterdir()] if folder.is_dir() else []
    segments.sort(key=lambda segment: (int(segment.columns["row"][0]) if len(segment.columns) else -1, segment.folder))
    return {segment.folder.name: segment for segment in segments}

"""What a search reads of an index, wherever it is kept: the store protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.dense import Rows, Scores
from index.embed import Matrix
from ingest.model import Passage, Source, Turn
from ingest.speakers import Speakers


@dataclass(frozen=True, slots=True)
class Holdings:
    """What an index says of itself: `id` names one state of it, `model` and `dimension` what made its vectors.

    `counts` has `sources`, `turns`, `passages`, `sentences` and `speakers`.
    """

    id: str
    created: str
    model: str
    dimension: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search is limited to: one source, or passages in which any of these speakers (canonical names) speaks."""

    source_id: str | None = None
    speakers: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self.source_id is not None or bool(self.speakers)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The passages that the words and the vectors of a query find, each with its scores, best first: BM25 and cosines.

    A row is the number of a passage: those of a source are consecutive, in order. `rows` are all found, ascending; for
    each there is a number of its source, the position of its middle word in that source, and the share of its words, 0
    to 1, that the favoured speakers say.
    """

    lexical: tuple[Rows, Scores]
    dense: tuple[Rows, Scores]
    rows: Rows
    sources: NDArray[np.int64]
    middles: NDArray[np.float64]
    shares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with its source, its turns by their index, its cosine with a query, and its sentences' vectors."""

    row: int
    passage: Passage
    source: Source
    turns: dict[int, Turn]
    similarity: float
    sentence_vectors: NDArray[np.int8]


class Store(Protocol):
    """An index as it is read; one suite of tests holds for all of them. Safe to use from several threads at once.

    What one call returns belongs together: no source is seen half old, half new. Private sources are in it like all
    others: who answers somebody else asks what that reader may see of it (`readable`).
    """

    @property
    def holdings(self) -> Holdings: ...

    @property
    def groups(self) -> frozenset[str]:
        """All groups for which there are private sources in it."""
        ...

    def readable(self, groups: frozenset[str]) -> Store:
        """A view of what members of these groups may read; where that is all, it is as quick as the store.

        Everything in it is as if no other source were there: counts, speakers and their spellings, idf and scores. It
        is open as long as the store is; to close either is to close both.
        """
        ...

    def sources(self) -> Sequence[Source]:
        """All sources, by id."""
        ...

    def source(self, source_id: str) -> Source | None:
        """The source of that id."""
        ...

    def turns(self, source_id: str, first: int = 0, last: int | None = None) -> tuple[Turn, ...]:
        """The turns `first` to `last` (both included; to the end by default) of a source, in order."""
        ...

    def passages_of(self, source_id: str) -> Sequence[Passage]:
        """All passages of a source, in order."""
        ...

    def speakers(self, source_id: str | None = None) -> Speakers:
        """All who speak in the corpus, or in one source, by name."""
        ...

    def speaker_counts(self) -> Sequence[tuple[str, str, int]]:
        """Speaker, source id and number of turns, for each speaker of each source, in that order."""
        ...

    def source_counts(self) -> Mapping[str, tuple[int, int]]:
        """Numbers of turns and of passages of each source."""
        ...

    def durations(self) -> Mapping[str, float]:
        """Seconds from the first words to the last, of each source with a clock."""
        ...

    def idf(self, terms: Sequence[str]) -> dict[str, float]:
        """Inverse document frequency of each term as BM25 has it (Robertson & Zaragoza 2009).

        ln(1 + (N - n + 0.5)/(n + 0.5)), where n of N passages hold the term.
        """
        ...

    def find(
        self, terms: Sequence[str], vector: Matrix, limit: int, scope: Scope, favoured: Sequence[str]
    ) -> Candidates:
        """Up to `limit` passages by each ranking, all of them within the scope: none is missed for being filtered.

        BM25 is over the terms, k1 1.2, b 0.75. Equal scores come in row order.
        """
        ...

    def passages(self, rows: Rows, vector: Matrix) -> list[StoredPassage]:
        """The passages of some rows in the order given, but for those that are there no longer."""
        ...

    def live_id(self) -> str:
        """The id that is live now: another than `holdings` has, where an ingest was done since."""
        ...

    def newer(self) -> Store:
        """The index as it is now; this one stays as it is, and open."""
        ...

    def damage(self) -> Sequence[str]:
        """What was not looked at when it was opened, and is not what was written; a sentence each."""
        ...

    def close(self) -> None:
        """Lets go of what it holds open."""
        ...

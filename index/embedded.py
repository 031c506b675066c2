"""Sources ready to be stored -> the same with vectors; a text that was embedded before is not embedded again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from index.bulk import embed_passages
from index.embed import Embedder, Matrix
from index.prepare import PassageText, Prepared

if TYPE_CHECKING:  # a search, which reads what was embedded, needs no reader of files
    from index.changes import Progress, Report

Stored = tuple[Matrix, NDArray[np.int8]]
"""Of a passage, `(dimension,)`, and of its sentences as int8, `(sentences, dimension)`."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A source with its vectors: of its passages as float32, of all their sentences as int8, both in order."""

    prepared: Prepared
    vectors: Matrix
    sentences: NDArray[np.int8]


@dataclass(slots=True)
class _Waiting:
    """A source some of whose passages are not embedded yet."""

    prepared: Prepared
    vectors: list[Stored | None]
    missing: deque[int] = field(default_factory=deque[int])

    def embedded(self, dimension: int) -> Embedded:
        done = [pair for pair in self.vectors if pair is not None]
        vectors = np.asarray([vector for vector, _ in done], np.float32).reshape(-1, dimension)
        sentences = np.concatenate([np.empty((0, dimension), np.int8), *(rows for _, rows in done)])
        return Embedded(self.prepared, vectors, sentences)


class SourceEmbedder:
    """What one ingest embeds. `known` gives the vectors of those texts, by their digests, that are stored already."""

    def __init__(
        self,
        embedder: Embedder,
        known: Callable[[Sequence[str]], Mapping[str, Stored]],
        report: Report,
        progress: Progress,
    ) -> None:
        self._embedder = embedder
        self._known = known
        self._report = report
        self._progress = progress
        self._needed = 0

    def embed(self, sources: Iterable[Prepared]) -> Iterator[Embedded]:
        """The sources in order. They are taken ahead: whatever prepares them works while others are embedded."""
        waiting: deque[_Waiting] = deque()

        def texts() -> Iterator[PassageText]:
            for prepared in sources:
                known = self._known([text.digest for text in prepared.texts])
                each = _Waiting(prepared, [known.get(text.digest) for text in prepared.texts])
                each.missing.extend(i for i, pair in enumerate(each.vectors) if pair is None)
                self._needed += len(each.missing)
                waiting.append(each)
                yield from [prepared.texts[i] for i in each.missing]

        for pair in embed_passages(texts(), self._embedder, self._report.notices.append):
            while not waiting[0].missing:
                yield waiting.popleft().embedded(self._embedder.dimension)
            waiting[0].vectors[waiting[0].missing.popleft()] = pair
            self._report.embedded += 1
            self._progress(self._report.embedded, self._needed)
        yield from (each.embedded(self._embedder.dimension) for each in waiting)

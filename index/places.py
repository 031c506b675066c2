"""Where words stand: every word of a source numbered as it was spoken, so that what is read can be held to it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from ingest.model import Span, Turn

TOLERANCE = 0.05
"""Seconds by which a turn may start before the place that a question names, which is rounded."""

_TOKEN = re.compile(r"\S+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def word_offsets(text: str) -> list[int]:
    """The index in the text of each of its words: runs of letters and digits, apostrophes inside kept, after NFKC.

    Where NFKC lengthens what stands before a word without white space between, the index is that much too high.
    """
    return [
        token.start() + min(word.start(), len(token[0]) - 1)
        for token in _TOKEN.finditer(text)
        for word in _WORD.finditer(unicodedata.normalize("NFKC", token[0]))
    ]


class Places:
    """The words of one source by their positions, counted from 0 in the order of its cues."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._offsets = [word_offsets(turn.text) for turn in turns]
        cues = sorted(
            (cue.position, number, cue.offset, following.offset if following else len(turn.text), cue.start)
            for number, turn in enumerate(turns)
            for cue, following in zip(turn.cues, [*turn.cues[1:], None], strict=True)
        )
        self._positions = [[0] * len(offsets) for offsets in self._offsets]
        self._cues: list[tuple[float | None, range]] = []
        after = 0
        for _, number, begin, end, start in cues:
            first, last = self._between(number, begin, end)
            words = range(after, after + last - first)
            self._positions[number][first:last] = words
            self._cues.append((start, words))
            after = words.stop

    def words(self, span: Span) -> list[int]:
        """The positions of the words that begin in the span, in its order."""
        first, last = self._between(span.turn, span.begin, span.end)
        return self._positions[span.turn][first:last]

    def words_between(self, start: float, end: float) -> Iterable[int]:
        """The positions of the words of all cues that start in these seconds, both included."""
        return chain.from_iterable(
            words for at, words in self._cues if at is not None and start - TOLERANCE <= at <= end
        )

    def starts(self, span: Span) -> list[float]:
        """The seconds at which the cues that the span touches start."""
        cues = self._turns[span.turn].cues
        opening = self._turns[span.turn].cue_at(span.begin)
        return [c.start for c in cues if opening.offset <= c.offset < span.end and c.start is not None]

    def _between(self, turn: int, begin: int, end: int) -> tuple[int, int]:
        return bisect_left(self._offsets[turn], begin), bisect_left(self._offsets[turn], end)


def find_quote(quote: str, turns: Mapping[int, Turn], spans: Iterable[Span]) -> list[Span]:
    """Wherever a quote stands in these spans of turns, letter by letter but for white space."""
    pieces = quote.split()
    if not pieces:
        return []
    pattern = re.compile(r"\s+".join(map(re.escape, pieces)))
    return [
        Span(span.turn, found.start(), found.end())
        for span in spans
        for found in pattern.finditer(turns[span.turn].text, span.begin, span.end)
    ]

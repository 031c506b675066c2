"""The records of On Record: people, turns, documents, sources and passages.

Everything downstream (index, answers, every channel) speaks in these types. Standard library only.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

Kind = Literal["transcript", "insights", "notes", "article"]
Attribution = Literal["stated", "inferred"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody a document names, under one canonical name; `aliases` are other spellings found in the wild."""

    name: str
    role: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cue:
    """One timed cue, segment, block or paragraph of a turn.

    `position` counts the cues of the whole document from 0, so two cues of a turn with consecutive positions were
    spoken without anybody in between. `offset` is the index in the turn's text at which the cue's words begin.
    `start` and `end` are seconds, null where the document has no clock. `line` is the 1-based line of the file.
    """

    position: int
    offset: int
    start: float | None = None
    end: float | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One uninterrupted stretch of speech or writing by one speaker; `speaker` is null where nobody is named.

    `cues` is never empty and ordered by offset, the first at offset 0. `note` holds words about the turn that are not
    the speaker's (a claim above a quotation, a commentary below it): it helps retrieval and is never quoted.
    """

    speaker: str | None
    text: str
    cues: tuple[Cue, ...]
    attribution: Attribution = "stated"
    heading: tuple[str, ...] = ()
    note: str = ""

    @property
    def context(self) -> str:
        """What helps to find the turn and is never quoted: its innermost heading, and its note."""
        return " ".join([*self.heading[-1:], self.note]).strip()

    @property
    def start(self) -> float | None:
        """Seconds at which the turn begins."""
        return self.cues[0].start

    @property
    def end(self) -> float | None:
        """Seconds at which the turn ends: the latest end of its cues."""
        return max((cue.end for cue in self.cues if cue.end is not None), default=None)

    def cue_at(self, offset: int) -> Cue:
        """The cue in which the character at `offset` stands."""
        return self.cues[max(0, bisect_right(self.cues, offset, key=lambda cue: cue.offset) - 1)]

    def end_at(self, begin: int, end: int) -> float | None:
        """Seconds at which the words in `text[begin:end]` end: the latest end of the cues they touch."""
        touched = (c.end for c in self.cues if c.offset < end and c.offset >= self.cue_at(begin).offset)
        return max((seconds for seconds in touched if seconds is not None), default=None)

    def locator_at(self, offset: int) -> str | None:
        """Heading path, and the line where there is no clock: `Part V › Customer Centricity › line 363`."""
        cue = self.cue_at(offset)
        parts = list(self.heading)
        if cue.start is None and cue.line is not None:
            parts.append(f"line {cue.line}")
        return " › ".join(parts) or None


@dataclass(frozen=True, slots=True)
class Document:
    """One file as a reader understood it: what it says about itself, and its turns in the order they begin.

    `warnings` are (line, reason) pairs for flaws that did not stop the reading, such as a cue that ends before it
    starts. `access` are the groups that may read it, in order; where empty, everybody may.
    """

    title: str
    kind: Kind
    turns: tuple[Turn, ...]
    people: tuple[Person, ...] = ()
    url: str | None = None
    date: str | None = None
    warnings: tuple[tuple[int | None, str], ...] = ()
    access: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One document of the corpus. `id` is URL-safe and unique; `path` is relative to its corpus folder.

    `access` are the groups that may read it, in order; where empty, everybody may.
    """

    id: str
    path: str
    title: str
    kind: Kind
    url: str | None = None
    date: str | None = None
    people: tuple[Person, ...] = ()
    access: tuple[str, ...] = ()

    def is_open_to(self, groups: frozenset[str]) -> bool:
        """Whether members of these groups may read it."""
        return not self.access or not groups.isdisjoint(self.access)


@dataclass(frozen=True, slots=True)
class Span:
    """The characters `begin:end` of the text of the turn with index `turn`."""

    turn: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Passage:
    """What is retrieved: a run of consecutive turns, or of whole sentences of one long turn, of one source.

    `sentences` are in reading order. `ordinal` counts the passages of the source from 0. `id` is derived from content:
    the same document yields the same ids.
    """

    id: str
    source_id: str
    ordinal: int
    sentences: tuple[Span, ...]
    words: int

    @property
    def spans(self) -> tuple[Span, ...]:
        """The sentences joined to one span for each stretch of a turn, in reading order."""
        spans: list[Span] = []
        for sentence in self.sentences:
            if spans and spans[-1].turn == sentence.turn:
                spans[-1] = Span(sentence.turn, spans[-1].begin, sentence.end)
            else:
                spans.append(sentence)
        return tuple(spans)


def format_timestamp(seconds: float) -> str:
    """The moment as people write it, cut to whole seconds: 2954.9 -> `49:14`, 3674 -> `1:01:14`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

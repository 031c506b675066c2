"""Documents -> what the index stores of them: passages, the texts that are embedded, and under whose names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from index.embed import Embedder
from ingest.model import Document, Passage, Source, Turn
from ingest.passages import build_passages, speaker_label
from ingest.speakers import Naming


@dataclass(frozen=True, slots=True)
class PassageText:
    """What is embedded and indexed of a passage, and where its sentences stand in it."""

    text: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def digest(self) -> str:
        """The same for the same text with the same sentences: its vectors need not be made again."""
        return hashlib.sha256(f"{self.ranges}{self.text}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A source with what the next ingest needs to know: where the file lies, what was in it, and who speaks.

    `digest` is of the file and its sidecar. `naming` has the names that the document itself uses; `canonical` maps each
    of them to its speaker. `turns` and `passages` are counts, `seconds` is its duration, null without a clock.
    """

    source: Source
    root: str
    digest: str
    naming: Naming
    canonical: Mapping[str, str]
    turns: int
    passages: int
    warnings: tuple[tuple[int | None, str], ...] = ()
    seconds: float | None = None

    @property
    def spoken(self) -> dict[str, int]:
        """The speakers, each with the number of turns."""
        counts: dict[str, int] = {}
        for name, count in self.naming.turns.items():
            counts[self.canonical[name]] = counts.get(self.canonical[name], 0) + count
        return counts


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source ready to be stored, but for its vectors: `texts` go with `passages`.

    `turns` carry canonical speakers; `names` are, for each turn, the name that the document itself uses.
    """

    record: SourceRecord
    turns: tuple[Turn, ...]
    names: tuple[str | None, ...]
    passages: tuple[Passage, ...]
    texts: tuple[PassageText, ...]

    def speakers(self, passage: Passage) -> list[str]:
        """Those who speak in a passage of it, by name."""
        return sorted({name for span in passage.spans if (name := self.turns[span.turn].speaker)})


def prepare(
    source: Source, root: str, digest: str, document: Document, canonical: Mapping[str, str], embedder: Embedder
) -> Prepared:
    """A document cut into passages that the embedder reads whole, under the names that `canonical` gives."""
    names = tuple(turn.speaker for turn in document.turns)
    turns = tuple(replace(turn, speaker=canonical[turn.speaker]) if turn.speaker else turn for turn in document.turns)
    passages = tuple(build_passages(source.id, turns, embedder.count_tokens, embedder.max_tokens))
    naming = Naming.of(document)
    meant = {name: canonical[name] for name in naming.turns}
    counts = (len(turns), len(passages))
    record = SourceRecord(source, root, digest, naming, meant, *counts, document.warnings, duration(document))
    return Prepared(record, turns, names, passages, tuple(passage_text(passage, turns) for passage in passages))


def duration(document: Document) -> float | None:
    """Seconds from the first words to the last; null without a clock: times in notes are those of a recording."""
    turns = document.turns
    if document.kind != "transcript" or not turns or turns[0].start is None:
        return None
    times = [time for turn in turns for cue in turn.cues for time in (cue.start, cue.end) if time is not None]
    return max(times) - turns[0].start


def passage_text(passage: Passage, turns: Sequence[Turn]) -> PassageText:
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
    return PassageText(text, tuple(ranges))

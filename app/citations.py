"""Citations, and the one function that makes them: every word, name and time is looked up, none is passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from index.search import Hit
from ingest.links import deep_link
from ingest.model import Attribution, Source, Span, format_timestamp

# Not "ER", "So-called", "5 mm", "I mean it" or "how do you know": there the same letters are words.
_NOISE = r"(?-i:[Uu]m+|[Uu]h+|[Ee]rm?|[Hh]mm+|[Mm]m-hmm?|[Mm]m+)\b(?![-'’]\w)"
_PHRASE = r"(?:you know|i mean)\b"
_OPENER = r"(?:yeah|yep|ok|okay|well|so|and|but|right|like)\b"
_PAUSE = r"\s?(?:[,.…–—-]+\s+|[…—]+)"
_LEADING = re.compile(
    rf"(?:{_NOISE}(?:{_PAUSE}|\s+)|{_PHRASE}{_PAUSE}|{_OPENER}(?:{_PAUSE}|\s+(?={_NOISE}|{_PHRASE}{_PAUSE})))+",
    re.IGNORECASE,
)
_TRAILING = re.compile(rf"(?:(?<!\d)(?:\s+|{_PAUSE}){_NOISE}|{_PAUSE}{_PHRASE})+[\s,…–—-]*[.?!]?$", re.IGNORECASE)
ANSWER_SENTENCES = 3
"""So many sentences after a question are taken for its answer."""
_TAIL = 100
"""Characters at the end of a quotation in which trailing fillers are looked for."""


@dataclass(frozen=True, slots=True)
class Citation:
    """Somebody's words and where they stand. `marker` counts from 1; times are seconds, null without a clock.

    `turn` is the index of the turn in its source, `offset` that of the first character of the quotation in its text.
    `question` is what somebody else, `asked_by`, had just asked, where the words are among the first of the answer.
    """

    marker: int
    quote: str
    speaker: str | None
    attribution: Attribution
    start: float | None
    end: float | None
    timestamp: str | None
    locator: str | None
    url: str | None
    passage_id: str
    source: Source
    turn: int
    offset: int
    question: str | None = None
    asked_by: str | None = None

    def numbered(self, marker: int) -> Citation:
        """The same citation under another marker."""
        return replace(self, marker=marker)


def cite(hit: Hit, first: int, last: int, marker: int = 0) -> Citation:
    """The sentences `first` to `last` (included) of a passage as a citation; they must be of one turn.

    Fillers at the edges are left out: what remains is still one contiguous piece of the turn.
    """
    span = quoted_span(hit, first, last)
    turn = hit.turns[span.turn]
    start = turn.cue_at(span.begin).start
    question = _question_before(hit, first)
    asker = hit.turns[question.turn] if question else None
    return Citation(
        marker=marker,
        quote=turn.text[span.begin : span.end],
        speaker=turn.speaker,
        attribution=turn.attribution,
        start=start,
        end=turn.end_at(span.begin, span.end),
        timestamp=None if start is None else format_timestamp(start),
        locator=turn.locator_at(span.begin),
        url=deep_link(hit.source.url, start),
        passage_id=hit.passage.id,
        source=hit.source,
        turn=span.turn,
        offset=span.begin,
        question=asker.text[question.begin : question.end] if asker and question else None,
        asked_by=asker.speaker if asker else None,
    )


def _question_before(hit: Hit, first: int) -> Span | None:
    """The sentence, a question of another speaker, right before the turn of which `first` is one of the first."""
    sentences = hit.passage.sentences
    opening = first
    while opening > 0 and sentences[opening - 1].turn == sentences[first].turn:
        opening -= 1
    if opening == 0 or first - opening >= ANSWER_SENTENCES:
        return None
    before = sentences[opening - 1]
    asker = hit.turns[before.turn]
    asked = asker.text[before.begin : before.end].endswith("?")
    return before if asked and asker.speaker != hit.turns[sentences[first].turn].speaker else None


def quoted_span(hit: Hit, first: int, last: int) -> Span:
    """Where the quotation of the sentences `first` to `last` of a passage begins and ends."""
    sentences = hit.passage.sentences[first : last + 1]
    if len({sentence.turn for sentence in sentences}) != 1:
        raise ValueError(f"sentences {first} to {last} of passage {hit.passage.id} are not of one turn")
    turn, begin, end = sentences[0].turn, sentences[0].begin, sentences[-1].end
    text = hit.turns[turn].text[begin:end]
    if (leading := _LEADING.match(text)) and re.search(r"\w", text[leading.end() :]):
        begin += leading.end()
        text = text[leading.end() :]
    if (trailing := _TRAILING.search(text, max(0, len(text) - _TAIL))) and re.search(r"\w", text[: trailing.start()]):
        end = begin + trailing.start()
    return Span(turn, begin, end)

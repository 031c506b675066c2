"""Turns -> passages: runs of turns of about 150 words, cut at turn or sentence ends, each with its sentences."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import sentencex

from ingest.model import Passage, Span, Turn

TARGET_WORDS = 150
"""A passage is closed at the turn end nearest below this."""
MIN_WORDS = 50
"""Below this a passage is not closed at a change of heading, nor before a turn too long to fit whole."""
QUESTION_WORDS = 60
"""A question up to this length moves on to the passage of the turn that answers it."""
CAPTION_CHARACTERS = 120
"""Captions are at most two lines of about 42 characters, seldom three."""
SPLIT_CHARACTERS = 8192
"""So much is looked through for sentences at once: where quotation marks abound, that takes the square of the time."""

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class _Sentence:
    span: Span
    words: int
    tokens: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Sentences of one turn that nobody else's words come between; `tokens` counts those of its label too."""

    turn: Turn
    sentences: tuple[_Sentence, ...]
    label_tokens: int
    words: int
    tokens: int

    @classmethod
    def of(cls, turn: Turn, sentences: tuple[_Sentence, ...], label_tokens: int) -> _Stretch:
        words = sum(sentence.words for sentence in sentences)
        tokens = label_tokens + sum(sentence.tokens for sentence in sentences)
        return cls(turn, sentences, label_tokens, words, tokens)

    def part(self, first: int, last: int) -> _Stretch:
        return _Stretch.of(self.turn, self.sentences[first:last], self.label_tokens)


def speaker_label(turn: Turn) -> str:
    """How a turn opens in what is indexed: `Jane Doe: `, or nothing where nobody is named."""
    return f"{turn.speaker}: " if turn.speaker else ""


def split_sentences(text: str) -> list[tuple[int, int]]:
    """Character ranges of the sentences of a text, white space trimmed, empty ones left out."""
    ranges: list[tuple[int, int]] = []
    for first, last in _boundaries(text):
        piece = text[first:last]
        begin = first + len(piece) - len(piece.lstrip())
        if piece.strip():
            ranges.append((begin, begin + len(piece.strip())))
    return ranges


def _boundaries(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        found = sentencex.get_sentence_boundaries("en", text[begin : begin + SPLIT_CHARACTERS])
        sentences = [(begin + each["start_index"], begin + each["end_index"]) for each in found]
        begin += SPLIT_CHARACTERS
        if begin < len(text):
            first, _ = sentences.pop()  # it may go on
            if not sentences:
                begin = text.rfind(" ", first + 1, begin) + 1 or begin
                sentences = [(first, begin)]
            else:
                begin = first
        yield from sentences


def build_passages(
    source_id: str, turns: Sequence[Turn], count_tokens: CountTokens, max_tokens: int
) -> tuple[Passage, ...]:
    """Every word of every turn in exactly one passage, in the order of the document.

    `count_tokens` is the embedding model's, without its special tokens; no passage holds more than `max_tokens` with
    its speaker labels and notes, so that nothing is cut off when it is embedded. A sentence longer than a passage is
    split at its cues, or where it has none between words.
    """
    passages: list[Passage] = []
    seen: Counter[str] = Counter()
    for stretches in _pack(_stretches(turns, count_tokens, max_tokens), max_tokens):
        sentences = tuple(sentence.span for stretch in stretches for sentence in stretch.sentences)
        words = sum(stretch.words for stretch in stretches)
        content = "\n".join(
            [source_id, *(f"{speaker_label(turns[s.turn])}{turns[s.turn].text[s.begin : s.end]}" for s in sentences)]
        )
        seen[content] += 1
        digest = hashlib.sha256(f"{seen[content]}\n{content}".encode()).hexdigest()[:16]
        passages.append(Passage(digest, source_id, len(passages), sentences, words))
    return tuple(passages)


def _stretches(turns: Sequence[Turn], count_tokens: CountTokens, max_tokens: int) -> Iterator[_Stretch]:
    """The turns as they were spoken: one that a back-channel interrupted comes in parts, with it between them."""
    utterances = _cues_are_utterances(turns)
    count_label = functools.cache(count_tokens)
    parts: list[tuple[int, int, int, int]] = []
    for index, turn in enumerate(turns):
        first = 0
        for i in range(1, len(turn.cues) + 1):
            if i == len(turn.cues) or turn.cues[i].position != turn.cues[i - 1].position + 1:
                end = len(turn.text) if i == len(turn.cues) else turn.cues[i].offset
                parts.append((turn.cues[first].position, index, turn.cues[first].offset, end))
                first = i
    for _, index, begin, end in sorted(parts):
        turn = turns[index]
        label_tokens = count_label(speaker_label(turn)) + count_label(turn.context)
        room = max(max_tokens - label_tokens, 16)
        cuts = [cue.offset for cue in turn.cues if begin < cue.offset < end] if utterances else []
        sentences = tuple(
            sentence
            for first, last in _ranges(begin, end, cuts)
            for sentence in _sentences(index, turn, first, last, count_tokens, room)
        )
        if sentences:
            yield _Stretch.of(turn, sentences, label_tokens)


def _cues_are_utterances(turns: Sequence[Turn]) -> bool:
    """Whether cues are what people said at a time, and not lines of captions, which are short and end anywhere.

    A sentence that an utterance leaves open was broken off; one that a caption leaves open goes on in the next.
    """
    cues = [
        turn.text[cue.offset : after.offset if after else None]
        for turn in turns
        for cue, after in itertools.zip_longest(turn.cues, turn.cues[1:])
    ]
    finished = sum(text.rstrip().endswith((".", "?", "!", "…", '"', "”", "»")) for text in cues)
    long = sum(len(text) > CAPTION_CHARACTERS for text in cues)
    return finished > len(cues) / 2 and long > len(cues) / 100


def _sentences(
    index: int, turn: Turn, begin: int, end: int, count_tokens: CountTokens, room: int
) -> Iterator[_Sentence]:
    for first, last in split_sentences(turn.text[begin:end]):
        span = Span(index, begin + first, begin + last)
        tokens = count_tokens(turn.text[span.begin : span.end])
        if tokens <= room:
            yield _Sentence(span, len(turn.text[span.begin : span.end].split()), tokens)
        else:
            yield from _split_sentence(span, turn, count_tokens, room)


def _split_sentence(span: Span, turn: Turn, count_tokens: CountTokens, room: int) -> Iterator[_Sentence]:
    """A sentence too long for a passage, cut at cues, else between words, else (one endless word) anywhere."""
    cuts = [cue.offset for cue in turn.cues if span.begin < cue.offset < span.end]
    pieces = _ranges(span.begin, span.end, cuts)
    if any(count_tokens(turn.text[b:e]) > room for b, e in pieces):
        pieces = [word for b, e in pieces for word in _words(turn.text, b, e, count_tokens, room)]
    begin, count, tokens, last = pieces[0][0], 0, 0, pieces[0][0]
    for b, e in pieces:
        size = count_tokens(turn.text[b:e])
        if tokens and tokens + size > room:
            yield _Sentence(_trim(span.turn, turn.text, begin, last), count, tokens)
            begin, count, tokens = b, 0, 0
        count, tokens, last = count + len(turn.text[b:e].split()), tokens + size, e
    yield _Sentence(_trim(span.turn, turn.text, begin, last), count, tokens)


def _words(text: str, begin: int, end: int, count_tokens: CountTokens, room: int) -> Iterator[tuple[int, int]]:
    at = begin
    for word in text[begin:end].split():
        at = text.index(word, at)
        for piece in range(at, at + len(word), room):
            yield from _halves(text, piece, min(piece + room, at + len(word)), count_tokens, room)
        at += len(word)


def _halves(text: str, begin: int, end: int, count_tokens: CountTokens, room: int) -> Iterator[tuple[int, int]]:
    """The range, halved until each part fits: a character may be several tokens, as one of Hangul is."""
    if end - begin == 1 or count_tokens(text[begin:end]) <= room:
        yield begin, end
    else:
        middle = (begin + end) // 2
        yield from _halves(text, begin, middle, count_tokens, room)
        yield from _halves(text, middle, end, count_tokens, room)


def _ranges(begin: int, end: int, cuts: Iterable[int]) -> list[tuple[int, int]]:
    return list(itertools.pairwise([begin, *cuts, end]))


def _trim(turn: int, text: str, begin: int, end: int) -> Span:
    piece = text[begin:end]
    begin += len(piece) - len(piece.lstrip())
    return Span(turn, begin, begin + len(piece.strip()))


def _pack(stretches: Iterable[_Stretch], max_tokens: int) -> Iterator[list[_Stretch]]:
    current: list[_Stretch] = []
    for stretch in stretches:
        words = sum(s.words for s in current)
        tokens = sum(s.tokens for s in current)
        new_heading = bool(current) and current[-1].turn.heading != stretch.turn.heading and words >= MIN_WORDS
        fits = words + stretch.words <= TARGET_WORDS and tokens + stretch.tokens <= max_tokens
        if current and (new_heading or not fits) and words >= MIN_WORDS:
            kept, moved = _hand_over_question(current)
            yield kept
            current = moved
        current = yield from _fill(current, stretch, max_tokens)
    if current:
        yield current


def _fill(
    current: list[_Stretch], stretch: _Stretch, max_tokens: int
) -> Generator[list[_Stretch], None, list[_Stretch]]:
    """Adds a stretch sentence by sentence, closing passages as they fill; what is left open is returned."""
    words = sum(s.words for s in current)
    tokens = sum(s.tokens for s in current) + stretch.label_tokens
    first = 0
    for i, sentence in enumerate(stretch.sentences):
        full = words + sentence.words > TARGET_WORDS and words >= MIN_WORDS
        if (current or i > first) and (full or tokens + sentence.tokens > max_tokens):
            yield [*current, stretch.part(first, i)] if i > first else current
            current, first, words, tokens = [], i, 0, stretch.label_tokens
        words += sentence.words
        tokens += sentence.tokens
    return [*current, stretch.part(first, len(stretch.sentences))]


def _hand_over_question(stretches: list[_Stretch]) -> tuple[list[_Stretch], list[_Stretch]]:
    """The question at the end of a passage goes with the turn that answers it, where something is left without it."""
    last = stretches[-1]
    text = last.turn.text[: last.sentences[-1].span.end]
    if len(stretches) > 1 and text.endswith("?") and last.words <= QUESTION_WORDS:
        return stretches[:-1], [last]
    return stretches, []

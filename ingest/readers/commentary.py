"""Reads lines that alternate between a quotation from an interview and somebody's commentary on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ingest.model import Document, Turn
from ingest.readers.front_matter import read_front_matter, without_front_matter
from ingest.readers.interview import Interview, read_interview
from ingest.readers.prose import CLOSING_MARKS, ends_sentence, is_wrapped, unclosed_quotations, unquote, written_turn
from ingest.sidecar import Sidecar
from ingest.turns import fold

_QUOTE = r"(?:quotes?|quotations?|excerpts?)"
_REMARK = r"(?:passage|statement|remark|comment|question|line|analogy|anecdote|observation|advice|insight|sentiment)"
_WHICH = r"(?:first|second|third|opening|introductory|next|last|final|closing|above|particular)"
_SPEAKER = r"(?:the (?:guest|host|speaker|author|interviewee)|s?he|they|[A-Z][\w’'-]{1,30}(?: [A-Z][\w’'-]{1,30})?)"
_ADVERB = r"(?:\w+ly |also |further |again |thus )?"
_COMMENTARY = re.compile(
    rf"(?:In|With|Through|By) (?:this|the|that|these) (?:{_QUOTE}|{_REMARK}s?),"
    rf"|(?:This|The|That|These|Those|His|Her|Their) (?:{_WHICH} )?{_QUOTE} "
    rf"|(?:This|The|That) {_REMARK} {_ADVERB}(?!(?:is|was|has|does|always|comes|gets|goes|works)\b)[a-z]+s\b"
    rf"|Here,? {_SPEAKER} {_ADVERB}[a-z]+s\b"
    rf"|(?:The|Our) (?:guest|host|speaker|interviewee) {_ADVERB}[a-z]+s\b"
)
_EPISODE = re.compile(r"\b(?:episode|edition|instal+ment) of (?:the )?[\"“](?P<show>[^\"“”]{2,60}?),?[\"”]")
_LONGEST_TITLE = 90


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str

    @property
    def is_commentary(self) -> bool:
        return not self.is_marked and _COMMENTARY.match(self.text) is not None

    @property
    def is_marked(self) -> bool:
        return unquote(self.text) is not None


def matches(text: str) -> bool:
    """Whether at least three lines comment on the line above, and such lines make up a third of the text or more."""
    lines = _lines(text)
    commented = sum(below.is_commentary and not above.is_commentary for above, below in pairwise(lines))
    return commented >= 3 and commented * 3 >= len(lines) - 2


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The quotations as turns of guest or host, each with the commentary on it as its note; `attribution` is inferred.

    The introduction comes first, as turns of nobody's.
    """
    front = read_front_matter(path, text)
    lines = _lines(text)
    title, lines = _titled(lines)
    introduction, lines = _introduced(lines)
    description = " ".join(line.text for line in introduction)
    quoted = [line.text for line in lines if not line.is_commentary]
    interview = read_interview(description, quoted, sidecar.people or front.people, sidecar.default_speaker)
    turns = [written_turn(i, line.number, line.text, None) for i, line in enumerate(introduction)]
    warnings: list[tuple[int | None, str]] = []
    for i, line in enumerate(lines):
        if not _comments(lines, i):
            words = unquote(line.text) or line.text
            turns.append(written_turn(len(turns), line.number, words, None, attribution="inferred"))
        elif len(turns) == len(introduction):
            warnings.append((line.number, "this commentary stands under no quotation"))
            turns.append(written_turn(len(turns), line.number, line.text, None))
        else:
            turns[-1] = replace(turns[-1], note=fold(f"{turns[-1].note} {line.text}"))
    spoken = tuple(_attributed(turn, interview) for turn in turns)
    title = sidecar.title or front.title or title or _show_and_guest(description, interview) or path.stem
    return Document(title, "transcript", spoken, interview.people, front.url, front.date, warnings=tuple(warnings))


def _attributed(turn: Turn, interview: Interview) -> Turn:
    if turn.attribution == "stated":
        return turn
    return replace(turn, speaker=interview.speaker(turn.text, turn.note))


def _lines(text: str) -> list[_Line]:
    """Paragraphs: a line each, or several where the file is hard-wrapped or a quotation runs over lines."""
    raw = [line.strip() for line in without_front_matter(text).split("\n")]
    width = max(map(len, raw))
    lines: list[_Line] = []
    i = 0
    while i < len(raw):
        begin, gathered = i, [raw[i]]
        unclosed = unclosed_quotations(raw[i])
        i += 1
        while i < len(raw) and raw[i] and (unclosed > 0 or is_wrapped(raw[i - 1], raw[i], width)):
            if _COMMENTARY.match(raw[i]):
                break
            if unclosed > 0:
                unclosed -= sum(raw[i].count(mark) for mark in CLOSING_MARKS[gathered[0][0]])
            gathered.append(raw[i])
            i += 1
        if raw[begin]:
            lines.append(_Line(begin + 1, fold(" ".join(gathered))))
    return lines


def _titled(lines: list[_Line]) -> tuple[str | None, list[_Line]]:
    """A title line, where one stands above the introduction, and the lines below it."""
    match lines:
        case [first, second, third, *_] if not (first.is_marked or second.is_commentary or third.is_commentary):
            bare = first.text.lstrip("# ")
            if len(bare) <= _LONGEST_TITLE and not ends_sentence(bare):
                return bare, lines[1:]
        case _:
            pass
    return None, lines


def _introduced(lines: list[_Line]) -> tuple[list[_Line], list[_Line]]:
    """The lines before the first quotation, which is marked as one or has the first commentary below it."""
    for i, line in enumerate(lines):
        if line.is_marked or (i + 1 < len(lines) and lines[i + 1].is_commentary):
            return lines[:i], lines[i:]
    return lines, []


def _comments(lines: list[_Line], i: int) -> bool:
    """Whether line `i` is commentary: by its words, or as the one line without marks between two marked quotations."""
    if lines[i].is_commentary:
        return True
    between = i > 0 and lines[i - 1].is_marked and (i + 1 == len(lines) or lines[i + 1].is_marked)
    return between and not lines[i].is_marked


def _show_and_guest(description: str, interview: Interview) -> str | None:
    episode = _EPISODE.search(description)
    if episode is None:
        return None
    return f"{episode['show']}: {interview.guest}" if interview.guest else episode["show"]

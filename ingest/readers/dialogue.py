"""Transcripts as Markdown or text, each stretch of speech under a header with a name and most often a clock.

`Name (00:12:34):`, `(00:12:34):` for the same speaker going on, `[00:12:34] Name: words`, `Name  12:34` on a line of
its own, and, where they are the rule, plain `Name: words`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from ingest.model import Document
from ingest.readers.front_matter import read_front_matter, without_front_matter
from ingest.readers.speaker_names import could_be_name, looks_like_name, names_among, prefix_of
from ingest.readers.transcript import transcript
from ingest.sidecar import Sidecar
from ingest.turns import Piece, fold

# A header is looked for in so many characters at the beginning of a line.
_HEADER_LENGTH = 160

_CLOCK = r"(?:\d{1,3}:)?\d{1,3}:[0-5]\d(?:[.,]\d{1,3})?"
_UNTIL = rf"(?:\s?(?:-->|-|–|—|to)\s?(?P<end>{_CLOCK}))?"
_BRACKETED_CLOCK = re.compile(rf"[(\[]\s?(?P<clock>{_CLOCK}){_UNTIL}\s?[)\]]")
_LEADING_CLOCK = re.compile(rf"(?P<clock>{_CLOCK}){_UNTIL}(?=\s)")
_TRAILING_CLOCK = re.compile(rf"(?:\s+[-–—|·,]?\s?)(?P<clock>{_CLOCK}){_UNTIL}$")
_EMPHASIS = "*_` \t"
_HEADING = re.compile(r"(?P<marks>#{1,6})[ \t]+(?P<title>[^\n]*)")
_RULE = re.compile(r"[-*_=](?:[ \t]*[-*_=]){2,}")
_CREDIT = re.compile(r"(?:transcribed|transcript|transcription|captioned|captions) by\b.{0,100}", re.IGNORECASE)
_END_OF_SENTENCE = (".", "!", "?", ":", "…", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class _Header:
    """The beginning of a stretch of speech; its first words may follow on the line, from `words_at`.

    A `firm` header is marked by a colon; one that is not may as well be an entry of a table of contents.
    """

    name: str | None
    start: float | None
    end: float | None
    words_at: int
    firm: bool


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    header: _Header | None

    @property
    def heading(self) -> re.Match[str] | None:
        return _HEADING.match(self.text)


def matches(text: str) -> bool:
    """Whether the text has headers of speakers: with clocks, or without where they are the rule."""
    lines = _lines(without_front_matter(text))
    return _has_clocked_headers(lines) or bool(_clockless_names(lines, ()))


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The transcript; raises ReadError with the line where its front matter is malformed."""
    about = read_front_matter(path, text)
    lines = _lines(without_front_matter(text))
    known = [name for person in (*sidecar.people, *about.people) for name in (person.name, *person.aliases)]
    assembly = _Assembly(about.title)
    for line, header in zip(lines, _accepted(lines, known), strict=True):
        assembly.add(line, header)
    assembly.close()
    return transcript(
        path, assembly.pieces, sidecar, title=assembly.title, people=about.people, url=about.url, date=about.date
    )


@dataclass(slots=True)
class _Assembly:
    """Pieces put together line by line."""

    title: str | None
    pieces: list[Piece] = field(default_factory=list[Piece])
    headings: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    last_speaker: str | None = None
    begun: bool = False
    piece: Piece = field(default_factory=lambda: Piece(None, ""))
    words: list[str] = field(default_factory=list[str])

    def add(self, line: _Line, header: _Header | None) -> None:
        heading = line.heading
        if header:
            self.close()
            self.begun = True
            self.last_speaker = header.name or self.last_speaker
            self.piece = Piece(self.last_speaker, "", header.start, header.end, line.number)
            self._add_words(line.number, line.text[header.words_at :].strip())
        elif heading:
            self.close()
            self.piece = Piece(None, "")
            self._add_heading(len(heading["marks"]), heading["title"].strip(" #*_"))
        elif _CREDIT.fullmatch(line.text):
            self.close()
            self.piece = Piece(None, "")
            self._add_words(line.number, line.text)
        elif not line.text or _RULE.fullmatch(line.text):
            # Paragraphs under one clock are one piece; without a clock each is found by its own line.
            if self.piece.start is None:
                self.close()
        else:
            self._add_words(line.number, line.text)

    def close(self) -> None:
        """Ends the piece at hand."""
        if not self.words:
            return
        words = self.words
        self.words = []
        if not self.begun and self.title is None and not self.pieces and _is_title(words):
            self.title = words[0].strip("*_ ")
            return
        heading = tuple(title for _, title in self.headings)
        self.pieces.append(replace(self.piece, text=" ".join(words), heading=heading))

    def _add_words(self, number: int, words: str) -> None:
        if words and not self.words and self.piece.start is None:
            self.piece = replace(self.piece, line=number)
        if words:
            self.words.append(words)

    def _add_heading(self, level: int, title: str) -> None:
        if not title or title == self.title:
            return
        if self.title is None and not self.begun:
            self.title = title
            return
        self.headings = [each for each in self.headings if each[0] < level]
        self.headings.append((level, title))


def _is_title(words: Sequence[str]) -> bool:
    return len(words) == 1 and len(words[0]) <= 120 and not words[0].endswith(_END_OF_SENTENCE)


def _lines(text: str) -> list[_Line]:
    stripped = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [_Line(number, line, _header(line)) for number, line in stripped]


def _header(line: str) -> _Header | None:
    """The header that the line begins with, if it has a clock or a name by its form."""
    if line.startswith("#"):
        return _in_heading(line)
    head = line[:_HEADER_LENGTH]
    if ":" not in head and "：" not in head:
        return None
    clock = _BRACKETED_CLOCK.search(head)
    if clock:
        before = head[: clock.start()].strip(_EMPHASIS)
        return _after_clock(line, clock) if not before else _around_clock(line, before, clock)
    clock = _LEADING_CLOCK.match(head)
    if clock:
        header = _after_clock(line, clock)
        if header is None or header.name:
            return header
        name = line[header.words_at :].strip(_EMPHASIS + "-–—|")
        return replace(header, name=fold(name), words_at=len(line)) if looks_like_name(name) else None
    clock = _TRAILING_CLOCK.search(line) if len(line) <= _HEADER_LENGTH else None
    if clock:
        name = line[: clock.start()].strip(_EMPHASIS + ":,")
        return _Header(fold(name), *_times(clock), len(line), firm=False) if looks_like_name(name) else None
    prefix = prefix_of(head)
    return _Header(prefix.name, None, None, prefix.words_at, firm=False) if prefix else None


def _in_heading(line: str) -> _Header | None:
    """`### Name (00:12)`."""
    heading = _HEADING.match(line)
    header = _header(heading["title"]) if heading and not heading["title"].startswith("#") else None
    if header is None or header.name is None or header.start is None or header.firm:
        return None
    return replace(header, words_at=len(line))


def _after_clock(line: str, clock: re.Match[str]) -> _Header | None:
    """`[00:12] Name: words`, `(00:12): words`, `[00:12] words`."""
    at = _skip(line, clock.end(), _EMPHASIS)
    start, end = _times(clock)
    if line.startswith(":", at):
        return _Header(None, start, end, _skip(line, at + 1, _EMPHASIS), firm=True)
    prefix = prefix_of(line, _skip(line, at, "-–—| "))
    if prefix:
        return _Header(prefix.name, start, end, prefix.words_at, firm=True)
    return _Header(None, start, end, at, firm=False) if at < len(line) else None


def _around_clock(line: str, before: str, clock: re.Match[str]) -> _Header | None:
    """`Name (00:12): words`, `Name: (00:12) words`, `Name (00:12)` on a line of its own."""
    name = before.removesuffix(":").strip(_EMPHASIS)
    at = _skip(line, clock.end(), _EMPHASIS)
    firm = line.startswith(":", at) or before.endswith(":")
    if not could_be_name(name) or not (firm or at == len(line)):
        return None
    words_at = _skip(line, at, _EMPHASIS + ":") if firm else at
    return _Header(fold(name), *_times(clock), words_at, firm)


def _skip(line: str, at: int, characters: str) -> int:
    while at < len(line) and line[at] in characters:
        at += 1
    return at


def _times(clock: re.Match[str]) -> tuple[float, float | None]:
    return _seconds(clock["clock"]), None if clock["end"] is None else _seconds(clock["end"])


def _seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.replace(",", ".").split(":"):
        seconds = seconds * 60 + float(part)
    return round(seconds, 3)


def _has_clocked_headers(lines: Sequence[_Line]) -> bool:
    content = [line for line in lines if line.text and not line.heading and not _RULE.fullmatch(line.text)]
    clocked = [line.header for line in content if line.header and line.header.start is not None]
    named = [header for header in clocked if header.firm and header.name]
    going_on = [header for header in clocked if header.firm and not header.name]
    if len(named) >= 2 or (named and going_on) or (named and content[0].header is named[0]):
        return True
    loose = Counter(header.name for header in _loose(lines) if header.name)
    bare = [header for header in clocked if not header.firm and header.name is None]
    return max(loose.values(), default=0) >= 2 or (len(bare) >= 3 and len(bare) * 2 >= len(content))


def _loose(lines: Sequence[_Line]) -> Iterator[_Header]:
    """Clocked headers without a colon that have words under them; in a table of contents entry follows entry."""
    content = [line for line in lines if line.text]
    for line, following in pairwise(content):
        header = line.header
        if header and header.name and not header.firm and header.start is not None:
            under = following.header
            if not following.heading and (under is None or under.start is None):
                yield header


def _clockless_names(lines: Sequence[_Line], known: Sequence[str]) -> frozenset[str]:
    """The speakers of a text in which most lines or paragraphs begin with one of few names."""
    content = [line for line in lines if line.text and not line.heading]
    prefixes = [line.header.name for line in content if line.header and line.header.name and line.header.start is None]
    names = names_among(prefixes, len(prefixes), known)
    counts = Counter(name for name in prefixes if name in names)
    spoken = sum(counts.values())
    paragraphs = sum(1 for before, line in pairwise(lines) if line.text and not before.text) + 1
    is_rule = spoken * 2 >= min(len(content), paragraphs)
    return frozenset(counts) if spoken >= 3 and is_rule and len(counts) * 3 <= spoken * 2 else frozenset()


def _accepted(lines: Sequence[_Line], known: Sequence[str]) -> Iterator[_Header | None]:
    """The header of each line, where it is believed to be one."""
    if not _has_clocked_headers(lines):
        names = _clockless_names(lines, known)
        yield from (line.header if line.header and line.header.name in names else None for line in lines)
        return
    firm = {line.header.name for line in lines if line.header and line.header.firm and line.header.name}
    loose = list(_loose(lines))
    counts = Counter(header.name for header in loose)
    # Among headers with colons, a line without one that names somebody new is as likely the title of a chapter.
    believed = {id(header) for header in loose if not firm or header.name in firm or counts[header.name] >= 2}
    names = firm | {header.name for header in loose if id(header) in believed} | set(known)
    for line in lines:
        header = line.header
        if header is None:
            yield None
        elif header.start is None:
            yield header if header.name in names else None
        else:
            yield header if header.firm or header.name is None or id(header) in believed else None

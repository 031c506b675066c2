"""Reads a page of one person's insights: a claim, the quotation that bears it out, a line holding only its time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ingest.model import Document, Person, Turn
from ingest.names import FULL_NAME, canonical, is_full_name
from ingest.readers.front_matter import read_front_matter, without_front_matter
from ingest.readers.prose import (
    CLOSING_MARKS,
    clock,
    ends_sentence,
    is_wrapped,
    unclosed_quotations,
    unquote,
    written_turn,
)
from ingest.sidecar import Sidecar
from ingest.turns import fold

_COUNTS = re.compile(r"\d+ [^\W\d]+(?:(?:,| ·| \||;| and|)? \d+ [^\W\d]+)*")
_TRAILING_CLOCK = re.compile(r"(?P<quotation>.*[\"”»“])\s*(?P<clock>[\[(]?\d[\d:.]{3,11}[\])]?)")
_SIGNATURE = re.compile(rf"[—–-]\s*(?P<name>{FULL_NAME})")
_MARKUP = re.compile(r"^(?:#{1,6}\s+|[-*•]\s+|>\s*)")
_NAME = re.compile(FULL_NAME)
_SEPARATOR = re.compile(r"\s*[|:·•]\s*|\s+[—–-]\s+")
_ABOUT = re.compile(r"^(?:insights|quotes|lessons|highlights|takeaways) (?:from|by|of) ", re.IGNORECASE)
_POSSESSIVE = re.compile(r"['’]s? (?:insights|quotes|lessons|highlights|takeaways)$", re.IGNORECASE)
_LONGEST_HEADING = 8


@dataclass(frozen=True, slots=True)
class _Quotation:
    line: int
    text: str
    closed: bool


@dataclass(frozen=True, slots=True)
class _Plain:
    line: int
    text: str
    marked_heading: bool


@dataclass(frozen=True, slots=True)
class _Clock:
    line: int
    seconds: float


_Block = _Quotation | _Plain | _Clock


def matches(text: str) -> bool:
    """Whether quotations with a time under them make up a good part of the text."""
    blocks = list(_blocks(text))
    quotations = sum(isinstance(block, _Quotation) for block in blocks)
    timed = sum(isinstance(above, _Quotation) and isinstance(below, _Clock) for above, below in pairwise(blocks))
    counted = any(isinstance(block, _Plain) and _COUNTS.fullmatch(block.text) for block in blocks[:12])
    return quotations >= 2 and quotations * 5 >= len(blocks) and (timed > 0 or counted)


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """The quotations as turns of the page's person, each with its claim as the note and its own time or none.

    Whatever else stands on the page is a turn of nobody's, so that it is found but never quoted as the person's words.
    """
    front = read_front_matter(path, text)
    blocks = list(_blocks(text))
    title = front.title or ""
    match blocks:
        case [_Plain(text=title), *_] if front.title is None:
            del blocks[0]
        case _:
            pass
    introduction = blocks[0].text if blocks and isinstance(blocks[0], _Plain) else ""
    person = _person(title, introduction, sidecar)
    turns: list[Turn] = []
    warnings: list[tuple[int | None, str]] = []
    heading: tuple[str, ...] = ()
    claim = ""
    for i, block in enumerate(blocks):
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        if isinstance(block, _Quotation):
            if not block.closed:
                warnings.append((block.line, "this quotation is not closed; it was read to the end of its paragraph"))
            start = following.seconds if isinstance(following, _Clock) else None
            turns.append(
                written_turn(len(turns), block.line, block.text, person, start=start, heading=heading, note=claim)
            )
        elif isinstance(block, _Clock):
            if i == 0 or not isinstance(blocks[i - 1], _Quotation):
                warnings.append((block.line, "this time stands under no quotation and was left out"))
        elif _COUNTS.fullmatch(block.text):
            continue
        elif i and isinstance(blocks[i - 1], _Quotation | _Clock) and (signature := _SIGNATURE.fullmatch(block.text)):
            turns[-1] = replace(turns[-1], speaker=canonical(signature["name"], sidecar.people))
        elif _is_heading(block, blocks[i + 1 : i + 3]):
            heading, claim = (block.text,), ""
        elif isinstance(following, _Quotation):
            claim = block.text
        else:
            claim = ""
            turns.append(written_turn(len(turns), block.line, block.text, None, heading=heading))
    people = sidecar.people or ((Person(person),) if person else ())
    return Document(
        title or path.stem, "insights", tuple(turns), people, front.url, front.date, warnings=tuple(warnings)
    )


def _blocks(text: str) -> Iterator[_Block]:
    """Quotations (over as many lines as they take), times and other paragraphs, in the order of the file."""
    lines = [line.strip() for line in without_front_matter(text).split("\n")]
    width = max(map(len, lines))
    i = 0
    while i < len(lines):
        number, line, bare = i + 1, lines[i], _MARKUP.sub("", lines[i])
        i += 1
        if not bare:
            continue
        if (seconds := clock(bare)) is not None:
            yield _Clock(number, seconds)
        elif unclosed := unclosed_quotations(bare):
            gathered = [bare]
            while unclosed > 0 and i < len(lines) and lines[i] and clock(lines[i]) is None:
                gathered.append(lines[i])
                unclosed -= sum(lines[i].count(mark) for mark in CLOSING_MARKS[bare[0]])
                i += 1
            yield from _quoted(number, " ".join(gathered))
        elif bare[0] in CLOSING_MARKS and (unquote(bare) or _TRAILING_CLOCK.fullmatch(bare)):
            yield from _quoted(number, bare)
        else:
            gathered = [bare]
            while i < len(lines) and is_wrapped(lines[i - 1], lines[i], width) and not _starts_anew(lines[i]):
                gathered.append(lines[i])
                i += 1
            yield _Plain(number, fold(" ".join(gathered)), line.startswith("#"))


def _starts_anew(line: str) -> bool:
    return not line or line[0] in CLOSING_MARKS or clock(line) is not None or _MARKUP.match(line) is not None


def _quoted(number: int, text: str) -> Iterator[_Block]:
    """The quotation, and the time that may stand after it on its own line."""
    trailing = _TRAILING_CLOCK.fullmatch(text)
    seconds = clock(trailing["clock"]) if trailing else None
    if trailing and seconds is not None:
        text = trailing["quotation"]
    words = unquote(text)
    yield _Quotation(number, fold(words or text[1:]), closed=words is not None)
    if seconds is not None:
        yield _Clock(number, seconds)


def _is_heading(block: _Plain, below: list[_Block]) -> bool:
    """A marked heading; or a short line without final punctuation, in title case or standing above a claim."""
    if block.marked_heading:
        return True
    words = block.text.split()
    if len(words) > _LONGEST_HEADING or ends_sentence(block.text) or not below:
        return False
    above_claim = len(below) == 2 and isinstance(below[0], _Plain) and isinstance(below[1], _Quotation)
    return above_claim or all(word[0].isupper() for word in words if len(word) > 3)


def _person(title: str, introduction: str, sidecar: Sidecar) -> str | None:
    """Whose page it is: the sidecar's word, else the name in the title; null where no part of it is safely a name."""
    if sidecar.default_speaker:
        return canonical(sidecar.default_speaker, sidecar.people)
    bare = _ABOUT.sub("", _POSSESSIVE.sub("", title)).strip()
    parts = [part for part in (bare, *_SEPARATOR.split(bare)) if part]
    spelled = {part: canonical(part, sidecar.people) for part in parts}
    known = {person.name for person in sidecar.people}
    for name in spelled.values():
        if name in known:
            return name
    if guest := sidecar.person_with_role("guest"):
        return guest.name

    def is_named(part: str) -> bool:
        return is_full_name(part) or (bool(_NAME.fullmatch(part)) and introduction.startswith(part + " "))

    return next(filter(is_named, parts), None)

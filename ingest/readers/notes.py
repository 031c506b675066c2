"""Reads notes, articles and any other prose: who wrote each paragraph, and under which headings it stands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ingest.model import Attribution, Document, Person, Turn
from ingest.names import FULL_NAME, canonical, is_full_name
from ingest.readers.bylines import Top, is_furniture, is_note_marker, read_top
from ingest.readers.front_matter import read_front_matter, without_front_matter
from ingest.readers.headings import EXCERPTS, OWN_WORDS, heading_levels, is_division
from ingest.readers.paragraphs import Paragraph, paragraphs
from ingest.readers.prose import ends_sentence, unquote, written_turn
from ingest.sidecar import Sidecar

_LABEL = re.compile(r"(?P<label>[^:\n]{2,40}?)(?: \([^()]{1,60}\))?: (?P<words>\S.*)")
_SIGNED = re.compile(rf"(?P<words>[\"“].+[\"”])\s*(?:[—–]|--?)\s*(?P<name>{FULL_NAME})(?:,.{{0,80}})?")
_SIGNATURE = re.compile(rf"(?:[—–]|--?)\s*(?P<name>{FULL_NAME})(?:,.{{0,80}})?")
_PRESENT = re.compile(
    r"(?:attendees|participants|present|speakers|attending|people|with): (?P<names>.+)", re.IGNORECASE
)
_READERS_NOTE = re.compile(r"(?:my )?notes?: .+", re.IGNORECASE)
_PLACE = re.compile(r"\s*\((?:location|loc\.?|page|p\.) ?\d+(?:\s?[-–]\s?\d+)?\)$", re.IGNORECASE)
_SEPARATOR = re.compile(r"[,;&]| and ")
_WRITERS = ("author", "note-taker", "writer", "narrator")
_FEWEST_SPOKEN_WORDS = 8


def matches(text: str) -> bool:
    """Any text with a letter or a figure in it: this reader is the last that is asked."""
    return any(character.isalnum() for character in text)


def read(path: Path, text: str, sidecar: Sidecar) -> Document:
    """One turn for each paragraph or list item, without the markers of Markdown; see `paragraphs.without_markup`.

    The byline's author speaks, by name "stated"; below a heading such as "Excerpts" the book's author does, "inferred";
    a line such as `Jeff Bezos: The most …` is that person's. Without byline and sidecar the speaker is null.
    """
    front = read_front_matter(path, text)
    blocks = paragraphs(without_front_matter(text))
    top = read_top(blocks, front)
    kept = [p for i, p in enumerate(blocks) if i not in top.used and not is_furniture(p.text) and p.text != top.title]
    voices = _Voices(top, kept, sidecar)
    turns: list[Turn] = []
    open_headings: list[tuple[int, Paragraph]] = []
    levels = {i: level for i, level in heading_levels(kept).items() if kept[i].line != top.book_line}
    is_empty = False
    for i, paragraph in enumerate(kept):
        if i in levels:
            if is_empty and open_headings[-1][0] >= levels[i]:
                _, childless = open_headings.pop()
                if not EXCERPTS.fullmatch(childless.text):
                    turns.append(voices.turn(len(turns), childless, open_headings))
            while open_headings and open_headings[-1][0] >= levels[i]:
                open_headings.pop()
            open_headings.append((levels[i], paragraph))
            voices.enter(paragraph, levels[i])
            is_empty = True
            continue
        if is_note_marker(paragraph.text):
            voices.expect_note()
            continue
        is_empty = False
        signature = _SIGNATURE.fullmatch(paragraph.text)
        if signature and turns and kept[i - 1].role in ("quote", "text") and _is_quotation(kept[i - 1]):
            turns[-1] = replace(turns[-1], speaker=voices.name(signature["name"]), attribution="stated")
        else:
            turns.append(voices.turn(len(turns), paragraph, open_headings))
    if is_empty:
        _, childless = open_headings.pop()
        turns.append(voices.turn(len(turns), childless, open_headings))
    kind = "notes" if top.is_notes or voices.book_author else "article"
    title = sidecar.title or top.title or path.stem
    return Document(title, kind, tuple(turns), voices.people(turns), front.url, top.date)


class _Voices:
    """Who speaks in which paragraph of one document, followed from its top to its end."""

    def __init__(self, top: Top, paragraphs: list[Paragraph], sidecar: Sidecar) -> None:
        self._known = sidecar.people
        by_sidecar = sidecar.default_speaker or next((p.name for p in self._known if p.role in _WRITERS), None)
        is_of_book = top.is_export or any(EXCERPTS.fullmatch(p.text) for p in paragraphs if p.level)
        byline = top.author or (None if is_of_book else top.named_author)
        author = by_sidecar or byline
        self._author = self.name(author) if author else None
        is_stated = byline is not None and self.name(byline) == self._author
        self._author_attribution: Attribution = "stated" if is_stated or author is None else "inferred"
        book_author = next((p.name for p in self._known if p.role and {"author", "book"} <= set(p.role.split())), None)
        book_author = book_author or top.book_author or (top.named_author if is_of_book else None)
        self.book_author = self.name(book_author) if book_author else None
        self._excerpts_level = 0 if self.book_author and top.is_export else None
        self._is_note_next = False
        present = (found["names"] for p in paragraphs if (found := _PRESENT.fullmatch(p.text)))
        self._present = frozenset(name.strip() for names in present for name in _SEPARATOR.split(names))
        self._lower = frozenset(word for p in paragraphs for word in p.text.split() if word.islower())

    def name(self, spelling: str) -> str:
        """The name as the sidecar writes it."""
        return canonical(spelling, self._known)

    def enter(self, heading: Paragraph, level: int) -> None:
        """Go below a heading: a book's excerpts may begin or end there."""
        if EXCERPTS.fullmatch(heading.text):
            self._excerpts_level = level
        elif OWN_WORDS.fullmatch(heading.text) or (
            heading.level and self._excerpts_level and level <= self._excerpts_level and not is_division(heading.text)
        ):
            self._excerpts_level = None

    def expect_note(self) -> None:
        """The next paragraph is the reader's own, among a book's excerpts."""
        self._is_note_next = True

    def turn(self, position: int, paragraph: Paragraph, headings: list[tuple[int, Paragraph]]) -> Turn:
        """The paragraph as a turn of whoever it belongs to."""
        speaker, attribution = self._author, self._author_attribution
        words = _PLACE.sub("", paragraph.text)
        if (
            self._excerpts_level is not None
            and self.book_author
            and not (self._is_note_next or _READERS_NOTE.match(words))
        ):
            speaker, attribution = self.book_author, "inferred"
        self._is_note_next = False
        if signed := _SIGNED.fullmatch(words):
            speaker, attribution = self.name(signed["name"]), "stated"
            words = signed["words"]
        elif (labelled := _LABEL.fullmatch(words)) and (person := self._labelled(labelled["label"], labelled["words"])):
            speaker, attribution = person, "stated"
            words = labelled["words"]
        path = tuple(heading.text for _, heading in headings)
        return written_turn(position, paragraph.line, words, speaker, attribution=attribution, heading=path)

    def people(self, turns: list[Turn]) -> tuple[Person, ...]:
        """The sidecar's people, else everybody who speaks."""
        if self._known:
            return self._known
        roles = {self._author: "author", self.book_author: "author of the book"}
        speakers = dict.fromkeys(turn.speaker for turn in turns if turn.speaker)
        return tuple(Person(speaker, roles.get(speaker)) for speaker in speakers)

    def _labelled(self, label: str, words: str) -> str | None:
        """The person whose words follow the label; null where the label is no name ("Company vision: …")."""
        for person in self._known:
            spellings = {person.name, *person.aliases, person.name.split()[-1], person.name.split()[0]}
            if label in spellings:
                return person.name
        if label in self._present or label in (self._author, self.book_author):
            return label
        is_speech = ends_sentence(words) or len(words.split()) >= _FEWEST_SPOKEN_WORDS or unquote(words) is not None
        parts = label.casefold().split()
        if not is_speech or not is_full_name(label) or {parts[0], parts[-1]} <= self._lower:
            return None
        return self.name(label)


def _is_quotation(paragraph: Paragraph) -> bool:
    return paragraph.role == "quote" or unquote(paragraph.text) is not None
